"""The SMS channel over real sockets, a real journal and real folders. The gateway that sends is a fake: a small HTTP server."""

import asyncio
import base64
import contextlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.codec_kit.reassembly import Reassembly
from ingest_daemon.contract.settings import SettingError, read_section
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, parse_record
from ingest_daemon.journal.reader import read
from ingest_daemon.journal.records import ALARM, BAD, BAD_KIND, DATA, FRAME_KIND, Record, split_bad
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.sms import webhook
from ingest_daemon.sms.alarms import LETTERS, is_night, read_alarms, split
from ingest_daemon.sms.concatenation import Parts
from ingest_daemon.sms.directory import Directory, pdus
from ingest_daemon.sms.gateway import Away, Gateway, filled
from ingest_daemon.sms.inbox import Receipt
from ingest_daemon.sms.numbers import digits
from ingest_daemon.sms.outbox import Outbox
from ingest_daemon.sms.pdu import BadPdu, Part, read_pdu
from ingest_daemon.sms.replay import Seen
from ingest_daemon.sms.service import Sms
from ingest_daemon.sms.settings import SmsSettings
from ingest_daemon.sms.text import NoOctets, octets
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry
from tests.daemon_helpers import REPOSITORY, SECRET, FakeGateway, frame, known_frames, minutes_ago, post

STATION, OTHER = "0010000001", "0010000002"
PHONE, OTHER_PHONE = "13800138000", "13900139000"
SHANGHAI = ZoneInfo("Asia/Shanghai")


# PDUs as terminals' modules send them, made here so that their time is now


def delivered_pdu(sender: str, content: bytes, *, scheme: int = 4, header: bytes = b"", sent_at: datetime | None = None) -> bytes:
    """An SMS-DELIVER of octets (or UCS-2, by `scheme`) from a number with its country code."""
    padded = sender + "F" * (len(sender) % 2)
    address = bytes(int(padded[at + 1] + padded[at], 16) for at in range(0, len(padded), 2))
    moment = (sent_at or datetime.now(UTC)).astimezone(UTC)
    stamp = "".join(text[::-1] for text in moment.strftime("%y %m %d %H %M %S").split()) + "00"
    return (
        bytes([0, 0x44 if header else 0x04, len(sender), 0x91])
        + address
        + bytes([0, scheme])
        + bytes.fromhex(stamp)
        + bytes([len(header + content)])
        + header
        + content
    )


def in_parts(raw: bytes, size: int, reference: int = 7) -> list[bytes]:
    """PDUs of one long message with 8-bit references."""
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return [
        delivered_pdu("86" + PHONE, piece, header=bytes([5, 0, 3, reference, len(pieces), number]))
        for number, piece in enumerate(pieces, 1)
    ]


def septets(text: str, header: bytes = b"") -> tuple[bytes, int]:
    """Plain ASCII packed as septets behind a header, and the length in septets."""
    start = -(-len(header) * 8 // 7)
    number = int.from_bytes(header, "little")
    for index, letter in enumerate(text, start):
        number |= ord(letter) << 7 * index
    length = start + len(text)
    return number.to_bytes((length * 7 + 7) // 8, "little"), length


# A channel with its journal, in this process


class Channel:
    """A running SMS channel and what it delivered."""

    def __init__(self, sms: Sms, port: int, journals: Journals, site: Site, tally: Counter[str]) -> None:
        self.sms, self.port, self.journals, self.site, self.tally = sms, port, journals, site, tally

    def frames(self, stream: str = DATA) -> list[tuple[RecordHeader, bytes]]:
        return [parse_record(record.payload) for record in self._records(stream)]

    def bad(self) -> list[tuple[str, str, bytes]]:
        """Reason, detail and bytes without their way."""
        found = [split_bad(record.payload) for record in self._records(BAD)]
        return [(reason, detail, parse_record(raw)[1]) for reason, detail, raw in found]

    def _records(self, stream: str) -> list[Record]:
        return read(self.site.journal / stream, 0, self.journals.end(stream), 1 << 20).records

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(post, self.port, path, body, **headers)


def make_site(root: Path) -> Site:
    site = Site(root)
    site.registry.mkdir(parents=True, exist_ok=True)
    lines = ["terminal,meter,phone", f"{STATION},M1,+86 138 0013 8000", f"{OTHER},M2,{OTHER_PHONE}"]
    (site.registry / "terminals.csv").write_text("\n".join(lines) + "\n")
    site.state.mkdir(exist_ok=True)
    return site


def channel_settings(**changed: Any) -> SmsSettings:
    return SmsSettings(**{"on": True, "secret": SECRET, "port": 0, **changed})


@asynccontextmanager
async def channel(root: Path, *, budget: int = 64 << 20, **changed: Any) -> Any:
    site = make_site(root)
    loop = asyncio.get_running_loop()
    journals = Journals(site, 1 << 20, budget)

    def deliver(stream: str, payload: bytes, received_us: int, receipt: Receipt | None) -> None:
        journals.append(stream, payload, received_us, BAD_KIND if stream == BAD else FRAME_KIND, receipt)
        journals.commit_soon()

    def answered(receipts: list[Receipt], refusal: str) -> None:
        for function, argument in receipts:
            function(None if refusal else argument)

    def settled(stream: str, count: int, receipts: list[Receipt], refusal: str) -> None:
        loop.call_soon_threadsafe(answered, receipts, refusal)

    journals.start(lambda stream: 0, settled, lambda error: None)
    tally: Counter[str] = Counter()
    known = TerminalDirectory(Registry(site, "sl651"))
    sms = Sms(site, channel_settings(**changed), SHANGHAI, known, "sl651", Reassembly(), deliver, Counters(), tally)
    port = await sms.start()
    try:
        yield Channel(sms, port, journals, site, tally)
    finally:
        await sms.stop()
        await asyncio.to_thread(journals.finish)
        journals.close()


def on_channel(root: Path, do: Callable[[Channel], Awaitable[None]], **changed: Any) -> None:
    async def main() -> None:
        async with channel(root, **changed) as running:
            await do(running)

    asyncio.run(main())


async def eventually(holds: Callable[[], Any], what: str, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def reading(station: str = STATION, **more: Any) -> bytes:
    return frame(station, minutes_ago(15), 12.5, **more)


def plain(raw: bytes, **more: Any) -> dict[str, Any]:
    return {"sender": f"+86{PHONE}", "content": raw.hex(), "id": "m-1", **more}


# PDUs and contents


def test_of_the_captured_pdus_four_are_delivered_and_seven_refused_with_their_type() -> None:
    vectors = known_frames("sms-pdu")
    delivered = refused = 0
    for vector in vectors:
        expect, pdu = vector["expect"], bytes.fromhex(vector["hex"])
        if expect["type"] != "SMS-DELIVER":
            with pytest.raises(BadPdu, match=f"expected an SMS-DELIVER.*{expect['type']}"):
                read_pdu(pdu)
            refused += 1
            continue
        sms = read_pdu(pdu)
        assert (sms.sender, sms.content) == (expect["number"], expect["text"])
        if "time" in expect:
            assert sms.sent_at == datetime.fromisoformat(expect["time"])
        if "udh_concat" in expect:
            place = expect["udh_concat"]
            assert sms.part == Part(place["ref"], place["parts"], place["number"])
        delivered += 1
    assert (len(vectors), delivered, refused) == (11, 4, 7)


@pytest.mark.parametrize(
    ("scheme", "content", "header", "expected"),
    [
        (0x04, b"\x7e\x7e\x00\xff", b"", b"\x7e\x7e\x00\xff"),
        (0xF5, b"\x01\x02", b"", b"\x01\x02"),
        (0x08, "压力越下限".encode("utf-16-be"), b"", "压力越下限"),
        (0xE0, "7E7E".encode("utf-16-be"), b"", "7E7E"),
        (0x08, "7E".encode("utf-16-be"), bytes([6, 8, 4, 0x12, 0x34, 2, 1]), "7E"),
        (0x04, b"\x7e", bytes([8, 0x24, 1, 1, 0, 3, 9, 2, 2]), b"\x7e"),
    ],
    ids=["octets", "octets by class", "UCS-2", "UCS-2 by waiting group", "16-bit reference", "another element before"],
)
def test_contents_are_read_by_their_coding(scheme: int, content: bytes, header: bytes, expected: str | bytes) -> None:
    sms = read_pdu(delivered_pdu("8613800138000", content, scheme=scheme, header=header))
    assert (sms.sender, sms.content) == ("+8613800138000", expected)
    if header:
        assert sms.part == (Part(0x1234, 2, 1) if header[1] == 8 else Part(9, 2, 2))


@given(st.integers(0, 255), st.binary(min_size=1, max_size=70))
def test_hex_text_in_septets_is_read_behind_every_header(reference: int, raw: bytes) -> None:
    header = bytes([5, 0, 3, reference, 2, 1])
    data, length = septets(raw.hex().upper(), header)
    empty = delivered_pdu("8613800138000", b"", scheme=0, header=header)
    sms = read_pdu(empty[: -len(header) - 1] + bytes([length]) + data)
    assert isinstance(sms.content, str) and octets(sms.content) == raw
    assert sms.part == Part(reference, 2, 1)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_pdu_reader_fail_otherwise_than_with_its_reason(data: bytes) -> None:
    with contextlib.suppress(BadPdu):
        read_pdu(data)


@given(st.integers(0, 60), st.binary(min_size=8, max_size=30))
def test_a_cut_pdu_never_gives_more_than_was_sent(cut: int, raw: bytes) -> None:
    whole = delivered_pdu("8613800138000", raw)
    try:
        sms = read_pdu(whole[:cut])
    except BadPdu:
        return
    assert isinstance(sms.content, bytes) and raw.startswith(sms.content)


@given(st.binary(min_size=1, max_size=200))
def test_the_three_forms_of_a_content_give_the_same_octets(raw: bytes) -> None:
    text = raw.hex(" ").upper()
    assert octets(raw) == octets(text) == octets(base64.b64encode(raw).decode(), "base64") == raw


@pytest.mark.parametrize(
    ("text", "coding", "why"),
    [
        ("7E7", "", "two hex digits an octet, there are 3"),
        ("", "", "the message is empty"),
        ("余额不足", "", "expected hex text or base64.*余额不足"),
        ("7E7G", "hex", "expected hex text"),
        ("It is easy", "", "expected hex text or base64"),
    ],
)
def test_a_text_that_is_no_octets_is_refused_with_its_reason(text: str, coding: str, why: str) -> None:
    with pytest.raises(NoOctets, match=why):
        octets(text, coding)


@pytest.mark.parametrize(
    ("number", "same"),
    [
        ("13800138000", "13800138000"),
        ("+86 138-0013-8000", "13800138000"),
        ("008613800138000", "13800138000"),
        ("8613800138000", "13800138000"),
        ("+861440012345678", "1440012345678"),
        ("+27821234567", "27821234567"),
        ("10086", "10086"),
        ("CMCC10086", ""),
        ("", ""),
    ],
)
def test_numbers_are_compared_by_their_digits_without_the_country_code(number: str, same: str) -> None:
    assert digits(number) == same


# Coming in


def test_a_frame_is_journaled_with_its_way_before_the_gateway_is_answered(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raw = reading()
        assert (await running.post("/sms", plain(raw)))[0] == 200
        assert running.frames() == [(RecordHeader("sl651", "sms", f"+86{PHONE}"), raw)]
        alarm = reading(alarms=["P_LO"])
        status, said = await running.post("/sms", {"sender": PHONE, "content": base64.b64encode(alarm).decode()})
        assert (status, said["frames"], said["rejected"]) == (200, 1, 0)
        assert [raw for _, raw in running.frames(ALARM)] == [alarm]

    on_channel(tmp_path, do)


def test_a_frame_from_a_number_that_is_not_its_stations_is_doubted(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raws = [reading(OTHER), reading()]
        senders = [PHONE, "+8613700137000"]
        for raw, sender in zip(raws, senders, strict=True):
            assert (await running.post("/sms", plain(raw, sender=sender, id=sender)))[0] == 200
        assert [(way.link, way.quarantine_reason, raw) for way, raw in running.frames()] == [
            (sender, "FOREIGN_SENDER", raw) for sender, raw in zip(senders, raws, strict=True)
        ]

    on_channel(tmp_path, do)


def test_what_is_no_frame_is_kept_aside_with_its_reason_and_nothing_of_it_vanishes(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raw = reading()
        cut = [raw[:-3].hex(), (raw + raw[:20]).hex(), "余额不足", (raw[:-1] + b"\x00").hex()]
        for number, content in enumerate(cut):
            assert (await running.post("/sms", plain(b"", content=content, id=str(number))))[0] == 200
        assert [raw for _, raw in running.frames()] == [raw]
        found = running.bad()
        assert found[0][0] == "BAD_LENGTH" and found[0][2] == raw[:-3]
        assert found[1][0] == "BAD_LENGTH" and found[1][2] == raw[:20]
        assert found[2][0] == "NOISE" and found[2][2] == "余额不足".encode()
        assert b"".join(bytes_ for *_, bytes_ in found[3:]) == raw[:-1] + b"\x00"

    on_channel(tmp_path, do)


def test_several_messages_and_fields_of_other_names_are_understood(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raws = [frame(STATION, minutes_ago(15 * number), 1.0 * number) for number in range(1, 4)]
        items = [{"data": {"from": PHONE, "msg": raw.hex()}, "uid": number} for number, raw in enumerate(raws)]
        status, said = await running.post("/sms", {"list": [*items, {"data": {}}]})
        assert (status, said["frames"], len(said["refused"])) == (200, 3, 1)
        assert [raw for _, raw in running.frames()] == raws
        assert len(running.bad()) == 1

    names = {"sender_field": "data.from", "content_field": "data.msg", "id_field": "uid", "messages_field": "list"}
    on_channel(tmp_path, do, **names)


def test_parts_in_any_order_and_twice_are_one_frame(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raw = reading()
        first, second, third = in_parts(raw, len(raw) // 3 + 1)
        for pdu in (third, first):
            assert (await running.post("/sms", {"pdu": pdu.hex()}))[1]["waiting"] == 1
        assert (await running.post("/sms", {"pdu": third.hex(), "id": "sent again"}))[0] == 200
        assert running.frames() == []
        status, said = await running.post("/sms", second.hex().encode(), X_Mainflow_Secret=SECRET, Content_Type="text/plain")
        assert (status, said["frames"]) == (200, 1)
        assert [raw for _, raw in running.frames()] == [raw]
        assert (await running.post("/sms", {"pdu": third.hex(), "id": "once more"}))[0] == 200
        assert not list((running.site.state / "sms-parts").iterdir())

    on_channel(tmp_path, do)


def test_a_long_message_that_never_becomes_whole_is_kept_aside_and_says_what_is_missing(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        first, _, third = in_parts(bytes(range(90)), 30)
        for pdu in (third, first):
            await running.post("/sms", {"pdu": pdu.hex()})
        old = running.sms._inbox._parts
        old._wait_us = 0
        await running.sms._inbox.sweep()
        ((reason, detail, kept),) = running.bad()
        assert reason == "BAD_LENGTH" and "3 parts, only 1, 3 there" in detail
        assert kept == bytes(range(30)) + bytes(range(60, 90))
        assert not list((running.site.state / "sms-parts").iterdir())

    on_channel(tmp_path, do)


def test_a_reference_used_again_begins_a_new_message_and_the_number_of_parts_is_bounded(tmp_path: Path) -> None:
    parts = Parts(tmp_path, 3600, most=3)
    assert parts.put("1", Part(7, 2, 1), "old", 1) is None
    assert parts.put("1", Part(7, 2, 1), "new", 2) is None
    whole = parts.put("1", Part(7, 2, 2), b"\x01", 3)
    assert whole and whole.content == b"new\x01"
    parts.forget(whole)
    for number in range(4):
        parts.put(str(number), Part(1, 2, 1), "x", 4 + number)
    assert [each.why.split(": ")[1] for each in parts.ready(10)] == [
        "the sender used its reference again before the message was whole",
        "more than 3 parts wait for others",
    ]
    assert len(list(tmp_path.iterdir())) == 5


PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.sms.test_sms import channel
async def main():
    async with channel(Path(sys.argv[1])) as running:
        print(running.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@contextmanager
def process(root: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The channel in a process of its own, to be killed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started = subprocess.Popen([sys.executable, "-c", PROCESS, str(root)], stdout=subprocess.PIPE, text=True, env=environment)
    assert started.stdout
    try:
        yield started, int(started.stdout.readline())
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
        started.stdout.close()


def test_a_kill_between_two_parts_loses_nothing_and_a_message_of_before_it_is_not_taken_again(tmp_path: Path) -> None:
    raw, other = reading(), reading(sequence=2)
    first, second = in_parts(raw, len(raw) // 2 + 1)
    with process(tmp_path) as (_, port):
        assert post(port, "/sms", {"pdu": second.hex()})[0] == 200
        assert post(port, "/sms", plain(other, id="before"))[0] == 200
    with process(tmp_path) as (_, port):
        assert post(port, "/sms", {"pdu": first.hex()}) == (
            200,
            {"frames": 1, "rejected": 0, "waiting": 0, "repeated": 0, "refused": []},
        )
        assert post(port, "/sms", plain(other, id="before"))[0] == 409

    async def do(running: Channel) -> None:
        assert [each for _, each in running.frames()] == [other, raw]

    on_channel(tmp_path, do)


# Who may post, and what comes twice


def test_only_who_knows_the_secret_may_post(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        body = json.dumps(plain(reading())).encode()
        signed = hmac.new(SECRET.encode(), body, sha256).hexdigest()
        wrong = [
            {"X_Mainflow_Secret": SECRET[:-1]},
            {"X_Mainflow_Secret": "ÿ"},
            {"Authorization": f"Basic {SECRET}"},
            {"Authorization": "Bearer "},
            {"X_Signature": hmac.new(SECRET.encode(), body + b" ", sha256).hexdigest()},
            {"Accept": "*/*"},
        ]
        for headers in wrong:
            status, said = await running.post("/sms", body, **headers)
            assert status == 401 and said["reason"]["zh"] and said["reason"]["en"], headers
        assert running.frames() == [] and running.bad() == []
        right = [{"X_Signature": f"sha256={signed}"}, {"Authorization": f"Bearer {SECRET}"}, {"X_Mainflow_Secret": SECRET}]
        assert [(await running.post("/sms", body, **headers))[0] for headers in right] == [200, 409, 409]

    on_channel(tmp_path, do)


def test_idle_connections_do_not_keep_the_gateway_out(tmp_path: Path) -> None:
    async def do(channel: Channel) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", channel.port) for _ in range(80)]
        status, said = await channel.post("/sms", plain(reading()))
        assert (status, said["frames"]) == (200, 1)
        for _, writer in idle:
            writer.close()

    on_channel(tmp_path, do)


def test_every_shown_secret_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(shown: Any, wanted: Any) -> bool:
        compared.append((shown, wanted))
        return hmac.compare_digest(shown, wanted)

    # Only the name in the module under test, so that hmac itself stays as it is.
    monkeypatch.setattr(
        webhook, "hmac", type("Watched", (), {"compare_digest": staticmethod(compare), "new": staticmethod(hmac.new)})
    )

    async def do(running: Channel) -> None:
        assert (await running.post("/sms", plain(reading()), X_Mainflow_Secret="wrong"))[0] == 401
        assert (b"wrong", SECRET.encode()) in compared and len(compared) == 3

    on_channel(tmp_path, do)


def test_a_replay_and_a_time_outside_of_the_window_are_refused(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        now, raw = datetime.now(UTC), reading()
        assert (await running.post("/sms", plain(raw, time=now.isoformat())))[0] == 200
        assert (await running.post("/sms", plain(raw, time=now.isoformat())))[0] == 409
        for number, moment in enumerate((now - timedelta(hours=3), now + timedelta(hours=3))):
            said: list[Any] = [moment.isoformat(), moment.timestamp(), int(moment.timestamp() * 1000)]
            said.append(moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"))  # the site's zone
            for form, time_said in enumerate(said):
                assert (await running.post("/sms", plain(raw, time=time_said, id=f"{number}{form}")))[0] == 409
        assert [reason for reason, *_ in running.bad()] == ["REPLAYED"] * 8
        assert len(running.frames()) == 1

    on_channel(tmp_path, do, window_h=2.0)


def test_a_message_that_the_journal_refuses_is_not_answered_with_yes_and_may_come_again(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        status, said = await running.post("/sms", plain(reading()))
        assert status == 503 and "journal refused" in said["reason"]["en"]
        running.journals._budget = 64 << 20
        assert (await running.post("/sms", plain(reading())))[0] == 200

    on_channel(tmp_path, do, budget=16)


def test_the_last_part_that_the_journal_refuses_may_come_again(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        raw = reading()
        first, second = in_parts(raw, len(raw) // 2 + 1)
        statuses = [(await running.post("/sms", {"pdu": pdu.hex()}))[0] for pdu in (first, second)]
        running.journals._budget = 64 << 20
        statuses += [(await running.post("/sms", {"pdu": second.hex()}))[0]]
        assert statuses == [200, 503, 200]
        assert [each for _, each in running.frames()] == [raw]

    on_channel(tmp_path, do, budget=16)


def test_requests_that_cannot_be_used_are_refused_with_a_reason_in_both_languages(tmp_path: Path) -> None:
    async def do(running: Channel) -> None:
        status_report = "0006D60B911326880736F4111011719551401110117195714000"
        cases: list[tuple[str, Any, int]] = [
            ("/sms", b"{", 422),
            ("/sms", [], 422),
            ("/sms", {"sender": PHONE}, 422),
            ("/sms", {"pdu": status_report}, 422),
            ("/sms", {"pdu": "xyz"}, 422),
            ("/sms", plain(reading(), time="yesterday"), 422),
            ("/sms", b"\xff\xfe", 422),
            ("/sms", {"\ud800": 1}, 422),
            ("/sms", b" " * (1 << 18) + b"{}", 413),
            ("/other", {}, 404),
            ("/alarms", {"alerts": []}, 503),
        ]
        for path, body, expected in cases:
            status, said = await running.post(path, body)
            assert status == expected and said["reason"]["zh"] and said["reason"]["en"], (path, body, said)
        assert running.frames() == [] and len(running.bad()) == 8
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /sms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in await reader.readline()
        writer.close()

    on_channel(tmp_path, do)


@given(st.lists(st.integers(0, 20), max_size=60))
def test_ids_seen_are_known_after_a_restart(ids: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        seen = Seen(Path(folder) / "seen.txt", 60)
        for number in ids:
            seen.add(str(number).encode(), number)
        again = Seen(Path(folder) / "seen.txt", 60)
        assert all((str(number).encode() in again) == (number in ids) for number in range(21))


def test_files_of_a_modem_daemon_are_moved_once_they_are_safe(tmp_path: Path) -> None:
    folder = tmp_path / "modem"

    async def do(running: Channel) -> None:
        raw = reading()
        first, second = in_parts(raw, len(raw) // 2 + 1)
        (folder / "GSM1.a").write_text(f"From: 86{PHONE}\nPDU: {second.hex().upper()}\nPDU: {first.hex()}\n\n7E7E\n")
        (folder / "GSM1.b").write_text("0006D60B911326880736F4111011719551401110117195714000\n")
        (folder / "GSM1.c").write_text("From: 10086\n\nhello\n")
        await eventually(lambda: len(list((folder / "refused").glob("*.reason"))) == 2, "two are refused")
        await eventually(lambda: {path.name for path in folder.iterdir()} == {"done", "refused"}, "all are moved")
        assert [path.name for path in (folder / "done").iterdir()] == ["GSM1.a"]
        assert "SMS-STATUS-REPORT" in (folder / "refused" / "GSM1.b.reason").read_text()
        assert [each for _, each in running.frames()] == [raw]

    on_channel(tmp_path, do, directory=str(folder), directory_s=0.1)
    assert pdus("7E7E\nhello\n") == []


def test_a_file_that_cannot_be_moved_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def do(running: Channel) -> None:
        folder = tmp_path / "modem"
        looked = Directory(folder, running.sms._inbox, running.tally)
        (folder / "GSM1.a").write_text(delivered_pdu("86" + PHONE, reading()).hex())
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(PermissionError("not yours")))
            for _ in range(4):
                await looked.look()
            assert len(running.frames()) == 1 and (folder / "GSM1.a").exists()
        await looked.look()
        assert len(running.frames()) == 1 and (folder / "done" / "GSM1.a").exists()

    on_channel(tmp_path, do)


# Going out


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


def alert(text: str = "压力越下限：甲厂 水表 M1", *, name: str = "a1", severity: str = "critical", status: str = "firing") -> Any:
    return {
        "status": status,
        "labels": {"alertname": "x", "severity": severity},
        "annotations": {"summary": text, "summary_en": "Pressure below limit"},
        "startsAt": "2026-01-01T00:00:00Z",
        "fingerprint": name,
    }


@pytest.mark.parametrize(
    ("status", "annotations", "text"),
    [
        ("firing", {"summary": "【报警】压力越下限：甲厂"}, "【报警】压力越下限：甲厂"),
        ("resolved", {"summary": "【恢复】压力越下限：甲厂，历时 1 小时"}, "【恢复】压力越下限：甲厂，历时 1 小时"),
        ("resolved", {"summary": "【撤销】压力越下限：甲厂"}, "【撤销】压力越下限：甲厂"),
        ("resolved", {"summary": "[CLEARED] Box open: A"}, "[CLEARED] Box open: A"),
        ("firing", {"summary": "【报警】中断", "summary_resolved": "【恢复】正常"}, "【报警】中断"),
        ("resolved", {"summary": "【报警】中断", "summary_resolved": "【恢复】正常"}, "【恢复】正常"),
        ("firing", {"summary": "别人的规则"}, "【报警】别人的规则"),
        ("resolved", {"summary": "别人的规则"}, "【恢复】别人的规则"),
        ("resolved", {"summary": "【报警】无声结束"}, "【恢复】【报警】无声结束"),
        ("firing", {}, "【报警】x"),
    ],
)
def test_an_sms_says_what_the_summary_says_and_of_other_rules_whether_it_is_over(
    status: str, annotations: Any, text: str
) -> None:
    body = json.dumps({"alerts": [{**alert(status=status), "annotations": annotations}]}).encode()
    assert [alarm.text for alarm in read_alarms(body)] == [text]


def going_out(fake: FakeGateway, **changed: Any) -> dict[str, Any]:
    return {"gateway_url": fake.url, "recipients": f"{PHONE}, {OTHER_PHONE}", **changed}


def test_an_alarm_is_one_sms_to_each_recipient_and_not_again_soon(tmp_path: Path, fake: FakeGateway) -> None:
    async def do(running: Channel) -> None:
        for _ in range(2):
            status, said = await running.post(
                "/alarms", {"status": "firing", "alerts": [alert(), alert(status="resolved", name="b")]}
            )
            assert status == 200
        assert said == {"queued": 0}
        await eventually(lambda: len(fake.posted) == 2 and not running.sms._outbox.waiting, "both are sent")
        assert [(each["to"], each["content"]["text"]) for each in fake.posted] == [
            (number, "【报警】压力越下限：甲厂 水表 M1") for number in (PHONE, OTHER_PHONE)
        ]
        assert fake.authorization == ["Bearer token"] * 2
        assert (running.tally["out_sent"], running.tally["out_repeated"], running.tally["out_resolved"]) == (2, 1, 2)
        assert (await running.post("/alarms", {"alerts": [alert(name="c")]}, Accept="*/*"))[0] == 401
        assert (await running.post("/alarms", {"alarms": []}))[0] == 422

    body = '{"to": "{number}", "content": {"text": "{text}", "kind": 1}}'
    on_channel(tmp_path, do, **going_out(fake, gateway_body=body, gateway_authorization="Bearer token"))


NOON, MIDNIGHT = (int(datetime(2026, 3, 1, hour, tzinfo=SHANGHAI).timestamp() * 1e6) for hour in (12, 23))
MORNING = MIDNIGHT + 8 * 3_600_000_000


class Clocked:
    """An outbox whose clock the test turns; `go` sends all that may be sent now."""

    def __init__(self, root: Path, fake: FakeGateway, now_us: int, **changed: Any) -> None:
        self.now_us, self.tally = now_us, Counter[str]()
        settings = channel_settings(gateway_url=fake.url, **{"recipients": PHONE, **changed})
        self.box = Outbox(root, settings, SHANGHAI, Gateway(settings), self.tally, lambda: self.now_us)

    async def take(self, *alerts: Any) -> int:
        return await self.box.accept(read_alarms(json.dumps({"alerts": alerts}).encode()))

    async def go(self) -> None:
        while await self.box.send_one():
            pass


def test_a_low_battery_wakes_nobody_at_night_and_a_critical_alarm_does(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        clocked = Clocked(tmp_path, fake, MIDNIGHT)
        battery = alert("电池低电压", name="batt", severity="maintenance")
        assert await clocked.take(battery, alert("爆管", name="burst")) == 2
        await clocked.go()
        assert [each["text"] for each in fake.posted] == ["【报警】爆管"]
        clocked.now_us = MORNING
        await clocked.go()
        assert [each["text"] for each in fake.posted] == ["【报警】爆管", "【报警】电池低电压"]
        assert clocked.tally["out_night_waits"] == 1

    asyncio.run(main())


def test_what_is_over_before_morning_is_withdrawn_and_what_is_to_be_dropped_is_dropped(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        waits = Clocked(tmp_path / "waits", fake, MIDNIGHT)
        drops = Clocked(tmp_path / "drops", fake, MIDNIGHT, night_action="drop")
        for clocked in (waits, drops):
            await clocked.take(alert(name="batt", severity="maintenance"))
            await clocked.take(alert(name="batt", severity="maintenance", status="resolved"))
            clocked.now_us = MORNING
            await clocked.go()
        assert fake.posted == []
        assert waits.tally["out_withdrawn"] == drops.tally["out_night_dropped"] == 1

    asyncio.run(main())


def test_no_more_than_the_hourly_number_goes_and_the_most_pressing_first(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        clocked = Clocked(tmp_path, fake, NOON, hourly=2)
        await clocked.take(*[alert(f"w{number}", name=f"w{number}", severity="warning") for number in range(3)])
        await clocked.take(alert("c", name="c"))
        await clocked.go()
        assert [each["text"] for each in fake.posted] == ["【报警】c", "【报警】w0"]
        restarted = Clocked(tmp_path, fake, NOON + 1, hourly=2)
        await restarted.go()
        assert len(fake.posted) == 2
        restarted.now_us += 3_600_000_000
        await restarted.go()
        assert [each["text"] for each in fake.posted[2:]] == ["【报警】w1", "【报警】w2"]

    asyncio.run(main())


def test_the_same_alarm_is_sent_again_after_its_pause_also_over_a_restart(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        assert await Clocked(tmp_path, fake, NOON).take(alert()) == 1
        assert await Clocked(tmp_path, fake, NOON + 59 * 60_000_000).take(alert()) == 0
        assert await Clocked(tmp_path, fake, NOON + 60 * 60_000_000).take(alert()) == 1

    asyncio.run(main())


@pytest.mark.parametrize("status", [500, 302, 401, 429])
def test_a_gateway_that_is_away_loses_nothing(tmp_path: Path, fake: FakeGateway, status: int) -> None:
    async def do(running: Channel) -> None:
        fake.statuses = [status]
        assert (await running.post("/alarms", {"alerts": [alert()]}))[0] == 200
        await eventually(lambda: running.tally["out_away"], "the gateway is away")

    async def main() -> None:
        async with channel(tmp_path, **going_out(fake, recipients=PHONE)) as running:
            await do(running)
        assert len(list((tmp_path / "state" / "sms-outbox").glob("*.json"))) + len(fake.posted) == 1
        async with channel(tmp_path, **going_out(fake, recipients=PHONE)) as running:
            await eventually(lambda: len(fake.posted) == 1 and not running.sms._outbox.waiting, "it is sent after the restart")

    asyncio.run(main())


def test_one_sms_that_the_gateway_never_takes_does_not_hold_up_the_others(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        clocked = Clocked(tmp_path, fake, NOON)
        await clocked.take(alert("poison", name="a"), alert("good", name="b", severity="info"))
        fake.statuses = [500] * 5
        for _ in range(5):
            with pytest.raises(Away, match="HTTP 500: words of the gateway"):
                await clocked.go()
        await clocked.go()
        assert [each["text"] for each in fake.posted] == ["【报警】good", "【报警】poison"]

    asyncio.run(main())


def test_a_yes_that_is_none_by_its_words_sends_nothing(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        clocked = Clocked(tmp_path, fake, NOON, gateway_yes='"code":0')
        await clocked.take(alert())
        with pytest.raises(Away, match=r"expected .*code.*words of the gateway"):
            await clocked.go()
        assert len(clocked.box.waiting) == 1

    asyncio.run(main())


def test_an_sms_that_the_gateway_refuses_is_kept_with_its_words(tmp_path: Path, fake: FakeGateway) -> None:
    async def main() -> None:
        fake.statuses = [400]
        clocked = Clocked(tmp_path, fake, NOON)
        await clocked.take(alert())
        await clocked.go()
        (reason,) = (tmp_path / "sms-outbox" / "refused").glob("*.reason")
        assert reason.read_text() == "HTTP 400: words of the gateway\n"
        assert not clocked.box.waiting and fake.posted == []

    asyncio.run(main())


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400), st.integers(1, 9))
def test_no_sms_is_longer_than_seventy_letters_and_what_fits_is_whole(text: str, most: int) -> None:
    pieces = split(text, most)
    assert 1 <= len(pieces) <= most
    assert all(len(piece.encode("utf-16-be")) // 2 <= LETTERS for piece in pieces)
    bare = "".join(
        piece.removeprefix(f"({number}/{len(pieces)})") if len(pieces) > 1 else piece for number, piece in enumerate(pieces, 1)
    )
    assert bare == text or (bare.endswith("…") and text.startswith(bare[:-1]))


@pytest.mark.parametrize(
    ("at", "start", "end", "night"),
    [
        ("21:59", "22:00", "06:00", False),
        ("22:00", "22:00", "06:00", True),
        ("05:59", "22:00", "06:00", True),
        ("06:00", "22:00", "06:00", False),
        ("01:00", "00:00", "06:00", True),
        ("07:00", "00:00", "06:00", False),
        ("03:00", "00:00", "00:00", False),
    ],
)
def test_the_night_may_lie_over_midnight(at: str, start: str, end: str, night: bool) -> None:
    from datetime import time as day_time

    assert is_night(*(day_time.fromisoformat(each) for each in (at, start, end))) is night


def test_a_text_that_looks_like_a_place_is_not_filled_again() -> None:
    assert filled({"a": ["{text} to {number}", 1]}, {"{text}": "{number}", "{number}": "5"}) == {"a": ["{number} to 5", 1]}


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"on": True}, "secret"),
        ({"on": True, "secret": "x" * 16, "gateway_url": "file:///etc/passwd"}, "gateway_url"),
        ({"on": True, "secret": "x" * 16, "gateway_url": "http://x", "gateway_body": "{"}, "gateway_body is not JSON"),
        ({"on": True, "secret": "x" * 16, "gateway_url": "http://x", "gateway_body": "{}"}, "places"),
        ({"on": True, "secret": "x" * 16, "gateway_url": "http://x"}, "recipients"),
        ({"night_start": "ten"}, "night_start"),
    ],
)
def test_settings_that_do_not_go_together_are_named(table: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        read_section(SmsSettings, "sms", {"sms": table}, {})
    assert not read_section(SmsSettings, "sms", {}, {}).on

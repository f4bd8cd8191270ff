"""What SL 651 must keep beyond the suite of all codecs: real frames, both ways of reading a body, the terminal's side."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, Frame, Rejected, UnsupportedCommand
from ingest_daemon.codec_kit.checksums import crc16_high_first
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.alarm_codes import OF_TERMINALS
from ingest_daemon.contract.schema import BEIJING, FIELDS, TIMESTAMP
from tests.codecs.test_codecs import fed, frames_of, joined

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "frames" / "sl651.jsonl"

# --- real frames -------------------------------------------------------------------------------------------------------------


def beijing(digits: str) -> str:
    """YYMMDDhhmm[ss] as `explain` prints it."""
    form = "%y%m%d%H%M" + ("%S" if len(digits) == 12 else "")
    return datetime.strptime(digits, form).replace(tzinfo=BEIJING).isoformat()


def values_of(element: dict[str, Any]) -> list[float | None] | None:
    for key in ("rel_level_5min_m", "rain_5min_mm", "values"):
        if key in element:
            return list(element[key])
    return [element["value"]] if "value" in element else None


def shown(text: str) -> float | None:
    return None if text in ("—", "无数据 / no data") else float(text)


def test_all_fifty_real_frames_are_cut_and_explained_as_their_sources_have_them() -> None:
    if not SHARED.exists():
        pytest.skip(f"the real frames are not here: {SHARED}")
    lines = [json.loads(line) for line in SHARED.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        check_real_frame(bytes.fromhex(line["hex"]), line["expect"])
    assert len(lines) == 50
    assert [line["expect"]["outcome"] for line in lines].count("reject") == 1


def check_real_frame(raw: bytes, expect: dict[str, Any]) -> None:
    items, pending = fed("sl651", [raw])
    parts = sl651.explain(raw)
    assert b"".join(part.raw for part in parts) == raw
    by_name = {part.en: part for part in parts}
    assert by_name["CRC"].value.split()[0] == expect["crc_recv"]
    frame = raw.removesuffix(bytes.fromhex(expect.get("trailing_bytes", "")))
    if expect["outcome"] == "reject":
        (item,) = items
        assert isinstance(item, Rejected)
        assert item.reason == "BAD_CRC"
        assert f"expected {expect['crc_calc']}" in item.detail
        assert f"expected {expect['crc_calc']}" in by_name["CRC"].value
    else:
        assert items == [Frame(frame)]
        assert joined(items) + raw[len(raw) - pending :] == raw
        assert "good" in by_name["CRC"].value
        assert sl651.decode([Arrival(frame)], {}).rejected.filter(pl.col("reason") != "BAD_BODY").is_empty()

    assert sl651.terminal(frame) == expect["station"]
    assert not sl651.is_reply(frame)
    assert int(by_name["centre address"].value) == expect["center"]
    assert by_name["password"].value == expect["pw"]
    assert by_name["function"].value.startswith(f"{expect['func']}H")
    assert f", {expect['len']}" in by_name["direction and length"].value
    if "seq" in expect:
        assert sl651.sequence_of(frame) == expect["seq"]
        assert by_name["send time"].value == beijing(expect["sent_at"])
    if "pkt_total" in expect:
        assert by_name["packets and number"].value == f"{expect['pkt_no']} / {expect['pkt_total']}"
    if "body_after_seq_and_time" in expect:
        assert frame[22:-3].hex().upper() == expect["body_after_seq_and_time"]
    check_elements([part for part in parts if 22 <= part.offset < len(frame) - 3], expect.get("elements", []))


def check_elements(parts: Sequence[Any], elements: Sequence[dict[str, Any]]) -> None:
    rest = (part for part in parts if part.en not in ("sequence number", "send time"))
    kinds = iter([element["type"] for element in elements if element["id"] == "STTYPE"])
    for element in elements:
        if element["id"] == "STTYPE":
            continue
        part = next(rest)
        match element["id"]:
            case "ST":
                assert part.value == f"{element['station']}, {next(kinds)}H"
            case "TT":
                assert part.value == beijing(element["obs"])
            case "RGZS":
                assert part.raw.hex() == "f2f2" + element["raw"]
            case "PIC":
                assert int(part.value) == element["bytes"]
            case "04":
                assert part.value == element["step_dhm"]
            case "45":
                assert part.value.startswith(element["status_hex"])
            case _ if "count" in element:
                assert [shown(next(rest).value) for _ in range(element["count"])] == values_of(element)
            case _:
                assert part.raw.hex().upper().startswith(element["id"])
                if part.en.endswith("element of the series"):
                    part = next(rest)
                assert part.raw.hex().upper().endswith(element.get("raw", "").upper())
                assert [shown(text) for text in part_values(part)] == values_of(element)
    if elements:
        assert next(rest, None) is None


def part_values(part: Any) -> list[str]:
    if part.value == "无数据 / no data" and part.en.startswith(("F4", "F5")):
        return ["—"] * 12
    return part.value.split(" ") if part.en.startswith(("F4", "F5")) else [part.value]


# --- both ways of reading a body ---------------------------------------------------------------------------------------------


def sealed(function: int, body: bytes) -> bytes:
    head = bytes.fromhex("7E7E0100310100011234") + bytes((function,)) + len(body).to_bytes(2, "big") + b"\x02"
    frame = head + body + b"\x03"
    return frame + crc16_high_first(frame)


def digits(size: int) -> st.SearchStrategy[bytes]:
    """Mostly BCD, sometimes negative, no value, or no BCD at all."""
    good = st.text("0123456789", min_size=2 * size, max_size=2 * size).map(bytes.fromhex)
    negative = good.map(lambda raw: b"\xff" + raw[1:])
    return st.one_of(good, good, good, negative, st.just(b"\xff" * size), st.binary(min_size=size, max_size=size))


ELEMENT_HEADS = [
    bytes.fromhex(text) for text in ("FFA12B", "FFA22B", "FFA523", "FFA52C", "FFA333", "FFA420", "581A", "3812", "4520", "272B")
] + [bytes.fromhex(text) for text in ("FFA708", "FFA612", "FFA610", "2619", "F55C", "0418", "3800", "4508", "FFA1FB", "F0F3")]
"""Ids with definition bytes: ours, the standard's, foreign, of no length, of too great a length."""


def size_of(head: bytes) -> int:
    return 24 if head[0] == 0xF5 else head[-1] >> 3


TIMES = st.one_of(
    st.sampled_from(["2607010800", "2607010815", "2402291200", "9912312359"]).map(bytes.fromhex),
    digits(5),
    st.sampled_from(["2613010800", "2600010800", "0001010800", "2602300800"]).map(bytes.fromhex),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body of groups that are mostly alike, so that both the columns and the walk have something to do."""
    skeleton = draw(st.lists(st.sampled_from(ELEMENT_HEADS), max_size=5))
    groups = []
    for _ in range(draw(st.integers(0, 5))):
        heads = skeleton if draw(st.integers(0, 6)) else draw(st.lists(st.sampled_from(ELEMENT_HEADS), max_size=4))
        groups.append(b"\xf0\xf0" + draw(TIMES) + b"".join(head + draw(digits(size_of(head))) for head in heads))
        if not draw(st.integers(0, 9)):
            groups.append(bytes.fromhex("F1F1003101000249"))
    station = draw(st.sampled_from(["F1F1003101000149", "F1F1003101000149", "", "F2F2"]))
    body = bytes.fromhex("0001260701080012" + station) + b"".join(groups)
    return body[: len(body) - draw(st.sampled_from([0, 0, 0, 1, 3]))]


@given(st.lists(st.tuples(st.sampled_from([0x31, 0x32, 0x33, 0x34, 0x38]), bodies()), max_size=6))
@settings(max_examples=250, deadline=None)
def test_columns_and_the_walk_group_by_group_read_the_same(bodies_of: list[tuple[int, bytes]]) -> None:
    frames = [sealed(function, body) for function, body in bodies_of]
    fast, slow = sl651.decode([Arrival(frame) for frame in frames], {}), sl651._decode(frames, regular=False)
    for one, other in zip(fast[:3], slow[:3], strict=True):
        assert_frame_equal(one, other)
    assert_frame_equal(fast.rejected, slow.rejected, check_row_order=False)
    for frame in frames:
        assert b"".join(part.raw for part in sl651.explain(frame)) == frame


@given(st.integers(0x20, 0xFF), st.binary(max_size=60), st.sampled_from([b"\x02", b"\x16"]))
@settings(max_examples=200, deadline=None)
def test_any_body_under_a_good_checksum_is_read_explained_and_answered_without_raising(
    function: int, body: bytes, begin: bytes
) -> None:
    frame = bytearray(sealed(function, body)[:-2])
    frame[13:14] = begin
    whole = bytes(frame) + crc16_high_first(bytes(frame))
    assert frames_of(fed("sl651", [whole])[0]) == [whole]
    sl651.decode([Arrival(whole)], {})
    sl651.reply(whole, datetime(2026, 7, 1, tzinfo=UTC))
    assert b"".join(part.raw for part in sl651.explain(whole)) == whole


# --- the terminal's side -----------------------------------------------------------------------------------------------------


def decimal(places: int, most: int) -> st.SearchStrategy[float | None]:
    return st.one_of(st.none(), st.integers(-most, most).map(lambda whole: whole / 10**places))


def nothing_or(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), strategy)


HUNDREDTHS = st.integers(0, 3_000_000_000 * 100)
READINGS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.one_of(HUNDREDTHS.map(lambda h: h // 6000 * 6000), HUNDREDTHS).map(
                lambda h: datetime(2000, 1, 2, tzinfo=UTC) + timedelta(milliseconds=10 * h)
            ),
            "forward_m3": decimal(3, 10**12),
            "reverse_m3": decimal(3, 10**10),
            "flow_m3h": decimal(4, 10**8),
            "pressure_mpa": decimal(5, 10**6),
            "battery_v": decimal(2, 10**3),
            "signal": nothing_or(st.integers(0, 31)),
            "status": nothing_or(st.integers(0, 0xFFFF_FFFE)),
        }
    ),
    max_size=12,
)
SENT = datetime(2026, 7, 1, 0, 15, 3, tzinfo=UTC)


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"ts": TIMESTAMP, **{field.name: field.dtype for field in FIELDS}})


@given(READINGS, st.integers(1, 65535), st.sampled_from([200, 3000, 4095]))
@settings(max_examples=150, deadline=None)
def test_what_a_terminal_encodes_comes_out_unchanged_to_the_last_bit(
    rows: list[dict[str, Any]], sequence: int, most: int
) -> None:
    readings = table(rows)
    frames = sl651.reports("00310100AB", readings, sent_at=SENT, sequence=sequence, max_body=most)
    items, pending = fed("sl651", [b"".join(frames)])
    assert frames_of(items) == frames
    assert pending == 0
    assert all(len(frame) <= 17 + most for frame in frames)
    assert [sl651.sequence_of(frame) for frame in frames] == [(sequence - 1 + i) % 65535 + 1 for i in range(len(frames))]
    decoded = sl651.decode([Arrival(frame) for frame in frames], {})
    told = readings.filter(pl.any_horizontal(pl.col(field.name).is_not_null() for field in FIELDS))
    assert_frame_equal(decoded.readings.drop("frame", "terminal"), told, check_exact=True)
    assert set(decoded.readings["terminal"]) <= {"00310100AB"}
    assert decoded.rejected.is_empty()
    assert decoded.alarms.is_empty()
    assert decoded.clocks["sent_at"].to_list() == [SENT] * len(frames)


CODES = sorted({*OF_TERMINALS} - {"OTHER"})  # of other systems alone, without a bit in an alarm word


@given(st.lists(st.sampled_from(CODES), unique=True))
def test_every_alarm_that_a_terminal_raises_is_named_with_its_value_and_an_empty_list_clears(active: list[str]) -> None:
    rows = table([{"ts": SENT, "pressure_mpa": 0.31}, {"ts": SENT + timedelta(seconds=5), "pressure_mpa": 0.12}])
    (frame,) = sl651.reports("0031010001", rows, sent_at=SENT, sequence=9, function=0x33, active=active)
    decoded = sl651.decode([Arrival(frame)], {})
    (alarm,) = decoded.alarms.iter_rows(named=True)
    assert sl651.is_alarm(Arrival(frame), None)
    assert decoded.readings.height == 2
    assert sorted(alarm["active"]) == sorted(active)
    assert (alarm["event_at"], alarm["pressure_mpa"], alarm["flow_m3h"]) == (SENT + timedelta(seconds=5), 0.12, None)


def test_a_terminal_knows_its_acknowledgement_by_the_sequence() -> None:
    (frame,) = sl651.reports("0031010001", table([{"ts": SENT, "forward_m3": 1.0}]), sent_at=SENT, sequence=65535)
    answer = sl651.reply(frame, SENT)
    assert answer is not None
    assert sl651.is_reply(answer)
    assert not sl651.is_reply(frame)
    assert sl651.acknowledged_sequence(answer) == 65535
    assert sl651.acknowledged_sequence(frame) is None
    refusal = answer[:-3] + b"\x15" + crc16_high_first(answer[:-3] + b"\x15")
    assert sl651.acknowledged_sequence(refusal) is None
    assert sl651.reply(answer, SENT) is None


def test_a_keep_alive_is_a_frame_that_asks_for_no_answer() -> None:
    beat = sl651.keep_alive("0031010001", 12, SENT)
    assert fed("sl651", [beat]) == ([Frame(beat)], 0)
    assert sl651.sequence_of(beat) == 12
    assert sl651.reply(beat, SENT) is None
    assert sl651.decode([Arrival(beat)], {}).clocks["sent_at"].to_list() == [SENT]


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a terminal that is no station address": ({}, {"terminal": "M-1"}, "M-1.*10 digits"),
    "a value finer than the wire carries": ({"flow_m3h": 0.123456789}, {}, "flow_m3h.*0.123456789.*decimals"),
    "a value that is not finite": ({"flow_m3h": float("nan")}, {}, "flow_m3h.*null"),
    "a time finer than a hundredth of a second": ({"ts": SENT + timedelta(microseconds=1)}, {}, "hundredth"),
    "a year of another century": ({"ts": datetime(1999, 1, 1, tzinfo=UTC)}, {}, "2000-01-02 to 2099"),
    "a status of all ones, which means no value": ({"status": 0xFFFF_FFFF}, {}, "status.*FFFFFFFE"),
    "a body limit that holds no reading": ({}, {"max_body": 20}, "max_body is 20, expected"),
    "a body limit beyond the length field": ({}, {"max_body": 5000}, "to 4095"),
    "alarms outside an event report": ({}, {"active": ["MAG"]}, "33H"),
    "an alarm without a bit": ({}, {"active": ["NO_DATA"], "function": 0x33}, "NO_DATA.*allowed"),
    "a function that is not made of groups": ({}, {"function": 0x31}, "31H.*expected"),
    "a sequence of 0": ({}, {"sequence": 0}, "sequence 0"),
    "a send time without a zone": ({}, {"sent_at": datetime(2026, 7, 1)}, "no zone"),
}


@pytest.mark.parametrize(("row", "arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_terminal_refuses_to_send(row: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    readings = table([{"ts": SENT, "forward_m3": 1.0, **row}])
    given_arguments = {"terminal": "0031010001", "readings": readings, "sent_at": SENT, "sequence": 1, **arguments}
    with pytest.raises(ValueError, match=message):
        sl651.reports(**given_arguments)


# --- messages in packets (M3) ------------------------------------------------------------------------------------------------

NOW = datetime(2026, 7, 1, 0, 15, 30, tzinfo=UTC)


@given(READINGS, st.integers(1, 400), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_message_in_packets_says_what_the_same_body_says_in_one_frame(
    rows: list[dict[str, Any]], most: int, again: bool
) -> None:
    for frame in sl651.reports("00310100AB", table(rows), sent_at=SENT, sequence=7, max_body=4095):
        packets = sl651.in_packets(frame, most)
        items, pending = fed("sl651", [b"".join(packets)])
        assert (frames_of(items), pending) == (packets, 0)
        message = b"".join(packets)
        for one, other in zip(sl651.decode([Arrival(message)], {}), sl651.decode([Arrival(frame)], {}), strict=True):
            assert_frame_equal(one, other)
        if len(packets) == 1:
            continue
        places = [sl651.packet(packet) for packet in packets]
        assert [(place.number, place.total) for place in places if place] == [
            (n, len(packets)) for n in range(1, len(packets) + 1)
        ]
        assert len({place.key for place in places if place}) == 1
        assert sl651.terminal(message) == "00310100AB"
        lost = message.removesuffix(packets[-1]) if again else message.removeprefix(packets[0])
        assert sl651.decode([Arrival(lost)], {}).readings.is_empty()
        assert sl651.reply(lost, NOW) is None
        parts = sl651.explain(message)
        assert b"".join(part.raw for part in parts) == message
        assert sum(part.en == "CRC" and "good" in part.value for part in parts) == len(packets)


def batch(count: int, function: int = 0x32) -> bytes:
    rows = table([{"ts": SENT + timedelta(minutes=15 * i), "forward_m3": 1.5 + i} for i in range(count)])
    (frame,) = sl651.reports("0031010001", rows, sent_at=SENT, sequence=0x0122, function=function)
    return frame


def test_a_whole_message_is_acknowledged_once_with_its_sequence_and_the_number_of_its_last_packet() -> None:
    packets = sl651.in_packets(batch(9, 0x33), 50)
    assert [sl651.reply(packet, NOW) for packet in packets] == [None] * 4
    assert sl651.is_alarm(Arrival(b"".join(packets)), None)
    answer = sl651.reply(b"".join(packets), NOW, None)
    assert answer is not None
    assert answer[:-2] == bytes.fromhex("7E7E 0031010001 01 0000 33 800B 16 004004 0122 260701081530 1B")
    assert answer[-2:] == crc16_high_first(answer[:-2])
    assert sl651.acknowledged_sequence(answer) == 0x0122
    asleep = sl651.reply(b"".join(packets), NOW, sl651.profile({"reply": "eot"}))
    assert asleep is not None
    assert asleep[-3] == sl651.EOT


def test_a_lost_packet_is_asked_for_by_its_number() -> None:
    packets = sl651.in_packets(batch(9), 50)
    first = sl651.ask_again(packets[0], 3, NOW)
    assert first is not None
    assert first[:-2] == bytes.fromhex("7E7E 0031010001 01 0000 32 800B 16 004003 0122 260701081530 15")
    later = sl651.ask_again(packets[3], 2, NOW)
    assert later is not None
    assert later[14:19] == bytes.fromhex("004002 0000")
    assert sl651.ask_again(batch(9), 2, NOW) is None
    # What is sent again ends with ETX, wherever it stands: the message is complete all the same.
    again = packets[1][:-3] + b"\x03"
    message = b"".join([packets[0], again + crc16_high_first(again), *packets[2:]])
    assert sl651.decode([Arrival(message)], {}).readings.height == 9


def test_a_packet_may_be_longer_than_twelve_bits_of_length_can_say() -> None:
    frame = batch(1)[:13]
    body = bytes.fromhex("0122260701081503F1F1003101000149") + bytes.fromhex("F0F02607010800FFA12B0012345678") * 2000
    long = frame + b"\x02" + body + b"\x03\0\0"
    packets = sl651.in_packets(long, 20_000)
    assert [len(packet) for packet in packets] == [20_020, 10_036]
    items, pending = fed("sl651", [b"\r\n", packets[0][:9000], packets[0][9000:] + packets[1]])
    assert (frames_of(items), pending) == (packets, 0)
    assert sl651.decode([Arrival(b"".join(packets))], {}).readings.height == 2000


def test_no_more_than_eight_long_packets_are_open_at_once_so_that_hostile_bytes_cost_what_they_weigh() -> None:
    start = bytes.fromhex("7E7E 01 0031010001 1234 36 F000 16")
    items, pending = fed("sl651", [start * 12])
    assert (items, pending) == ([], 12 * len(start))
    real = batch(1)
    items, pending = fed("sl651", [start * 12, real])
    assert frames_of(items) == [real]
    assert pending == 0
    refused = [item for item in items if isinstance(item, Rejected)]
    assert sum("have not ended yet" in item.detail for item in refused) == 0  # they lie inside the first one's bytes
    assert joined(items) == start * 12 + real


@given(
    st.lists(st.sampled_from(["7E7E00000FFF02", "7E7E00007FFF16", "7E", "01", "0130303030", "7E7E00005FFF02"]), max_size=40),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_hostile_starts_are_cut_alike_whole_and_in_pieces(kinds: list[str], data: st.DataObject) -> None:
    stream = b"".join(bytes.fromhex(kind) * data.draw(st.integers(1, 40)) for kind in kinds) + batch(1)
    size = data.draw(st.integers(1, 64))
    whole, held = fed("sl651", [stream])
    pieces, pending = fed("sl651", [stream[at : at + size] for at in range(0, len(stream), size)])
    assert frames_of(whole) == frames_of(pieces)
    assert (joined(whole), held) == (joined(pieces), pending)


# --- the ASCII form ----------------------------------------------------------------------------------------------------------


def lettered(text: str, function: str = "32", begin: bytes = b"\x02", end: bytes = b"\x03") -> bytes:
    frame = f"\x010100310100011234{function}{len(text):04X}".encode() + begin + text.encode() + end
    return frame + crc16_high_first(frame).hex().upper().encode()


TEXT = "0150260701081500ST 0031010001 I TT 2607010745 DRN15 FFA1 VT 1.5 3.61 1.75 M M 3.6 "


@given(st.integers(1, len(TEXT)))
@settings(deadline=None)
def test_a_message_of_the_ascii_form_may_come_in_packets(most: int) -> None:
    parts = [TEXT[at : at + most] for at in range(0, len(TEXT), most)]
    packets = [
        lettered(f"{len(parts):03X}{n:03X}{part}", "31", b"\x16", b"\x03" if n == len(parts) else b"\x17")
        for n, part in enumerate(parts, 1)
    ]
    assert frames_of(fed("sl651", packets)[0]) == packets
    message = b"".join(packets)
    for one, other in zip(sl651.decode([Arrival(message)], {}), sl651.decode([Arrival(lettered(TEXT, "31"))], {}), strict=True):
        assert_frame_equal(one, other)
    answer = sl651.reply(message, NOW)
    assert answer is not None
    assert f"{len(parts):03X}{len(parts):03X}0150260701081530" in answer.decode()
    assert b"".join(part.raw for part in sl651.explain(message)) == message


@given(st.text(max_size=60), st.sampled_from(["31", "32", "33", "38", "50"]))
@settings(max_examples=150, deadline=None)
def test_any_text_of_the_ascii_form_is_read_explained_and_answered_without_raising(text: str, function: str) -> None:
    for body in (text, "0150260701081500" + text, "0150260701081500ST 0031010001 I TT 2607010745 DRN15 " + text):
        raw = body.encode("utf-8", "replace")
        frame = f"\x010100310100011234{function}{len(raw):04X}".encode() + b"\x02" + raw + b"\x03"
        frame += crc16_high_first(frame).hex().upper().encode()
        assert frames_of(fed("sl651", [frame])[0]) == [frame]
        sl651.decode([Arrival(frame)], {})
        sl651.reply(frame, NOW)
        assert b"".join(part.raw for part in sl651.explain(frame)) == frame


def test_a_connection_is_known_by_its_first_bytes() -> None:
    known = {b"": None, b"\x7e": None, b"\x7e\x7e\x01": True, b"\x7e\x01": False, b"h": False}
    known |= {lettered(TEXT)[:size]: None for size in (1, 2, 23)} | {lettered(TEXT): True, b"\x01\x03\x04": False}
    assert {prefix: sl651.sniff(prefix) for prefix in known} == known
    assert sl651.password(batch(1)) == "0000"
    assert sl651.password(lettered(TEXT)) == "1234"


# --- questions ---------------------------------------------------------------------------------------------------------------


def ask(kind: CommandType, **more: Any) -> Command:
    return Command(kind, "0031010001", "", NOW, **more)


HEAD = "7E7E 0031010001 01 0000 {} 02 0000 260701081530 {} 05"
HOURS = {"start": datetime(2026, 6, 30, 22, 10, tzinfo=UTC), "end": datetime(2026, 7, 1, 0, 1, tzinfo=UTC)}
ASKED: dict[str, tuple[Command, dict[str, Any], list[str]]] = {
    "present values": (ask(CommandType.NOW), {}, [HEAD.format("37 8008", "")]),
    "chosen values": (
        ask(CommandType.NOW),
        {"now": ["forward_m3", "pressure_mpa"]},
        [HEAD.format("3A 800D", "FFA1 2B 58 1A")],
    ),
    "history of the forward total, to whole hours": (
        ask(CommandType.HISTORY, **HOURS),
        {},
        [HEAD.format("38 8018", "26070106 26070109 0418 000015 FFA1 2B")],
    ),
    "history of a pressure at the step of the station": (
        ask(CommandType.HISTORY, **HOURS, field="pressure_mpa"),
        {"step_min": 60, "elements": {"pressure_mpa": {"id": "59", "definition": "22"}}},
        [HEAD.format("38 8017", "26070106 26070109 0418 000100 59 22")],
    ),
    "the clock": (ask(CommandType.CLOCK), {}, [HEAD.format("51 8008", "")]),
    "the clock be set": (ask(CommandType.SET_CLOCK), {}, [HEAD.format("4A 8008", "")]),
    "the version": (ask(CommandType.VERSION), {}, [HEAD.format("45 8008", "")]),
    "the state": (ask(CommandType.STATUS), {}, [HEAD.format("46 8008", "")]),
    "the events": (ask(CommandType.EVENTS), {}, [HEAD.format("50 8008", "")]),
    "the parameters": (
        ask(CommandType.PARAMETERS),
        {},
        [
            HEAD.format("41 8010", "01 20 02 28 0C 08 0D 40"),
            HEAD.format("43 8018", "20 08 21 08 23 10 24 08 59 22 5A 22 8D 33 99 33"),
        ],
    ),
    "password and centre of the station, its clock in UTC": (
        ask(CommandType.CLOCK),
        {"password": "12AB", "centre": 9, "utc_offset_h": 0},
        ["7E7E 0031010001 09 12AB 51 8008 02 0000 260701001530 05"],
    ),
}


@pytest.mark.parametrize(("question", "table", "expected"), ASKED.values(), ids=ASKED.keys())
def test_a_terminal_is_asked_for(question: Command, table: dict[str, Any], expected: list[str]) -> None:
    frames = sl651.requests(question, sl651.profile(table))
    assert [frame[:-2].hex().upper() for frame in frames] == [text.replace(" ", "") for text in expected]
    for frame in frames:
        assert frames_of(fed("sl651", [frame])[0]) == [frame]
        assert sl651.is_reply(frame)
        assert sl651.terminal(frame) == "0031010001"
        assert sl651.reply(frame, NOW) is None


def test_a_long_history_is_asked_for_in_pieces_that_touch() -> None:
    question = ask(CommandType.HISTORY, start=datetime(2026, 6, 1, tzinfo=UTC), end=datetime(2026, 6, 3, 12, tzinfo=UTC))
    frames = sl651.requests(question, sl651.profile({}))
    spans = [(frame[22:26].hex(), frame[26:30].hex()) for frame in frames]
    assert spans == [("26060108", "26060208"), ("26060208", "26060308"), ("26060308", "26060320")]


def test_requests_of_the_ascii_form_are_words() -> None:
    words = sl651.profile({"form": "ascii", "now": ["forward_m3", "battery_v"]})
    texts = [
        frame[24:-5].decode()
        for question in (
            ask(CommandType.CLOCK),
            ask(CommandType.NOW),
            ask(CommandType.HISTORY, **HOURS),
            ask(CommandType.PARAMETERS),
        )
        for frame in sl651.requests(question, words)
    ]
    assert texts == [
        "0000260701081530",
        "0000260701081530FFA1 VT ",
        "000026070108153026070106 26070109 DRN15 FFA1 ",
        "000026070108153001 02 0C 0D ",
        "000026070108153020 21 23 24 59 5A 8D 99 ",
    ]
    for frame in sl651.requests(ask(CommandType.CLOCK), words):
        assert frames_of(fed("sl651", [frame])[0]) == [frame]


CANNOT: dict[str, tuple[Command, dict[str, Any], str]] = {
    "of a number that is no station": (Command(CommandType.NOW, "M1", "", NOW), {}, "'M1'.*10 digits"),
    "a history without an end": (ask(CommandType.HISTORY, start=NOW), {}, "two times with a zone"),
    "a history that ends before it begins": (ask(CommandType.HISTORY, start=NOW, end=SENT), {}, "earlier first"),
    "a history of what no reading has": (ask(CommandType.HISTORY, **HOURS, field="colour"), {}, "colour.*forward_m3"),
    "a step that the ASCII form has no word for": (
        ask(CommandType.HISTORY, **HOURS),
        {"form": "ascii", "step_min": 90},
        "90 min",
    ),
    "to erase its storage": (Command("erase", "0031010001", "", NOW), {}, "erase: expected one of now, history"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("question", "table", "message"), CANNOT.values(), ids=CANNOT.keys())
def test_a_terminal_cannot_be_asked(question: Command, table: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedCommand, match=message):
        sl651.requests(question, sl651.profile(table))


def test_no_question_writes_erases_resets_or_changes_the_password() -> None:
    asked = {frame[10] for kind in CommandType for frame in sl651.requests(ask(kind, **HOURS), None)}
    assert asked == {0x37, 0x38, 0x41, 0x43, 0x45, 0x46, 0x4A, 0x50, 0x51}


@pytest.mark.parametrize("kind", [CommandType.NOW, CommandType.HISTORY, CommandType.CLOCK, CommandType.SET_CLOCK])
@pytest.mark.parametrize("chosen", [[], ["reverse_m3", "signal"]])
def test_the_terminals_answer_is_taken_and_tells_what_was_asked(kind: CommandType, chosen: list[str]) -> None:
    times = [HOURS["start"].replace(minute=0) + timedelta(minutes=15 * i) for i in range(4)]
    rows = table(
        [{"ts": at, "forward_m3": 1.5, "reverse_m3": None if i == 1 else 0.25, "signal": 9} for i, at in enumerate(times)]
    )
    profile = sl651.profile({"now": chosen})
    (request,) = sl651.requests(ask(kind, **HOURS, field="reverse_m3"), profile)
    frame = sl651.answer(request, rows, sent_at=SENT)
    assert frames_of(fed("sl651", [frame])[0]) == [frame]
    assert sl651.answers(request, frame)
    assert sl651.reply(frame, NOW) is None
    assert sl651.follow_up(request, frame) is None
    decoded = sl651.decode([Arrival(frame, 0, "0031010001", (request,))], {})
    assert decoded.rejected.is_empty()
    assert decoded.clocks["sent_at"].to_list() == [SENT]
    expected = {
        CommandType.NOW: rows.tail(1).with_columns(*([pl.lit(None, pl.Float64).alias("forward_m3")] if chosen else [])),
        CommandType.HISTORY: rows.select("ts", "reverse_m3").filter(pl.col("reverse_m3").is_not_null()),
    }.get(kind, rows.clear())
    assert_frame_equal(decoded.readings.select(expected.columns), expected)


def test_only_the_station_asked_answers_and_only_with_the_function_asked() -> None:
    (request,) = sl651.requests(ask(CommandType.CLOCK), None)
    (other,) = sl651.requests(Command(CommandType.CLOCK, "00310100AB", "", NOW), None)
    (version,) = sl651.requests(ask(CommandType.VERSION), None)
    frame = sl651.answer(request, table([]), sent_at=SENT)
    asked = (request, other, version, frame)
    assert [sl651.answers(each, frame) for each in asked] == [True, False, False, False]
    assert not sl651.answers(request, request)
    with pytest.raises(ValueError, match="45H has no answer made of readings"):
        sl651.answer(version, table([]), sent_at=SENT)


def test_an_answer_of_which_more_follows_is_acknowledged_as_a_request_for_the_rest() -> None:
    (request,) = sl651.requests(ask(CommandType.HISTORY, **HOURS), None)
    frame = sl651.answer(request, table([{"ts": SENT.replace(second=0), "forward_m3": 1.0}]), sent_at=SENT, sequence=5)
    frame = frame[:-3] + b"\x17"
    frame += crc16_high_first(frame)
    more = sl651.follow_up(request, frame)
    assert more is not None
    assert more[:-2] == bytes.fromhex("7E7E 0031010001 01 0000 38 8008 02 0005 260701081530 06")
    assert sl651.answers(more, frame)


def test_the_answers_of_one_round_are_read_from_one_record() -> None:
    questions = [ask(CommandType.HISTORY, **HOURS, field=field) for field in ("forward_m3", "reverse_m3")]
    requests = [request for question in questions for request in sl651.requests(question, None)]
    rows = table([{"ts": SENT.replace(second=0), "forward_m3": 1.0, "reverse_m3": 2.0}])
    frames = [sl651.answer(request, rows, sent_at=SENT) for request in requests]
    whole = b"".join([*sl651.in_packets(frames[0], 30), frames[1]])
    decoded = sl651.decode([Arrival(batch(1)), Arrival(whole, 0, "0031010001", tuple(requests))], {})
    told = decoded.readings.filter(frame=1).select("forward_m3", "reverse_m3").rows()
    assert told == [(1.0, None), (None, 2.0)]
    assert decoded.readings["frame"].to_list() == [0, 1, 1]
    assert b"".join(part.raw for part in sl651.explain(whole)) == whole


# --- settings of a station ---------------------------------------------------------------------------------------------------

FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"colour": 1}, "colour is no setting.*reply.*password"),
    "a password that is no hex": ({"password": "12G4"}, "password is '12G4', expected a text of 4 hex digits"),
    "a centre of 0": ({"centre": 0}, "centre is 0, expected a whole number from 1 to 255"),
    "an unknown reply": ({"reply": "ack"}, "reply is 'ack', expected 'esc' or 'eot' or 'none'"),
    "a field that no reading has": ({"elements": {"colour": {"id": "C1"}}}, "elements.colour.*forward_m3"),
    "a unit of another kind": ({"elements": {"forward_m3": {"id": "C1", "unit": "bar"}}}, "forward_m3.unit is 'bar'.*'m3'"),
    "an element that is a guide": ({"elements": {"flow_m3h": {"id": "F1"}}}, "flow_m3h.id is 'F1', expected 01 to EF"),
    "an unknown setting of an element": ({"elements": {"flow_m3h": {"idd": "C1"}}}, "elements.flow_m3h.idd"),
    "an alarm code that there is not": ({"alarm": {"bits": ["FIRE"]}}, "alarm.bits.*P_HI"),
    "no table": ({"alarm": 5}, "alarm is 5, expected a table"),
    "a chosen field that there is not": ({"now": ["colour"]}, "now is .*expected a list of forward_m3"),
}


@pytest.mark.parametrize(("table", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_a_profile_is_refused_for(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sl651.profile(table)


def test_only_the_station_that_has_a_profile_is_read_by_it() -> None:
    rows = table([{"ts": SENT, "forward_m3": 1.5}])
    frames = [frame for name in "ABC" for frame in sl651.reports(f"003101000{name}", rows, sent_at=SENT, sequence=1)]
    special = {
        "003101000B": sl651.profile({"elements": {"reverse_m3": {"id": "FFA1", "unit": "L"}}}),
        "12": "of another protocol",
    }
    decoded = sl651.decode([Arrival(frame) for frame in frames], special)
    assert decoded.readings.select("terminal", "forward_m3", "reverse_m3").rows() == [
        ("003101000A", 1.5, None),
        ("003101000B", None, 0.0015),
        ("003101000C", 1.5, None),
    ]


def test_a_question_carries_the_registered_password_before_that_of_the_profile() -> None:
    ask = Command(CommandType.CLOCK, "0031010001", "", SENT)
    profile = sl651.profile({"password": "0F0F"})
    passwords = [sl651.requests(each, profile)[0][8:10].hex() for each in (ask, ask._replace(password="1AB"))]
    assert passwords == ["0f0f", "01ab"]


# Private series


def with_elements(elements: str, function: int = sl651.TIMED) -> bytes:
    """A frame of station 0031010001 whose body has these bytes behind sequence, send time and the station."""
    return sealed(function, bytes.fromhex(f"0007 260701080012 F1F1 0031010001 49 {elements}"))


EIGHT, NINE = "F0F0 2607010800", "F0F0 2607010900"
TOTAL, VOLTS, PRESSURE_1 = "FFA1 2B 0012345678", "38 12 1287", "58 1A 034560"
LEVELS = "0101 0102 0103 0104 0105 0106 0107 0108"
READ = {"forward_m3": 12345.678, "battery_v": 12.87}


@pytest.mark.parametrize("guide", ["7979", "7D7D", "F9F9", "FAFA", "B3B3"])
@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        pytest.param(f"{EIGHT} {TOTAL} {VOLTS} GUIDE {LEVELS}", [READ], id="at the end"),
        pytest.param(f"{EIGHT} {TOTAL} GUIDE {LEVELS} {VOLTS}", [READ], id="before a standard element"),
        pytest.param(f"{EIGHT} {TOTAL} GUIDE 08 {LEVELS} 45 20 00000481 {VOLTS}", [{**READ, "status": 0x481}], id="before two"),
        pytest.param(f"{EIGHT} {TOTAL} GUIDE {LEVELS} {VOLTS} FF09 08 20", [READ], id="before a standard and a private element"),
        pytest.param(
            f"{EIGHT} {TOTAL} GUIDE {LEVELS} {NINE} {TOTAL} {VOLTS}", [{"forward_m3": 12345.678}, READ], id="before a group"
        ),
        pytest.param(f"{EIGHT} {TOTAL} {VOLTS} GUIDE", [READ], id="alone at the end"),
        pytest.param(f"{EIGHT} {TOTAL} {VOLTS} GUIDE 7D7D {LEVELS} F9F9 {LEVELS}", [READ], id="several"),
        pytest.param(f"{EIGHT} GUIDE {LEVELS} {TOTAL}", [{"forward_m3": 12345.678}], id="before one of our own"),
        pytest.param(f"{EIGHT} {TOTAL} GUIDE {LEVELS} FF33 11 0205", [{"forward_m3": 12345.678}], id="before a private element"),
        pytest.param(f"{EIGHT} {TOTAL} GUIDE {LEVELS} 38 12 12AB", [{"forward_m3": 12345.678}], id="before what is no value"),
    ],
)
def test_beside_a_private_series_the_standard_elements_are_read_and_the_series_is_named(
    guide: str, elements: str, expected: list[dict[str, float]]
) -> None:
    raw = with_elements(elements.replace("GUIDE", guide))
    decoded = sl651.decode([Arrival(raw)], {})
    found = [
        {name: row[name] for name in row if name in {field.name for field in FIELDS} and row[name] is not None}
        for row in decoded.readings.to_dicts()
    ]
    assert found == expected
    assert any(guide in detail for detail in decoded.rejected["detail"])
    assert b"".join(part.raw for part in sl651.explain(raw)) == raw


def test_a_private_series_of_the_length_that_it_declares_hides_nothing_behind_it() -> None:
    declared = "00" * (0x79 >> 3)
    decoded = sl651.decode([Arrival(with_elements(f"{EIGHT} 7979 {declared} {TOTAL} {VOLTS}"))], {})
    assert decoded.readings["battery_v"].to_list() == [12.87]


def test_a_private_series_in_a_uniform_series_is_named() -> None:
    decoded = sl651.decode([Arrival(with_elements(f"{EIGHT} 04 18 000015 7979 {LEVELS}", sl651.SERIES))], {})
    assert decoded.readings.is_empty() and "79" in decoded.rejected["detail"][0]


def test_an_element_that_would_run_beyond_the_body_costs_its_group_only() -> None:
    decoded = sl651.decode([Arrival(with_elements(f"{EIGHT} {TOTAL} C1 F8 0102 {NINE} {TOTAL} {VOLTS}"))], {})
    assert decoded.readings["battery_v"].to_list() == [None, 12.87]
    assert "no element at byte 45" in decoded.rejected["detail"][0]


@given(st.binary(max_size=300), st.sampled_from(["7979", "7D7D", "F9F9"]))
@settings(max_examples=300, deadline=None)
def test_whatever_a_private_series_holds_what_stands_before_it_is_read_and_no_station_is_stored_unnamed(
    data: bytes, guide: str
) -> None:
    raw = with_elements(f"{EIGHT} {TOTAL} {guide} {data.hex()}")
    decoded = sl651.decode([Arrival(raw)], {})
    assert 12345.678 in decoded.readings["forward_m3"].to_list()
    assert {*decoded.readings["terminal"], *decoded.alarms["terminal"]} <= {"0031010001", *sl651.other_stations(raw)}
    assert b"".join(part.raw for part in sl651.explain(raw)) == raw

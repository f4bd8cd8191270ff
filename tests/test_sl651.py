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

from ingest_daemon.checksums import crc16_high_first
from ingest_daemon.codecs import sl651
from ingest_daemon.frames import Arrival, Frame, Rejected
from ingest_daemon.schema import ALARMS, BEIJING, FIELDS, TIMESTAMP
from tests.test_codecs import fed, frames_of, joined

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "frames" / "sl651.jsonl"

# --- real frames ------------------------------------------------------------------------------------------------------


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


# --- both ways of reading a body ----------------------------------------------------------------------------------------


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


# --- the terminal's side ------------------------------------------------------------------------------------------------


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


CODES = sorted(set(ALARMS) - {"NO_DATA"})


@given(st.lists(st.sampled_from(CODES), unique=True))
def test_every_alarm_that_a_terminal_raises_is_named_with_its_value_and_an_empty_list_clears(active: list[str]) -> None:
    rows = table([{"ts": SENT, "pressure_mpa": 0.31}, {"ts": SENT + timedelta(seconds=5), "pressure_mpa": 0.12}])
    (frame,) = sl651.reports("0031010001", rows, sent_at=SENT, sequence=9, function=0x33, active=active)
    decoded = sl651.decode([Arrival(frame)], {})
    (alarm,) = decoded.alarms.iter_rows(named=True)
    assert sl651.is_alarm(frame)
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

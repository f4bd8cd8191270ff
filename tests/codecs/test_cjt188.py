"""CJ/T 188: every known frame as its line says, profiles, asking, and what no vector can say."""

import itertools
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, Frame, Rejected, UnsupportedCommand
from ingest_daemon.codecs import cjt188
from ingest_daemon.contract.schema import BEIJING
from ingest_daemon.terminals.profiles import SHIPPED, read_profile
from tests.daemon_helpers import known_frames

CODEC = codecs.load("cjt188")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
GOOD = bytes.fromhex("68104433221100337881161F9000007766552C007766552C3101221105152021841316")


def sealed(head_and_data: str) -> bytes:
    raw = bytes.fromhex(head_and_data)
    return raw + bytes((sum(raw) & 0xFF, 0x16))


def frames_of(pieces: list[Frame | Rejected]) -> list[bytes]:
    return [piece.raw for piece in pieces if isinstance(piece, Frame)]


# --- every known frame


def test_every_known_frame_is_decoded_or_refused_as_its_line_says() -> None:
    outcomes: Counter[str] = Counter()
    for line in known_frames("cjt188"):
        raw, expect = bytes.fromhex(line["hex"]), line["expect"]
        decoder = CODEC.decoder()
        frames = frames_of([*decoder.feed(raw), *decoder.feed(GOOD)])
        assert frames.pop() == GOOD  # whatever came before, the next frame is found
        decoded = CODEC.decode([Arrival(frame, NOW_US) for frame in frames], {})
        parts = CODEC.explain(raw)
        assert b"".join(part.raw for part in parts) == raw
        if expect["outcome"] == "reject":
            assert decoded.readings.is_empty()
            assert not frames or decoded.rejected["reason"].to_list() == ["BAD_CRC"]
            outcomes["refused"] += 1
            continue
        (frame,) = frames
        check_parts({part.en: part.value for part in parts}, expect, frame)
        if expect["direction"] == "request" or expect["error_response"]:
            assert decoded.readings.is_empty()
            assert decoded.rejected.height == 1
            outcomes["error answer" if expect["error_response"] else "request"] += 1
        elif "current_volume" in expect or "short_form_9_bytes" in expect:
            check_reading(decoded, expect)
            outcomes["reading"] += 1
        else:
            assert decoded.readings.is_empty()
            assert decoded.rejected.is_empty()
            outcomes["answer without a reading"] += 1
    print(dict(outcomes))
    assert sum(outcomes.values()) == 33
    assert outcomes == {"reading": 14, "request": 9, "refused": 8, "error answer": 1, "answer without a reading": 1}


def check_parts(shown: dict[str, str], expect: dict[str, Any], frame: bytes) -> None:
    assert CODEC.terminal(frame) == shown["address A"] == expect["address"]
    assert shown["meter type T"].startswith(expect["meter_type"])
    assert shown["control C"].startswith(expect["control"])
    assert ("answer" in shown["control C"]) == (expect["direction"] == "response")
    assert int(shown["length L"]) == expect["length"]
    assert shown["data identifier DI"].startswith(expect["di"])
    assert ("low byte first" in shown["data identifier DI"]) == expect["di_order"].startswith("low byte first")
    assert shown.get("request number SER") == expect.get("ser")
    assert shown["checksum CS"] == f"{expect['checksum_frame']} 正确 / good"
    assert len(frame) == 13 + expect["length"] + expect.get("preamble_fe", 0)


def check_reading(decoded: Any, expect: dict[str, Any]) -> None:
    (reading,) = decoded.readings.iter_rows(named=True)
    if short := expect.get("short_form_9_bytes"):
        volume, status = short["volume_if_2_decimals"], short["s0"] + short["s1"]
    else:
        raw, unit = expect["current_volume"]["raw_bcd_le"], expect["current_volume"]["unit_code"]
        volume, status = raw / {"2C": 100, "29": 1000}[unit], expect["status_raw"]
    assert reading["terminal"] == expect["address"]
    assert reading["ts"] == NOW
    assert reading["forward_m3"] == volume
    assert reading["status"] == int.from_bytes(bytes.fromhex(status), "little")
    told = (expect.get("meter_clock") or {}).get("time")
    clocks = [at.astimezone(BEIJING).replace(tzinfo=None).isoformat() for at in decoded.clocks["sent_at"]]
    assert clocks == ([told] if told else [])


def test_a_meter_that_sums_its_data_only_is_read_with_its_profile() -> None:
    frames = [bytes.fromhex(line["hex"]) for line in known_frames("cjt188") if "data_field_only_sum" in line["expect"]]
    assert len(frames) == 6
    summing = read_profile(SHIPPED / "cjt188-data-sum.toml", "cjt188")
    refused = CODEC.decode([Arrival(frame, NOW_US) for frame in frames], {"77665544332211": summing}).rejected
    assert "BAD_CRC" not in refused["reason"]
    assert refused["frame"].to_list() == [0, 1]  # an error answer, and a month's register, which has no time


# --- profiles


def test_the_shipped_profiles_are_read() -> None:
    names = sorted(path.stem for path in SHIPPED.glob("cjt188-*.toml"))
    assert names == ["cjt188-2004", "cjt188-2018", "cjt188-data-sum", "cjt188-high-clock", "cjt188-rd-w10"]
    profiles = {name: read_profile(SHIPPED / f"{name}.toml", "cjt188") for name in names}
    assert profiles["cjt188-2004"] == cjt188.Profile()
    assert profiles["cjt188-2018"] == cjt188.Profile(low_first=True, freeze_min=15)
    assert profiles["cjt188-rd-w10"].layout == "rd-w10"
    assert all(tomllib.loads((SHIPPED / f"{name}.toml").read_text())["source"] for name in names)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a setting that there is not": ({"valve": True}, "valve: no such setting; allowed: identifier"),
    "another order": ({"identifier": "middle"}, "identifier is 'middle'; allowed: 'high-first', 'low-first'"),
    "another layout": ({"layout": ["standard"]}, r"layout is \['standard'\]; allowed"),
    "too long a step": ({"freeze_min": 1441}, "freeze_min is 1441; allowed: whole numbers from 0 to 1440"),
    "a truth for a number": ({"litre_decimals": True}, "litre_decimals is True"),
    "no meter type": ({"meter_type": 16}, "meter_type is 16; allowed: two digits"),
    "a bit too high": ({"status": {"16": "MAG"}}, "status: 16 = 'MAG'; expected bits 0 to 15"),
    "an unknown alarm": ({"status": {"3": "HOT"}}, "'HOT'"),
    "a list of alarms": ({"status": ["BATT"]}, "expected a table"),
}


@pytest.mark.parametrize(("table", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_profile_refuses(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CODEC.profile(table)


def test_the_profile_decides_how_an_ambiguous_clock_and_litres_are_read() -> None:
    both = sealed("68 10 01000015201800 81 16 901F 07 56341200 29 00000000 29 20110508101220 0000")
    tables: list[dict[str, Any]] = [{}, {"clock": "high-first", "litre_decimals": 2}]
    found = [CODEC.decode([Arrival(both, NOW_US, "M-1")], {"M-1": CODEC.profile(table)}) for table in tables]
    assert [one.clocks["sent_at"].item().astimezone(BEIJING).isoformat() for one in found] == [
        "2012-10-08T05:11:20+08:00",
        "2011-05-08T10:12:20+08:00",
    ]
    assert [one.readings["forward_m3"].item() for one in found] == [123.456, 1.23456]


# --- asking


def ask(kind: CommandType, address: str = "00182015000001", table: dict[str, Any] | None = None, **more: Any) -> list[bytes]:
    return CODEC.requests(Command(kind, "M-1", address, NOW, **more), CODEC.profile(table or {}))


def test_the_present_reading_is_asked_in_the_order_of_the_profile() -> None:
    number = f"{int(NOW.timestamp()) % 100:02d}"
    high, low = sealed(f"68 10 01000015201800 01 03 901F {number}"), sealed(f"68 10 01000015201800 01 03 1F90 {number}")
    assert ask(CommandType.NOW) == [b"\xfe\xfe\xfe" + high]
    assert ask(CommandType.NOW, table={"identifier": "low-first"}) == [b"\xfe\xfe\xfe" + low]
    assert ask(CommandType.NOW, "") == [b"\xfe\xfe\xfe" + sealed(f"68 10 {'AA' * 7} 01 03 901F {number}")]
    assert ask(CommandType.CLOCK) == [b"\xfe\xfe\xfe" + sealed(f"68 10 01000015201800 01 03 907F {number}")]
    (summed,) = ask(CommandType.NOW, table={"checksum": "data"})
    assert summed[-2] == sum(bytes.fromhex(f"901F{number}")) & 0xFF


def test_a_request_is_a_frame_that_is_no_reading_when_it_comes_back() -> None:
    (request,) = ask(CommandType.NOW)
    assert frames_of(CODEC.decoder().feed(request)) == [request]
    assert not CODEC.answers(request, request)
    decoded = CODEC.decode([Arrival(request, NOW_US)], {})
    assert decoded.readings.is_empty()
    assert decoded.rejected.height == 1


def test_history_asks_for_the_freezes_of_that_time_the_oldest_first() -> None:
    asked = ask(CommandType.HISTORY, table={"freeze_min": 15}, start=NOW - timedelta(hours=1), end=NOW - timedelta(minutes=30))
    assert [frame[14:16].hex() for frame in asked] == ["d305", "d304", "d303", "d302", "d301"]
    assert len({frame[16] for frame in asked}) == len(asked)
    most = ask(CommandType.HISTORY, table={"freeze_min": 15}, start=NOW - timedelta(days=30), end=NOW)
    assert len(most) == 256


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "no timed freezes": (
        {"kind": CommandType.HISTORY, "start": NOW, "end": NOW},
        "history: the meter's profile says of no timed",
    ),
    "a field that freezes do not have": (
        {"kind": CommandType.HISTORY, "table": {"freeze_min": 15}, "start": NOW, "end": NOW, "field": "reverse_m3"},
        "not reverse_m3",
    ),
    "no span": ({"kind": CommandType.HISTORY, "table": {"freeze_min": 15}}, "expected start and end"),
    "a time long gone": (
        {
            "kind": CommandType.HISTORY,
            "table": {"freeze_min": 15},
            "start": NOW - timedelta(days=30),
            "end": NOW - timedelta(days=20),
        },
        "a meter keeps 256 freezes",
    ),
    "setting the clock": ({"kind": CommandType.SET_CLOCK}, "nothing is written to it"),
    "parameters": ({"kind": CommandType.PARAMETERS}, "the present reading"),
    "an address too short": ({"kind": CommandType.NOW, "address": "182015000001"}, "expected 14 digits"),
    "an address of letters": ({"kind": CommandType.NOW, "address": "0018201500000X"}, "expected 14 digits"),
}


@pytest.mark.parametrize(("arguments", "message"), CANNOT.values(), ids=CANNOT.keys())
def test_it_cannot_be_asked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedCommand, match=message):
        ask(**arguments)


def test_an_answer_is_known_by_address_identifier_in_either_order_and_number() -> None:
    request = sealed("68 10 01000015201800 01 03 901F 07")
    data = "56341200 2C 00000000 2C 15300801072620 0420"

    def answer(head: str) -> bytes:
        return sealed(f"68 10 {head} {data}")

    assert CODEC.answers(request, answer("01000015201800 81 16 901F 07"))
    assert CODEC.answers(request, b"\xfe\xfe" + answer("01000015201800 81 16 1F90 07"))
    assert CODEC.answers(sealed(f"68 10 {'AA' * 7} 01 03 901F 07"), answer("01000015201800 81 16 901F 07"))
    assert CODEC.answers(request, sealed("68 10 01000015201800 C1 04 901F 07 02"))
    assert CODEC.answers(request, sealed("68 10 01000015201800 C1 03 07 1122"))
    assert not CODEC.answers(request, answer("02000015201800 81 16 901F 07"))
    assert not CODEC.answers(request, answer("01000015201800 81 16 901F 08"))
    assert not CODEC.answers(request, answer("01000015201800 81 16 D300 07"))
    assert not CODEC.answers(request, sealed("68 10 02000015201800 C1 04 901F 07 02"))
    assert not CODEC.answers(request, sealed("68 10 01000015201800 84 03 A017 07"))
    assert not CODEC.answers(request, sealed("68 10 01000015201800 AA 03 A017 07"))


# --- streams


def test_filling_before_a_frame_belongs_to_it_wherever_the_stream_is_cut() -> None:
    stream = b"\xfe" * 3 + GOOD + b"\xfe" * 4 + GOOD
    for first, second in itertools.combinations(range(len(stream)), 2):
        decoder = CODEC.decoder()
        pieces = [piece for cut in (stream[:first], stream[first:second], stream[second:]) for piece in decoder.feed(cut)]
        assert pieces == [Frame(b"\xfe" * 3 + GOOD), Frame(b"\xfe" * 4 + GOOD)]


def test_filling_without_end_is_not_held_without_end() -> None:
    decoder = CODEC.decoder()
    pieces = decoder.feed(b"\xfe" * 1000)
    assert decoder.pending == 16
    assert sum(len(piece.raw) for piece in pieces) == 984


@given(st.binary(min_size=2, max_size=40), st.sampled_from(["81", "01", "C1", "84", "AA"]), st.sampled_from(["10", "AA", "20"]))
@settings(max_examples=300, deadline=None)
def test_any_data_under_a_good_checksum_are_read_or_refused_and_explained(data: bytes, control: str, meter: str) -> None:
    frame = sealed(f"68 {meter} 01000015201800 {control} {len(data):02X} {data.hex()}")
    decoded = CODEC.decode([Arrival(frame, NOW_US)], {})
    assert decoded.readings.height + decoded.rejected.height <= 1
    assert b"".join(part.raw for part in CODEC.explain(frame)) == frame


@given(st.integers(0, 99_999_999), st.sampled_from(["90 1F", "1F 90"]))
@settings(max_examples=100, deadline=None)
def test_every_volume_comes_out_to_the_last_bit(hundredths: int, identifier: str) -> None:
    digits = bytes.fromhex(f"{hundredths:08d}")[::-1].hex()
    frame = sealed(f"68 10 01000015201800 81 16 {identifier} 07 {digits} 2C 00000000 2C 15300801072620 0000")
    assert CODEC.decode([Arrival(frame, NOW_US)], {}).readings["forward_m3"].item() == hundredths / 100

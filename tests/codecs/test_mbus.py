"""M-Bus against the frames and values of libmbus, a second decoder; asking, and rounds of several frames."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, Frame, UnsupportedCommand
from ingest_daemon.codecs import mbus
from tests.daemon_helpers import known_frames

CODEC = codecs.load("mbus")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def sealed(content: str) -> bytes:
    """A long frame round the bytes from C on."""
    raw = unhex(content)
    return bytes((0x68, len(raw), len(raw), 0x68)) + raw + bytes((sum(raw) & 0xFF, 0x16))


# --- libmbus --------------------------------------------------------------------------------------------------------------------

UNITS = {"m³": "m^3", "m³/h": "m^3/h", "Wh": "Wh", "J": "J", "W": "W", "V": "V", "A": "A", "K": "K", "C": "°C", "seconds": "s"}


def near(number: float) -> Any:
    """Equal within half of the sixth decimal, the last that libmbus prints, or a millionth: its floats have seven digits."""
    return pytest.approx(number, rel=1e-6, abs=5e-7)


def test_every_frame_of_libmbus_is_decoded_to_its_values_or_refused() -> None:
    outcomes: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for line in known_frames("mbus"):
        raw, expect = unhex(line["hex"]), line["expect"]
        frames = [piece.raw for piece in CODEC.decoder().feed(raw) if isinstance(piece, Frame)]
        decoded = CODEC.decode([Arrival(frame, NOW_US) for frame in frames], {})
        assert b"".join(part.raw for part in CODEC.explain(raw)) == raw
        if expect["outcome"] != "ok":
            assert decoded.readings.is_empty() or "do not add up" in decoded.rejected["detail"].item()
            assert decoded.readings["forward_m3"].to_list() in ([], [12.565])  # the total before the torn record
            assert not frames or decoded.rejected.height == 1
            outcomes["refused"] += 1
        elif raw[6] == 0x73:
            assert "fixed structure" in decoded.rejected["detail"].item()
            outcomes["fixed structure, refused"] += 1
        else:
            slave, records = expect["normalized"]["slave"], expect["normalized"]["records"]
            water = "water" in slave["Medium"].lower() or slave["Medium"] == "Other"
            assert decoded.readings.height == water
            other = "water" not in slave["Medium"].lower()
            has_volume = other or any(record["Quantity"] == "Volume" for record in records)
            assert decoded.rejected.height == (not water or not has_volume)
            check_header(raw, slave)
            check_records(raw, records, values)
            if water:
                check_reading(decoded.readings.row(0, named=True), records)
            outcomes["water" if water else "another medium"] += 1
    print(dict(outcomes), dict(values))
    assert sum(outcomes.values()) == 66
    assert outcomes == {"water": 16, "another medium": 34, "fixed structure, refused": 2, "refused": 14}
    assert values == {"equal number": 506, "unit compared": 410, "not BCD, no value": 4}


def check_header(raw: bytes, slave: dict[str, str]) -> None:
    shown = {part.en: part.value for part in CODEC.explain(raw)}
    assert int(shown["number of the meter"], 16) == int(slave["Id"], 16)
    assert shown["manufacturer"] == slave["Manufacturer"]
    assert int(shown["access number"], 16) == int(slave["AccessNumber"])
    assert shown["status"].split(":")[0] == slave["Status"]


def check_records(raw: bytes, records: list[dict[str, str]], values: Counter[str]) -> None:
    """Each number that libmbus has, and its unit where that is a measure, as `explain` shows them."""
    parts = CODEC.explain(raw)
    start = next(number for number, part in enumerate(parts) if part.en == "signature") + 1
    shown = [
        part for part in parts[start:-2] if part.en != "filler" and not (part.raw[0] & 0x0F in (0, 8) and part.raw[0] != 0x0F)
    ]
    assert len(shown) == len(records)
    for part, record in zip(shown, records, strict=True):
        try:
            number = float(record["Value"])
        except ValueError:
            continue
        if record["Function"] == "Value during error state" and not value_bytes_are_bcd(part.raw):
            assert part.value == part.raw.hex().upper()
            values["not BCD, no value"] += 1
            continue
        assert float(part.value) == near(number)
        values["equal number"] += 1
        unit = record["Unit"].replace("Â", "")
        if unit in UNITS.values():
            assert UNITS[part.unit] == unit
            values["unit compared"] += 1


def value_bytes_are_bcd(record: bytes) -> bool:
    """Of a record of one DIF and one VIF in BCD; libmbus makes numbers of other digits, too."""
    return record[0] & 0x0F not in (9, 10, 11, 12, 14) or record[:1:-1].hex().isdecimal()


def check_reading(reading: dict[str, Any], records: list[dict[str, str]]) -> None:
    """The first present volume and flow of no tariff and subunit."""
    for quantity, name in (("Volume", "forward_m3"), ("Volume flow", "flow_m3h")):
        present = [
            float(record["Value"])
            for record in records
            if record["Quantity"] == quantity
            and (record["Function"], record["StorageNumber"]) == ("Instantaneous value", "0")
            and (record.get("Tariff", "0"), record.get("Device", "0")) == ("0", "0")
        ]
        assert reading[name] == (near(present[0]) if present else None)


# --- asking ---------------------------------------------------------------------------------------------------------------------


def ask(address: str, kind: CommandType = CommandType.NOW) -> list[bytes]:
    return CODEC.requests(Command(kind, "M-1", address, NOW), None)


def test_a_meter_at_a_primary_address_is_reset_and_asked() -> None:
    assert ask("1") == [unhex("1040014116"), unhex("107B017C16")]
    assert ask("250") == [unhex("1040FA3A16"), unhex("107BFA7516")]


def test_a_meter_with_a_number_is_chosen_by_it_first() -> None:
    assert ask("12345678") == [unhex("1040FD3D16"), unhex("680B0B6853FD5278563412FFFFFFFFB216"), unhex("107BFD7816")]


@pytest.mark.parametrize("address", ["", "0", "251", "1234567", "M-1", "１"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UnsupportedCommand, match="expected a primary address from 1 to 250, or the 8 digits"):
        ask(address)


@pytest.mark.parametrize("kind", [kind for kind in CommandType if kind != CommandType.NOW])
def test_nothing_but_the_present_values_is_asked(kind: CommandType) -> None:
    with pytest.raises(UnsupportedCommand, match="present values"):
        ask("1", kind)


HEAD = "72 78563412 2440 01 07 55 00 0000"
ANSWER = sealed(f"08 05 {HEAD} 041340E20100")


def test_a_command_is_answered_by_e5_and_a_question_by_the_asked_meter() -> None:
    reset, question = ask("5")
    assert CODEC.answers(reset, b"\xe5")
    assert not CODEC.answers(question, b"\xe5")
    assert CODEC.answers(question, ANSWER)
    assert CODEC.answers(question, sealed(f"28 05 {HEAD}"))
    assert CODEC.answers(question, sealed("08 05 70 08"))  # an error is an answer, too
    assert not CODEC.answers(question, sealed(f"08 06 {HEAD}"))
    assert not CODEC.answers(reset, ANSWER)
    assert not CODEC.answers(question, question)
    chosen = ask("12345678")
    assert CODEC.answers(chosen[1], b"\xe5")
    assert CODEC.answers(chosen[2], ANSWER)


def test_more_frames_are_asked_for_with_the_bit_toggled_until_the_last() -> None:
    question = ask("5")[1]
    more = sealed(f"08 05 {HEAD} 041340E20100 1F")
    second = CODEC.follow_up(question, more)
    assert second == unhex("105B056016")
    assert CODEC.follow_up(second, more) == question
    assert CODEC.follow_up(question, ANSWER) is None
    assert CODEC.follow_up(question, sealed(f"08 05 {HEAD} 0313")) is None
    assert CODEC.follow_up(ask("5")[0], b"\xe5") is None


def test_a_round_of_several_frames_is_one_reading_of_the_terminal_that_was_asked() -> None:
    first = sealed(f"08 05 {HEAD} 041340E20100 1F")
    second = sealed("08 05 72 78563412 2440 01 07 56 04 0000 0413FFFF0000 04933C10270000 0269F401")
    reset, question = ask("5")
    asked = (reset, question, mbus.follow_up(question, first) or b"")
    decoded = CODEC.decode([Arrival(b"\xe5" + first + second, NOW_US + 123_456, "M-7", asked)], {})
    (reading,) = decoded.readings.iter_rows(named=True)
    assert {name: value for name, value in reading.items() if value is not None} == {
        "frame": 0,
        "terminal": "M-7",
        "ts": datetime(2026, 7, 1, 0, 0, 0, 123_000, UTC),
        "forward_m3": 123.456,
        "reverse_m3": 10.0,
        "pressure_mpa": 0.5,
        "status": 0,
    }
    assert decoded.rejected.is_empty()


def test_a_bad_frame_of_a_round_is_told_and_the_good_one_is_used() -> None:
    decoded = CODEC.decode([Arrival(b"\xe5" + ANSWER + sealed(f"08 05 {HEAD} 0313"), NOW_US)], {})
    assert decoded.readings["forward_m3"].to_list() == [123.456]
    assert decoded.rejected["detail"].to_list() == [
        "the records from byte 19 on do not add up: value at byte 21 has 0 bytes, expected 3"
    ]


def test_a_code_that_the_library_does_not_know_spoils_no_other_record() -> None:
    decoded = CODEC.decode([Arrival(sealed(f"08 05 {HEAD} 02FB7F0102 041340E20100"), NOW_US)], {})
    assert decoded.readings["forward_m3"].to_list() == [123.456]


TOTAL = "041340E20100"
TAIL = "023B0F00 0C7856341200 046D0A0CCD13 0D7C084449202E747375630A454C4259432054534554 8401134C010000 C406F18D13FFFFFFFF"


@pytest.mark.parametrize("size", range(len(unhex(TAIL)) + 1))
def test_records_torn_anywhere_behind_a_sound_total_leave_the_total(size: int) -> None:
    decoded = CODEC.decode([Arrival(sealed(f"08 05 {HEAD} {TOTAL} {unhex(TAIL)[:size].hex()}"), NOW_US)], {})
    assert decoded.readings["forward_m3"].to_list() == [123.456]
    whole = {0, 4, 10, 16, 38, 45, 54}
    assert decoded.rejected.is_empty() == (size in whole)
    assert all("do not add up" in detail for detail in decoded.rejected["detail"])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("digit", "ABCDEF")
def test_a_digit_that_is_none_in_any_place_costs_the_total_and_nothing_else(size: int, digit: str) -> None:
    dif = {1: "09", 2: "0A", 3: "0B", 4: "0C", 6: "0E"}[size]
    for place in range(2 * size):
        digits = "1" * place + digit + "1" * (2 * size - 1 - place)
        frame = sealed(f"08 05 {HEAD} {dif}13 {unhex(digits)[::-1].hex()} 023B0F00")
        decoded = CODEC.decode([Arrival(frame, NOW_US)], {})
        is_sign = digit == "F" and place == 0
        assert decoded.readings["flow_m3h"].to_list() == [0.015]
        assert decoded.readings["forward_m3"].to_list() == [-int("1" * (2 * size - 1)) / 1000 if is_sign else None]
        assert decoded.rejected.height == (not is_sign)
        assert all(f"the digits {digits} are no BCD" in detail for detail in decoded.rejected["detail"])


@pytest.mark.parametrize("real", ["0000C07F", "0100807F", "0000C0FF", "0000807F", "000080FF"])
def test_a_real_number_that_is_none_costs_its_own_field_only(real: str) -> None:
    fields = {"13": "forward_m3", "933C": "reverse_m3", "3B": "flow_m3h", "6A": "pressure_mpa", "FD49": "battery_v"}
    for vif, field in fields.items():
        others = " ".join(f"05{other} 0000803F" for other in fields if other != vif)
        decoded = CODEC.decode([Arrival(sealed(f"08 05 {HEAD} {others} 05{vif} {real}"), NOW_US)], {})
        (reading,) = decoded.readings.iter_rows(named=True)
        assert {name for name in fields.values() if reading[name] is None} == {field}
        assert f"05 {unhex(vif).hex(' ').upper()} {real}" in decoded.rejected["detail"].item()


def test_records_that_a_reading_has_no_use_for_are_named_with_their_reason() -> None:
    frame = sealed(f"08 05 {HEAD} {TOTAL} 441300000000 84101340E20100 143B16080000 04933C10270000 0413FFFF0000")
    assert mbus.unused(Arrival(frame)) == [
        "volume record 44 13 00000000 at byte 25: not the present value: storage 1",
        "volume record 84 10 13 40E20100 at byte 31: not the present value: tariff 1",
        "flow record 14 3B 16080000 at byte 38: not the present value: a maximum",
    ]


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_records_under_a_good_checksum_are_read_or_refused_and_explained(records: bytes) -> None:
    frame = sealed(f"08 05 {HEAD}{records.hex()}")
    decoded = CODEC.decode([Arrival(frame, NOW_US)], {})
    assert decoded.readings.height + decoded.rejected.height >= 1
    assert decoded.readings.height <= 1 and decoded.rejected.height <= 1
    mbus.unused(Arrival(frame))
    CODEC.follow_up(ask("5")[1], frame)
    assert b"".join(part.raw for part in CODEC.explain(frame)) == frame

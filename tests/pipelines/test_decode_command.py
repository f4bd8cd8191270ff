"""`mainflow decode --readings`: what would be stored of bytes, as a person pastes them."""

import json
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastcrc import crc16

from pipelines.cli.decode import MOST_BYTES
from pipelines.cli.main import main
from tests.codecs.test_codecs import CASES, Case, moment

FIELDS = ["forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa", "battery_v", "signal", "status"]
SERIES = (
    "7E7E0100310100011234310033020007260701080012F1F1003101000149F0F02607010700"
    "0418000015FFA12B0012345678001234590300123461200012346377038102"
)
MBUS = "681B1B6808057278563412720501071000000004138E8A4000053B0000C07F1016"


ALONE = [
    case
    for case in CASES
    if case.said.get("readings") and not case.said.get("profile") and "asked" not in case.said and case.raw[0] != 0xE5
]
"""Vectors that need neither a profile nor requests; one that begins with E5 is a round of two frames here."""


def decoded(*arguments: str, code: int = 0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The readings that the command prints, and its last object."""
    result = CliRunner().invoke(main, ["decode", "--readings", *arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    *readings, last = map(json.loads, result.output.splitlines())
    return readings, last


def rtu(address: int, *registers: int) -> str:
    """An answer of Modbus RTU."""
    raw = bytes((address, 3, 2 * len(registers))) + struct.pack(f">{len(registers)}H", *registers)
    return (raw + crc16.modbus(raw).to_bytes(2, "little")).hex()


def tcp(transaction: int, *registers: int) -> str:
    """An answer of Modbus TCP of the unit 1."""
    pdu = bytes((1, 3, 2 * len(registers))) + struct.pack(f">{len(registers)}H", *registers)
    return (struct.pack(">HHH", transaction, 0, len(pdu)) + pdu).hex()


def test_a_reading_has_every_field_and_the_last_object_what_was_refused() -> None:
    (reading,), last = decoded("--protocol", "mbus", MBUS)
    assert list(reading) == ["terminal", "ts", *FIELDS, "alarms"]
    received = datetime.fromisoformat(reading.pop("ts"))
    assert timedelta(0) <= datetime.now(UTC) - received < timedelta(minutes=1)
    expected = {"forward_m3": 4229.774, "status": 0, "terminal": "5", "alarms": []}
    assert reading == dict.fromkeys(FIELDS) | expected
    assert last == {
        "refused": [
            {"reason": "BAD_BODY", "detail": "flow record 05 3B 0000C07F at byte 25: NaN, expected a number", "frame": MBUS}
        ],
        "unused": [],
    }


def test_numbers_are_printed_as_short_as_they_are() -> None:
    output = CliRunner().invoke(main, ["decode", "--readings", SERIES]).output
    assert [line.split(", ")[2] for line in output.splitlines()[:-1]] == [
        '"forward_m3": 12345.678',
        '"forward_m3": 12345.903',
        '"forward_m3": 12346.12',
        '"forward_m3": 12346.377',
    ]
    assert output.startswith('{"terminal": "0031010001", "ts": "2026-06-30T23:00:00+00:00", ')


def test_several_frames_and_noise_in_one_paste_are_parted() -> None:
    other = "681A1A68080672785634127205010710000000 0C13896729000B3B0200F0 93 16"
    readings, last = decoded("--protocol", "mbus", "FF 00", MBUS, "E5", other, MBUS[:30])
    assert [(reading["terminal"], reading["forward_m3"], reading["flow_m3h"]) for reading in readings] == [
        ("5", 4229.774, None),
        ("6", 296.789, -0.002),
    ]
    assert [refusal["reason"] for refusal in last["refused"]] == ["NOISE", "BAD_LENGTH", "BAD_BODY"]
    assert last["refused"][1]["frame"] == MBUS[:30]
    assert last["unused"] == ["a frame without a reading: E5"]


def test_answers_that_a_meter_announced_are_one_reading() -> None:
    head = "08 05 72 78563412 2440 01 07 55 00 0000"
    frames = [long_frame(f"{head} 041340E20100 1F"), long_frame(f"{head} 023B0F00")]
    readings, _ = decoded("--protocol", "mbus", *frames)
    assert [(reading["forward_m3"], reading["flow_m3h"]) for reading in readings] == [(123.456, 0.015)]


def long_frame(content: str) -> str:
    """A long frame of M-Bus around the bytes from C on."""
    raw = bytes.fromhex(content)
    return (bytes((0x68, len(raw), len(raw), 0x68)) + raw + bytes((sum(raw) & 0xFF, 0x16))).hex()


@pytest.mark.parametrize("profile", ["badger-m2000", "file"])
def test_registers_are_read_as_asked_in_the_order_of_the_profile(profile: str, tmp_path: Path) -> None:
    if profile == "file":
        shipped = Path(__file__).parents[2] / "ingest_daemon/terminals/profiles/badger-m2000.toml"
        profile = str(tmp_path / "own.toml")
        Path(profile).write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    rounds = [rtu(1, 0x4480, 0), rtu(1, 0x4500, 0), rtu(1, 0x3F00, 0), rtu(2, 0x3F80, 0), rtu(2, 0, 0), rtu(2, 0, 0)]
    readings, last = decoded("--protocol", "modbus_rtu", "--profile", profile, *rounds)
    assert [[reading[name] for name in ("terminal", *FIELDS[:3])] for reading in readings] == [
        ["1", 1024.0, 2048.0, 1800.0],
        ["2", 1.0, 0.0, 0.0],
    ]
    assert last == {"refused": [], "unused": []}


def test_two_rounds_of_one_meter_are_two_readings() -> None:
    answers = [rtu(1, 0x4480, 0), rtu(1, 0x4500, 0), rtu(1, 0x3F00, 0)]
    readings, _ = decoded("--protocol", "modbus_rtu", "--profile", "badger-m2000", *answers, *answers)
    assert [reading["forward_m3"] for reading in readings] == [1024.0, 1024.0]
    assert readings[0]["ts"] < readings[1]["ts"]


def test_answers_of_modbus_tcp_need_no_requests() -> None:
    answers = [tcp(7, 0x4480, 0), tcp(8, 0x4500, 0), tcp(9, 0x3F00, 0)]
    readings, _ = decoded("--protocol", "modbus_tcp", "--profile", "badger-m2000", *answers)
    assert [[reading[name] for name in FIELDS[:3]] for reading in readings] == [[1024.0, 2048.0, 1800.0]]


@pytest.mark.parametrize(("protocol", "make"), [("modbus_rtu", lambda n, *r: rtu(1, *r)), ("modbus_tcp", tcp)])
def test_which_of_equal_blocks_is_missing_is_not_guessed(protocol: str, make: Any) -> None:
    answers = [make(7, 0x4480, 0), make(8, 0x4500, 0)]
    readings, last = decoded("--protocol", protocol, "--profile", "badger-m2000", *answers, code=1)
    assert readings == []
    assert "2 answers to 3 requests, and which of them is missing cannot be told" in last["refused"][0]["detail"]


def test_registers_without_a_map_say_what_is_missing() -> None:
    _, last = decoded("--protocol", "modbus_rtu", rtu(1, 0x4480, 0), code=1)
    assert "has no register map" in last["refused"][0]["detail"]


@pytest.mark.parametrize("protocol", ["cjt188", "mbus", "sl651", "szy206"])
def test_the_protocol_is_found_where_none_is_given(protocol: str) -> None:
    for case in ALONE:
        if case.protocol == protocol:
            readings, _ = decoded(case.raw.hex())
            assert readings[0]["terminal"] == case.said["terminal"]


def test_bytes_without_a_frame_end_with_exit_code_1() -> None:
    readings, last = decoded("FFFF", code=1)
    assert readings == []
    assert [refusal["reason"] for refusal in last["refused"]] == ["NOISE"]


def test_sixteen_kilobytes_of_the_shortest_frames_take_seconds() -> None:
    began = time.process_time()
    _, last = decoded("--protocol", "mbus", "E5" * MOST_BYTES, code=1)
    assert len(last["unused"]) == MOST_BYTES
    assert time.process_time() - began < 30, "a frame at a time they took seven minutes"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--readings", "7E7X"], "hexadecimal"),
        (["--readings", "--protocol", "mbuss", "E5"], "protocol 'mbuss' is unknown; allowed: amr, cjt188, mbus"),
        (["--readings", "--protocol", "modbus_rtu", "--profile", "badger", "00"], "neither a file nor a shipped profile"),
        (["--readings", "--protocol", "mbus", "--profile", "badger-m2000", "00"], "speaks 'mbus'"),
        (["--profile", "badger-m2000", "00"], "--profile: only --readings takes one"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], says: str) -> None:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(main, ["decode", *arguments])
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("case", ALONE, ids=[f"{case.protocol}: {case.said['case']}" for case in ALONE])
def test_a_vector_gives_the_readings_and_alarms_that_are_stored_of_it(case: Case) -> None:
    readings, _ = decoded("--protocol", case.protocol, case.raw.hex())
    shown = [{name: value for name, value in reading.items() if value is not None and name != "alarms"} for reading in readings]
    wanted = [{"terminal": case.said["terminal"], **reading, "ts": moment(reading["ts"])} for reading in case.said["readings"]]
    for row in shown:
        row["ts"] = datetime.fromisoformat(row["ts"])
    if case.protocol != "sl651":  # the time is the one of receipt, or has no month
        for row in (*shown, *wanted):
            del row["ts"]
    assert shown == wanted
    for alarm in case.said.get("alarms", []):
        assert any(set(alarm["active"]) <= set(reading["alarms"]) for reading in readings)

"""Modbus: the shared real frames, register maps as data, and a server of another make read over real sockets."""

import asyncio
import socket
import struct
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus import FramerType
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, Decoded, Frame, Rejected, UnsupportedCommand
from ingest_daemon.codec_kit.modbus.register_map import FUNCTIONS, ORDERS, TYPES, RegisterMap, register_map
from ingest_daemon.codecs import modbus_rtu, modbus_tcp
from ingest_daemon.terminals.profiles import SHIPPED, read_profile
from tests.daemon_helpers import known_frames

NOW = datetime(2026, 7, 1, tzinfo=UTC)
MAPS = sorted(path.stem for path in SHIPPED.glob("*.toml") if "modbus_rtu" in path.read_text(encoding="utf-8"))
FRAMERS = {"modbus_tcp": FramerType.SOCKET, "modbus_rtu": FramerType.RTU}
every_framing = pytest.mark.parametrize("protocol", FRAMERS)


def ask(kind: CommandType = CommandType.NOW, address: str = "1") -> Command:
    return Command(kind, "T", address, NOW)


def known(*registers: Mapping[str, Any], **rest: Any) -> RegisterMap:
    return register_map({"registers": list(registers), **rest})


def answer(request: bytes, data: bytes) -> bytes:
    """An RTU answer with these register bytes."""
    body = request[:2] + bytes((len(data),)) + data
    return body + modbus_rtu._crc(body)


def one(decoded: Decoded) -> dict[str, Any]:
    """The fields that the one reading has."""
    assert len(decoded.readings) == 1
    row = decoded.readings.drop("frame", "terminal", "ts").row(0, named=True)
    return {name: value for name, value in row.items() if value is not None}


def fed(data: bytes) -> list[Frame | Rejected]:
    return modbus_rtu.decoder().feed(data)


# --- the shared frames ------------------------------------------------------------------------------------------------------


def frame_line_passes(line: dict[str, Any]) -> bool:
    expect, raw = line["expect"], bytes.fromhex(line["hex"])
    if "request" in expect:
        if "register" not in expect:  # a project's own use of function 03: no address and count
            return modbus_rtu._crc(raw[:-2]) == raw[-2:]
        function, address = int(raw[1]), int(expect["register"], 16)
        kind = {1: "u16", 2: "f32"}[expect["count"]]
        profile = known({"field": "flow_m3h", "address": address, "type": kind, "function": function})
        return modbus_rtu.requests(ask(), profile) == [raw]
    if not line["check"]["crc16_ok"]:
        items = modbus_rtu.decoder().feed(raw + b"\x00")
        return [item.reason for item in items if isinstance(item, Rejected)] == ["BAD_CRC", "NOISE"] and "5F22" in str(items)
    return fed(raw) == [Frame(raw)] and answer_line_passes(raw, expect)


def answer_line_passes(raw: bytes, expect: dict[str, Any]) -> bool:
    flow = {"field": "flow_m3h", "address": 0x1010, "type": "f32", "function": 4}
    total = [
        {"field": "forward_m3", "address": 0x1018, "type": "u32", "function": 4},
        {"field": "forward_m3", "address": 0x101A, "type": "f32", "function": 4},
    ]
    if "float_ABCD" in expect:
        return decoded_fields([flow], raw) == {"flow_m3h": expect["float_ABCD"]}
    if "total" in expect:
        return decoded_fields(total, raw) == {"forward_m3": expect["total"]}
    if "value" in expect:
        profile = register_map({"alarms": [{"address": 0x1024, "code": "EMPTY", "function": 4}]})
        requests = tuple(modbus_rtu.requests(ask(), profile))
        decoded = modbus_rtu.decode([Arrival(raw, 0, "T", requests)], {"T": profile})
        return decoded.alarms["active"].to_list() == [["EMPTY"]]
    assert "8 data bytes" in expect["response"]
    return raw[2] == 8


def decoded_fields(registers: list[dict[str, Any]], raw: bytes) -> dict[str, Any]:
    profile = known(*registers, gap=20)
    requests = tuple(modbus_rtu.requests(ask(), profile))
    return one(modbus_rtu.decode([Arrival(raw, 0, "T", requests)], {"T": profile}))


def dump_line_passes(line: dict[str, Any]) -> bool:
    """The ultrasonic meter's registers, read through the map that we ship: its unit register is not in the dump."""
    values = {int(number): value for number, value in line["registers_1_based"].items()} | {1438: 0}
    profile = read_profile(SHIPPED / "tuf-2000m.toml", "modbus_rtu")
    requests = modbus_rtu.requests(ask(), profile)
    raw = b"".join(
        answer(
            request,
            b"".join(values[number].to_bytes(2, "big") for number in range(block.start + 1, block.start + 1 + block.size)),
        )
        for request, block in zip(requests, profile.blocks, strict=True)
    )
    decoded = modbus_rtu.decode([Arrival(raw, 0, "T", tuple(requests))], {"T": profile})
    said, expect = one(decoded), line["expect"]["decoded"]
    return (
        said["flow_m3h"] == expect["reg1_2_flow_rate_m3h"]
        and said["forward_m3"] == expect["reg9_10_positive_accumulator"] + expect["reg11_12_positive_decimal"]
        and said["reverse_m3"] == 0
        and said["signal"] == expect["reg92_low_signal_quality"]
        and decoded.alarms["active"].to_list() == [[]]
    )


def bytes_line_passes(line: dict[str, Any]) -> bool:
    expect, raw = line["expect"], bytes.fromhex(line["hex"])
    if "float_CDAB" in expect:
        field = {"field": "flow_m3h", "address": 0, "type": "f32", "order": "CDAB"}
        return decoded_fields([field], answer(b"\x01\x03", raw)) == {"flow_m3h": expect["float_CDAB"]}
    fields = [
        {"field": "forward_m3", "address": 0, "type": "f32"},
        {"field": "reverse_m3", "address": 2, "type": "f32"},
        {"field": "flow_m3h", "address": 6, "type": "f32"},
        {"field": "pressure_mpa", "address": 18, "type": "f32", "unit": "kPa"},
    ]
    said = decoded_fields(fields, answer(b"\x01\x03", raw))
    return said == {
        "forward_m3": expect["float_ABCD_total"],
        "reverse_m3": expect["float_ABCD_std_total"],
        "flow_m3h": expect["float_ABCD_flow"],
        "pressure_mpa": pytest.approx(expect["float_pressure_kPa"] / 1000, rel=1e-12),
    }


def test_all_twenty_two_shared_lines_pass_as_their_sources_have_them() -> None:
    lines = known_frames("modbus")
    passes = {"rtu_frame": frame_line_passes, "register_dump": dump_line_passes, "register_bytes": bytes_line_passes}
    results = [passes[line["kind"]](line) for line in lines]
    assert [line.get("hex", line["kind"]) for line, good in zip(lines, results, strict=True) if not good] == []
    assert len(lines) == 22


# --- a server of another make ---------------------------------------------------------------------------------------------------


@contextmanager
def served(protocol: str, device: SimDevice) -> Iterator[int]:
    """A Modbus server of pymodbus with these registers; registers that it does not have it refuses."""
    started, port = threading.Event(), list[int]()

    async def run() -> None:
        server = ModbusTcpServer(device, framer=FRAMERS[protocol], address=("127.0.0.1", 0))
        task = asyncio.create_task(server.serve_forever())
        while not (server.transport and server.transport.sockets):
            await asyncio.sleep(0.01)
        port.append(server.transport.sockets[0].getsockname()[1])
        stop.append((asyncio.get_running_loop(), server))
        started.set()
        await task

    stop: list[tuple[asyncio.AbstractEventLoop, ModbusTcpServer]] = []
    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(10)
    yield port[0]
    loop, server = stop[0]
    asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
    thread.join(10)


def polled(protocol: str, port: int, requests: list[bytes]) -> bytes:
    """What a plain socket brings, one request after the other, cut by the codec's decoder."""
    codec, raw = codecs.load(protocol), b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        decoder = codec.decoder()
        for request in requests:
            link.sendall(request)
            frames: list[Frame | Rejected] = []
            while not frames:
                frames = decoder.feed(link.recv(4096))
            (frame,) = frames
            assert isinstance(frame, Frame)
            assert codec.answers(request, frame.raw)
            raw += frame.raw
    return raw


def simulated(values: Mapping[int, Mapping[int, list[int]]], device: int = 1) -> SimDevice:
    """A device: function → address → registers."""

    def block(function: int) -> list[SimData]:
        found = values.get(function, {})
        return [SimData(at, values=words, datatype=DataType.REGISTERS) for at, words in sorted(found.items())] or [SimData(0)]

    bits = [SimData(0, values=[False], datatype=DataType.BITS)]
    return SimDevice(device, simdata=(bits, bits, block(3), block(4)))


def words(value: float, kind: ModbusClientMixin.DATATYPE, word_order: Any = "big") -> list[int]:
    """The value as the other make writes it."""
    return ModbusClientMixin.convert_to_registers(value, kind, word_order=word_order)


DATATYPE = ModbusClientMixin.DATATYPE


@every_framing
def test_a_meter_served_by_another_make_is_read_through_its_shipped_map(protocol: str) -> None:
    profile = read_profile(SHIPPED / "fmc-200e.toml", protocol)
    total = (
        words(28785, DATATYPE.UINT32) + words(0.5, DATATYPE.FLOAT32) + words(7, DATATYPE.UINT32) + words(0.25, DATATYPE.FLOAT32)
    )
    meter = simulated({4: {0x1010: words(-625.5, DATATYPE.FLOAT32), 0x1018: [*total, 1, 1, 0, 0, 1, 0]}}, 17)
    requests = codecs.load(protocol).requests(ask(address="17"), profile)
    with served(protocol, meter) as port:
        raw = polled(protocol, port, requests)
    decoded = codecs.load(protocol).decode([Arrival(raw, 1_751_328_000_123_456, "T", tuple(requests))], {"T": profile})
    assert one(decoded) == {"forward_m3": 28785.5, "reverse_m3": 7.25, "flow_m3h": -37.53}
    assert decoded.readings["ts"].dt.epoch("us").to_list() == [1_751_328_000_123_000]
    assert decoded.alarms["active"].to_list() == [["EMPTY"]]
    assert len(decoded.rejected) == 0


@every_framing
def test_low_words_first_and_64_bits_are_read_as_another_make_writes_them(protocol: str) -> None:
    profile = read_profile(SHIPPED / "xylem-magflux.toml", protocol)
    meter = simulated(
        {
            3: {
                600: words(0.0125, DATATYPE.FLOAT32, "little"),
                604: words(1_234_567_890_123_456, DATATYPE.UINT64, "little"),
                610: words(5_000_000_000, DATATYPE.UINT64, "little"),
                1002: [0b100101],
                1004: [1],
            }
        }
    )
    requests = codecs.load(protocol).requests(ask(), profile)
    with served(protocol, meter) as port:
        raw = polled(protocol, port, requests)
    decoded = codecs.load(protocol).decode([Arrival(raw, 0, "T", tuple(requests))], {"T": profile})
    assert one(decoded) == {"forward_m3": 1234567.890123456, "reverse_m3": 5.0, "flow_m3h": pytest.approx(45.0, rel=1e-6)}
    assert set(decoded.alarms["active"][0]) == {"EMPTY", "Q_HI", "SENSOR", "Q_REV"}


@every_framing
def test_a_refused_register_is_told_and_the_others_are_stored(protocol: str) -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "s16"}, {"field": "forward_m3", "address": 50, "type": "u32"})
    requests = codecs.load(protocol).requests(ask(), profile)
    with served(protocol, simulated({3: {0: [0xFFFE]}})) as port:
        raw = polled(protocol, port, requests)
    decoded = codecs.load(protocol).decode([Arrival(raw, 0, "T", tuple(requests))], {"T": profile})
    assert one(decoded) == {"flow_m3h": -2.0}
    assert "registers 50 to 51 (function 03): exception 02, illegal data address" in decoded.rejected["detail"][0]


@pytest.mark.parametrize("name", MAPS)
def test_a_meter_that_has_only_the_registers_of_the_shipped_map_answers_every_request(name: str) -> None:
    profile = read_profile(SHIPPED / f"{name}.toml", "modbus_tcp")
    values: dict[int, dict[int, list[int]]] = {3: {}, 4: {}}
    for block in profile.blocks:
        values[block.function][block.start] = [0] * block.size
    for code in {code for part in profile.registers for code in part.codes}:
        base = next(at for at, held in values[code.spot.function].items() if at <= code.spot.address < at + len(held))
        values[code.spot.function][base][code.spot.address - base + code.spot.words - 1] = code.means[0][0]
    requests = modbus_tcp.requests(ask(), profile)
    with served("modbus_tcp", simulated(values)) as port:
        raw = polled("modbus_tcp", port, requests)
    decoded = modbus_tcp.decode([Arrival(raw, 0, "T", tuple(requests))], {"T": profile})
    assert decoded.rejected["detail"].to_list() == []
    assert set(one(decoded)) == {part.field for part in profile.registers}
    assert set(one(decoded).values()) == {0}


def test_the_shipped_maps_say_where_they_are_from() -> None:
    assert len(MAPS) >= 12
    for name in MAPS:
        table = tomllib.loads((SHIPPED / f"{name}.toml").read_text(encoding="utf-8"))
        assert table["title"]
        assert len(table["source"]) > 60


# --- what is asked ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in CommandType if kind is not CommandType.NOW])
@every_framing
def test_registers_are_only_asked_for_what_is_now(protocol: str, kind: CommandType) -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "f32"})
    with pytest.raises(UnsupportedCommand, match="allowed: now"):
        codecs.load(protocol).requests(ask(kind), profile)


@pytest.mark.parametrize(("protocol", "address"), [("modbus_rtu", text) for text in ("", "0", "248", "-1", "x", "²")])
def test_an_address_that_no_meter_on_a_line_can_have_is_refused(protocol: str, address: str) -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "f32"})
    with pytest.raises(UnsupportedCommand, match="expected an address of 1 to 247"):
        codecs.load(protocol).requests(ask(address=address), profile)


def test_a_device_that_is_dialled_needs_no_address() -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "f32"})
    (request,) = modbus_tcp.requests(ask(address=""), profile)
    assert request[6:] == bytes.fromhex("FF 03 0000 0002")


@every_framing
def test_a_terminal_without_a_map_cannot_be_asked(protocol: str) -> None:
    with pytest.raises(UnsupportedCommand, match="no register map"):
        codecs.load(protocol).requests(ask(), None)


@pytest.mark.parametrize(
    ("rest", "blocks"),
    [
        ({}, [(3, 10, 2), (3, 12, 4), (3, 20, 1)]),
        ({"gap": 4}, [(3, 10, 11)]),
        ({"gap": 4, "most": 6}, [(3, 10, 6), (3, 20, 1)]),
    ],
    ids=["no hole is read", "a small hole is read", "no more registers than the meter gives"],
)
def test_registers_are_grouped_into_as_few_requests_as_the_limits_allow(rest: dict[str, int], blocks: list[Any]) -> None:
    parts = (
        {"field": "flow_m3h", "address": 10, "type": "f32"},
        {"field": "forward_m3", "address": 12, "type": "u32"},
        {"field": "forward_m3", "address": 14, "type": "f32"},
        {"field": "signal", "address": 20, "type": "u16"},
    )
    found = known(*parts, **rest).blocks
    expected = blocks if rest else [(3, 10, 6), (3, 20, 1)]  # what lies side by side is one request
    assert [tuple(block) for block in found] == expected


spots = st.tuples(
    st.sampled_from(["forward_m3", "reverse_m3", "flow_m3h", "battery_v"]),
    st.integers(0, 400),
    st.sampled_from([kind for kind in TYPES if kind != "bits"]),
)


@given(
    parts=st.lists(spots, min_size=1, max_size=12),
    gap=st.integers(0, 30),
    most=st.integers(4, 125),
    function=st.sampled_from(FUNCTIONS),
)
@settings(max_examples=200, deadline=None)
def test_every_field_is_read_in_one_request_within_the_limits(parts: list[Any], gap: int, most: int, function: int) -> None:
    registers = [{"field": field, "address": at, "type": kind, "function": function} for field, at, kind in parts]
    ends = {(field, end) for field, at, kind in parts for end in (at, at + TYPES[kind][0])}
    fields = {field for field, _ in ends}
    if any(max(end for of, end in ends if of == field) - min(end for of, end in ends if of == field) > most for field in fields):
        with pytest.raises(ValueError, match=f"within {most} registers"):
            known(*registers, gap=gap, most=most)
        return
    profile = known(*registers, gap=gap, most=most)
    requests = modbus_rtu.requests(ask(), profile)
    assert {request[1] for request in requests} == {function}
    assert all(1 <= block.size <= most for block in profile.blocks)
    for field in {part.field for part in profile.registers}:
        mine = [part.spot for part in profile.registers if part.field == field]
        assert any(
            all(block.start <= spot.address and spot.address + spot.words <= block.start + block.size for spot in mine)
            for block in profile.blocks
        )


# --- numbers ------------------------------------------------------------------------------------------------------------------

PLAIN = {"u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "f32": "f", "f64": "d"}


NO_VALUE = {
    "u16": ["FFFF"],
    "s16": ["8000", "7FFF"],
    "u32": ["FFFFFFFF"],
    "s32": ["80000000", "7FFFFFFF"],
    "u64": ["FFFFFFFFFFFFFFFF"],
}


def in_order(raw: bytes, order: str) -> bytes:
    """The bytes of a number as a meter of that order sends them, written out by register."""
    registers = [raw[at : at + 2] for at in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        registers.reverse()
    return b"".join(register[::-1] if order in ("BADC", "DCBA") else register for register in registers)


@given(data=st.data(), kind=st.sampled_from(sorted(PLAIN)), order=st.sampled_from(ORDERS))
@settings(max_examples=200, deadline=None)
def test_a_number_of_every_type_and_order_comes_back(data: st.DataObject, kind: str, order: str) -> None:
    size = struct.calcsize(PLAIN[kind])
    raw = data.draw(st.binary(min_size=size, max_size=size))
    (value,) = struct.unpack(">" + PLAIN[kind], raw)
    profile = known({"field": "flow_m3h", "address": 7, "type": kind}, order=order)
    requests = tuple(modbus_rtu.requests(ask(), profile))
    decoded = modbus_rtu.decode([Arrival(answer(requests[0], in_order(raw, order)), 0, "T", requests)], {"T": profile})
    if value != value or abs(value) == float("inf"):
        assert len(decoded.readings) == 0
        assert "can be used" in decoded.rejected["detail"][0]
    elif raw.hex().upper() in NO_VALUE.get(kind, ()):
        assert len(decoded.readings) == 0
        assert "holds a code of no value" in decoded.rejected["detail"][0]
    else:
        assert one(decoded) == {"flow_m3h": float(value)}


@pytest.mark.parametrize(
    ("register", "data", "value"),
    [
        ({"field": "forward_m3", "type": "bcd32", "scale": 0.01}, "00123456", 1234.56),
        ({"field": "forward_m3", "type": "bcd64", "unit": "L"}, "0000001234567890", 1234567.89),
        ({"field": "forward_m3", "type": "u32", "unit": "L"}, "0012D687", 1234.567),
        ({"field": "forward_m3", "type": "u32", "unit": "ML"}, "00000002", 2000.0),
        ({"field": "flow_m3h", "type": "u16", "unit": "L/s"}, "000A", 36.0),
        ({"field": "flow_m3h", "type": "u16", "unit": "m3/d"}, "0018", 1.0),
        ({"field": "flow_m3h", "type": "u16", "unit": "gal/min"}, "0064", 22.712470704),
        ({"field": "pressure_mpa", "type": "u16", "unit": "kPa"}, "015E", 0.35),
        ({"field": "pressure_mpa", "type": "u16", "unit": "bar", "scale": 0.01}, "015E", 0.35),
        ({"field": "pressure_mpa", "type": "s16", "unit": "kPa", "offset": -101.3}, "015E", 0.2487),
        (
            {"field": "flow_m3h", "type": "f32", "order": "DCBA"},
            "1E850B3F",
            0.5449999570846558,
        ),  # as the Xintai meter sends 0.545
        ({"field": "battery_v", "type": "u16", "unit": "mV"}, "0E10", 3.6),
        ({"field": "signal", "type": "bits", "bits": [0, 7]}, "0326", 38),
        ({"field": "status", "type": "u16"}, "8001", 32769),
    ],
)
def test_a_number_is_given_in_the_units_of_the_schema(register: dict[str, Any], data: str, value: float) -> None:
    profile = known({"address": 0, **register})
    requests = tuple(modbus_rtu.requests(ask(), profile))
    decoded = modbus_rtu.decode([Arrival(answer(requests[0], bytes.fromhex(data)), 0, "T", requests)], {"T": profile})
    assert one(decoded) == {register["field"]: value if isinstance(value, int) else pytest.approx(value, rel=1e-15)}


def test_digits_that_are_none_are_kept_aside() -> None:
    profile = known({"field": "forward_m3", "address": 0, "type": "bcd32"})
    requests = tuple(modbus_rtu.requests(ask(), profile))
    decoded = modbus_rtu.decode([Arrival(answer(requests[0], bytes.fromhex("0012A456")), 0, "T", requests)], {"T": profile})
    assert len(decoded.readings) == 0
    assert "forward_m3: register 0 is no bcd32 that can be used: 0012A456" in decoded.rejected["detail"][0]


def read(data: str, *registers: dict[str, Any], **more: Any) -> tuple[dict[str, Any], str]:
    """The values of one answer whose registers from 0 on are `data`, and what was refused of it."""
    profile = known(*registers, **more)
    requests = tuple(modbus_rtu.requests(ask(), profile))
    assert len(requests) == 1
    decoded = modbus_rtu.decode([Arrival(answer(requests[0], bytes.fromhex(data)), 0, "T", requests)], {"T": profile})
    values = {name: value for name, value in row.items() if value is not None} if (row := first(decoded)) else {}
    return values, "; ".join(decoded.rejected["detail"])


def first(decoded: Decoded) -> dict[str, Any]:
    """The fields of the first reading; empty where there is none."""
    fields = decoded.readings.select(pl.exclude("frame", "terminal", "ts"))
    return fields.row(0, named=True) if len(fields) else {}


FORWARD_U32 = {"field": "forward_m3", "address": 0, "type": "u32"}
REVERSE_S32 = {"field": "reverse_m3", "address": 2, "type": "s32"}
FLOW_F32 = {"field": "flow_m3h", "address": 4, "type": "f32"}
PRESSURE_U16 = {"field": "pressure_mpa", "address": 6, "type": "u16", "scale": 0.001}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in NO_VALUE.items() for code in codes])
def test_the_usual_code_of_no_value_costs_its_field_and_is_told_with_what_to_do(kind: str, code: str) -> None:
    other = {"field": "flow_m3h", "address": len(code) // 4, "type": "u16"}
    values, refused = read(code + "0003", {"field": "forward_m3", "address": 0, "type": kind}, other)
    assert values == {"flow_m3h": 3.0}
    assert "forward_m3: register 0 holds a code of no value (the key missing in the map names it" in refused
    assert refused.endswith(code)


@pytest.mark.parametrize(
    ("register", "data"),
    [
        ({**FORWARD_U32, "missing": ["FFFFFFFF"]}, "FFFFFFFF"),
        ({**FORWARD_U32, "missing": ["80000000", "7fffffff"]}, "7FFFFFFF"),
        ({**FORWARD_U32, "missing": ["00000000"]}, "00000000"),
        ({**FORWARD_U32, "type": "f32", "missing": ["7F800000", "FFFFFFFF"]}, "FFFFFFFF"),
        ({**FORWARD_U32, "type": "bcd32", "missing": ["EEEEEEEE"]}, "EEEEEEEE"),
        ({**FORWARD_U32, "type": "s16", "missing": ["8000"]}, "80000001"),
        ({**FORWARD_U32, "order": "CDAB", "missing": ["80000000"]}, "00008000"),
        ({**FORWARD_U32, "order": "DCBA", "missing": ["80000000"]}, "00000080"),
    ],
)
def test_a_code_that_the_map_names_is_missing_without_a_complaint(register: dict[str, Any], data: str) -> None:
    assert read(data + "0003", register, {"field": "flow_m3h", "address": 2, "type": "u16"}, gap=1) == ({"flow_m3h": 3.0}, "")


@pytest.mark.parametrize(
    ("registers", "data", "value"),
    [
        ([{**FORWARD_U32, "missing": []}], "FFFFFFFF", 4294967295.0),
        ([{**FORWARD_U32, "missing": ["80000000"]}], "FFFFFFFF", 4294967295.0),
        ([{**FORWARD_U32, "type": "s32"}], "FFFFFFFF", -1.0),
        # The low word of a total that is added up of two registers may be FFFF.
        (
            [
                {"field": "forward_m3", "address": 0, "type": "u16", "scale": 65536},
                {"field": "forward_m3", "address": 1, "type": "u16"},
            ],
            "0001FFFF",
            131071.0,
        ),
    ],
)
def test_a_number_that_is_no_code_of_no_value_stays_one(registers: list[dict[str, Any]], data: str, value: float) -> None:
    assert read(data, *registers) == ({"forward_m3": value}, "")


def test_a_round_whose_numbers_are_all_missing_says_so() -> None:
    assert read("FFFFFFFF", {**FORWARD_U32, "missing": ["FFFFFFFF"]}) == (
        {},
        "none of the registers of its map has a value: each holds its code of no value",
    )


def test_an_answer_that_is_ff_throughout_gives_neither_numbers_nor_alarms() -> None:
    alarms = [{"address": 7, "bits": {"0": "EMPTY"}}]
    registers = (FORWARD_U32, REVERSE_S32, FLOW_F32, PRESSURE_U16)
    values, refused = read("FF" * 16, *registers, alarms=alarms)
    assert values == {}
    for field in ("forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa"):
        assert f"{field}: all registers of its answer are FFFF: the meter has no data there" in refused
    profile = known(*registers, alarms=alarms)
    requests = tuple(modbus_rtu.requests(ask(), profile))
    arrival = Arrival(answer(requests[0], b"\xff" * 16), 0, "T", requests)
    assert modbus_rtu.decode([arrival], {"T": profile}).alarms.is_empty()
    assert not modbus_rtu.is_alarm(arrival, profile)


def test_a_missing_number_costs_only_its_own_field_of_its_own_meter() -> None:
    profile = known(FORWARD_U32, FLOW_F32, gap=2)
    requests = tuple(modbus_rtu.requests(ask(), profile))
    rounds = [("00000007", "3F800000"), ("FFFFFFFF", "3F800000"), ("00000009", "7FC00000"), ("0000000B", "FF800000")]
    arrivals = [Arrival(answer(requests[0], bytes.fromhex(a + "00000000" + b)), 0, "T", requests) for a, b in rounds]
    decoded = modbus_rtu.decode(arrivals, {"T": profile})
    assert decoded.readings.select("forward_m3", "flow_m3h").rows() == [(7.0, 1.0), (None, 1.0), (9.0, None), (11.0, None)]
    assert decoded.rejected["frame"].to_list() == [1, 2, 3]


def test_a_number_too_large_for_its_unit_is_kept_aside() -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "f64", "unit": "m3/s"})
    requests = tuple(modbus_rtu.requests(ask(), profile))
    decoded = modbus_rtu.decode([Arrival(answer(requests[0], struct.pack(">d", 1e308)), 0, "T", requests)], {"T": profile})
    assert len(decoded.readings) == 0
    assert len(decoded.rejected) == 1


# --- rounds -------------------------------------------------------------------------------------------------------------------

ROUND = known(
    {"field": "forward_m3", "address": 0, "type": "u32"},
    {"field": "reverse_m3", "address": 10, "type": "u32"},
    {"field": "signal", "address": 20, "type": "u16"},
    alarms=[{"address": 30, "type": "u32", "bits": {"17": "BATT"}}],
)
ASKED = tuple(modbus_rtu.requests(ask(), ROUND))
DATA = ["00000007", "00000009", "0021", "00020000"]
ANSWERS = [answer(request, bytes.fromhex(data)) for request, data in zip(ASKED, DATA, strict=True)]


def rounded(places: list[int]) -> Decoded:
    return modbus_rtu.decode([Arrival(b"".join(ANSWERS[place] for place in places), 0, "T", ASKED)], {"T": ROUND})


def test_a_whole_round_is_one_reading() -> None:
    decoded = rounded([0, 1, 2, 3])
    assert one(decoded) == {"forward_m3": 7.0, "reverse_m3": 9.0, "signal": 33}
    assert decoded.alarms["active"].to_list() == [["BATT"]]
    assert len(decoded.rejected) == 0


def test_a_missing_answer_leaves_its_fields_missing_and_says_so() -> None:
    decoded = rounded([0, 1, 3])
    assert one(decoded) == {"forward_m3": 7.0, "reverse_m3": 9.0}
    assert decoded.rejected["detail"].to_list() == ["registers 20 to 20 (function 03): no answer"]


def test_of_two_equal_answers_it_is_not_guessed_which_one_is_missing() -> None:
    decoded = rounded([0, 2])
    assert len(decoded.readings) == len(decoded.alarms) == 0
    assert "which of them is missing cannot be told" in decoded.rejected["detail"][0]


def test_alarms_are_not_called_clear_while_their_register_was_not_read() -> None:
    assert len(rounded([0, 1, 2]).alarms) == 0


def test_answers_out_of_order_are_not_decoded() -> None:
    decoded = rounded([2, 0, 1, 3])
    assert len(decoded.readings) == 0
    assert "but not to the 4 requests" in decoded.rejected["detail"][0]


def test_a_register_that_was_not_asked_then_is_missing_after_the_map_was_changed() -> None:
    later = known({"field": "forward_m3", "address": 0, "type": "u32"}, {"field": "flow_m3h", "address": 100, "type": "f32"})
    decoded = modbus_rtu.decode([Arrival(b"".join(ANSWERS), 0, "T", ASKED)], {"T": later})
    assert one(decoded) == {"forward_m3": 7.0}
    nothing = known({"field": "flow_m3h", "address": 100, "type": "f32"})
    refused = modbus_rtu.decode([Arrival(b"".join(ANSWERS), 0, "T", ASKED)], {"T": nothing}).rejected
    assert "none of the registers of its map is among those that were asked" in refused["detail"][0]


def test_parts_of_a_total_from_two_answers_are_not_added_up() -> None:
    total = known({"field": "forward_m3", "address": 0, "type": "u32"}, {"field": "forward_m3", "address": 10, "type": "u32"})
    decoded = modbus_rtu.decode([Arrival(b"".join(ANSWERS), 0, "T", ASKED)], {"T": total})
    assert len(decoded.readings) == 0


def test_many_meters_of_one_map_decode_as_each_alone_whatever_their_addresses() -> None:
    terminals = [f"T{number}" for number in range(500)]
    rounds = []
    for number, terminal in enumerate(terminals):
        requests = tuple(modbus_rtu.requests(ask(address=str(number % 247 + 1)), ROUND))
        data = [number.to_bytes(4, "big"), bytes(4), b"\x00\x21", bytes(4)]
        raw = b"".join(answer(request, part) for request, part in zip(requests, data, strict=True))
        rounds.append(Arrival(raw, number * 1000, terminal, requests))
    decoded = modbus_rtu.decode(rounds, dict.fromkeys(terminals, ROUND))
    assert decoded.readings["terminal"].to_list() == terminals
    assert decoded.readings["forward_m3"].to_list() == [float(number) for number in range(500)]
    assert decoded.readings["frame"].to_list() == list(range(500))
    assert decoded.alarms["active"].to_list() == [[]] * 500


@given(raw=st.binary(max_size=60), requests=st.lists(st.one_of(st.binary(max_size=13), st.sampled_from(ASKED)), max_size=4))
@settings(max_examples=200, deadline=None)
def test_whatever_was_journaled_decoding_never_raises(raw: bytes, requests: list[bytes]) -> None:
    for codec in (modbus_rtu, modbus_tcp):
        for payload in (raw, ANSWERS[0] + raw, raw + ANSWERS[1]):
            decoded = codec.decode([Arrival(payload, 0, "T", tuple(requests))], {"T": ROUND})
            assert len(decoded.readings) + len(decoded.rejected) + len(decoded.alarms) > 0


def test_a_damaged_header_of_modbus_tcp_gives_no_answer_to_the_request() -> None:
    profile = known({"field": "flow_m3h", "address": 0, "type": "f32"})
    (request,) = modbus_tcp.requests(ask(), profile)
    good = request[:5] + bytes.fromhex("07 01 03 04 41200000")
    assert modbus_tcp.answers(request, good)
    for bit in range(8 * 9):  # the header; what comes behind it has no checksum
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        for item in modbus_tcp.decoder().feed(bytes(damaged)):
            assert not (isinstance(item, Frame) and modbus_tcp.answers(request, item.raw))


@pytest.mark.parametrize(
    "before", [ASKED[0], b"HB", b"\x00\xff", ASKED[0] * 3, ANSWERS[1][:-1]], ids=["echo", "beat", "noise", "echoes", "torn"]
)
def test_what_a_dtu_or_the_line_puts_before_an_answer_does_no_harm(before: bytes) -> None:
    items = fed(before + ANSWERS[0])
    assert [item.raw for item in items if isinstance(item, Frame)] == [ANSWERS[0]]
    assert b"".join(item.raw for item in items) == before + ANSWERS[0]


# --- maps that are wrong --------------------------------------------------------------------------------------------------------

FLOW = {"field": "flow_m3h", "address": 1, "type": "f32"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "expected at least one"),
        ({"registers": [FLOW], "speed": 1}, "the map: key 'speed' is unknown; allowed: base, function, order"),
        ({"registers": FLOW}, r"registers: expected \[\[registers\]\]"),
        ({"registers": [1]}, "registers 1: expected a table"),
        ({"registers": [FLOW], "codes": []}, r"codes: expected \[codes.<name>\]"),
        ({"registers": [FLOW], "order": "BACD"}, "order: expected one of ABCD, CDAB, BADC, DCBA; there is 'BACD'"),
        ({"registers": [FLOW], "function": 6}, "function: expected one of 3, 4; there is 6"),
        ({"registers": [FLOW], "most": 126}, "most: expected a whole number of 1 to 125; there is 126"),
        ({"registers": [{**FLOW, "field": "flow"}]}, "registers 1: field: expected one of forward_m3"),
        ({"registers": [{**FLOW, "type": "real"}]}, "registers 1: type: expected one of u16"),
        (
            {"registers": [{**FLOW, "field": "status"}]},
            "registers 1: type: expected one of u16, s16, u32, s32, bcd16, bcd32, bits",
        ),
        ({"registers": [{**FLOW, "address": 65535}]}, "registers 1: address: expected a whole number of 0 to 65534"),
        ({"registers": [{**FLOW, "address": 0}], "base": 1}, "registers 1: address: expected a whole number of 1 to 65535"),
        ({"registers": [{**FLOW, "address": "1"}]}, "registers 1: address: expected a whole number"),
        ({"registers": [{**FLOW, "write": True}]}, "registers 1: key 'write' is unknown"),
        ({"registers": [{**FLOW, "unit": "m3"}]}, "registers 1: unit: expected one of m3/s"),
        ({"registers": [{**FLOW, "scale": "x"}]}, "registers 1: scale: expected a number"),
        ({"registers": [{**FLOW, "scale": float("nan")}]}, "registers 1: scale: expected a number"),
        ({"registers": [{**FLOW, "scale": 0}]}, "registers 1: scale: expected a number other than 0"),
        ({"registers": [{**FLOW, "bits": [0, 7]}]}, "registers 1: bits: expected for the type bits"),
        ({"registers": [{**FLOW, "type": "bits", "bits": [7, 0]}]}, "registers 1: bits: expected the lowest"),
        ({"registers": [{**FLOW, "missing": "FFFFFFFF"}]}, "registers 1: missing: expected a list of 8 hex digits each"),
        ({"registers": [{**FLOW, "missing": ["FFFF"]}]}, "registers 1: missing: expected a list of 8 hex digits each"),
        ({"registers": [{**FLOW, "missing": [0]}]}, "registers 1: missing: expected a list of 8 hex digits each"),
        (
            {"registers": [{**FLOW, "field": "signal", "type": "bits", "bits": [0, 7], "missing": ["FFFF"]}]},
            "registers 1: missing: the type bits has no codes",
        ),
        ({"registers": [{**FLOW, "unit_code": "u"}]}, "registers 1: unit_code: expected one of none"),
        (
            {"registers": [{**FLOW, "unit_code": "u"}], "codes": {"u": {"address": 3, "means": {"0": "kg/h"}}}},
            "registers 1: codes.u: means 'kg/h'; allowed for flow_m3h: m3/s",
        ),
        ({"registers": [FLOW], "codes": {"u": {"address": 3, "means": {"a": "L"}}}}, "codes.u: 'a': expected a whole number"),
        ({"registers": [FLOW], "codes": {"u": {"address": 3}}}, "codes.u: means: expected a table"),
        ({"alarms": [{"address": 3}]}, "alarms 1: code, bits: expected one of them"),
        ({"alarms": [{"address": 3, "code": "FIRE"}]}, "alarms 1: code: expected one of BATT"),
        ({"alarms": [{"address": 3, "bits": {"16": "MAG"}}]}, "alarms 1: bits: 16 is none of a u16; allowed: 0 to 15"),
        ({"registers": [FLOW, {**FLOW, "address": 200}]}, "registers of flow_m3h: expected parts of one function within 125"),
        ({"registers": [FLOW, {**FLOW, "function": 4}]}, "registers of flow_m3h: expected parts of one function"),
    ],
)
def test_a_wrong_map_is_refused_with_its_key_and_what_is_allowed(table: dict[str, Any], says: str) -> None:
    for codec in (modbus_rtu, modbus_tcp):
        with pytest.raises(ValueError, match=says):
            codec.profile(table)


def test_an_explained_answer_tells_good_and_wrong_checksums_apart() -> None:
    good = modbus_rtu.explain(ANSWERS[0])
    assert [part.en for part in good] == [
        "address",
        "function",
        "byte count",
        *(f"register {n} of the answer" for n in (1, 2)),
        "CRC",
    ]
    assert "good" in good[-1].value
    assert "expected" in modbus_rtu.explain(ANSWERS[0][:-1] + b"\x00")[-1].value
    assert [part.en for part in modbus_rtu.explain(b"".join(ANSWERS))].count("CRC") == 4
    assert pl.Series([part.zh for part in good]).str.contains(r"\p{Han}|CRC").all()

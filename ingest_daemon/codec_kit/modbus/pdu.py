"""Modbus inside any framing: read requests, answers, exceptions, and rounds of answers → columns.

After the address (RTU) or the unit (TCP) a request is: function (03 or 04), first register 2, count 2; an answer: function, bytes
that follow, 2 a register; an exception: function + 80, one byte of the reason (MODBUS Application Protocol V1.1b3, 6.3, 6.4, 7).
There is no request that writes. Framing and checksums are in `codecs/modbus_rtu.py` and `codecs/modbus_tcp.py`.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.codec_kit.api import (
    NOTHING,
    Arrival,
    Command,
    CommandType,
    Decoded,
    ExplainedField,
    UnsupportedCommand,
    rejections,
    together,
)
from ingest_daemon.codec_kit.columns import timestamps
from ingest_daemon.codec_kit.modbus.register_map import Block, RegisterMap, Spot
from ingest_daemon.codec_kit.modbus.register_values import Bytes, Columns, FindNumbers, Mask, Numbers, columns, raised_alarms
from ingest_daemon.contract.schema import FIELDS, Reason

READS = (3, 4)
ERROR = 0x80
EXCEPTIONS: dict[int, tuple[str, str]] = {
    1: ("非法功能", "illegal function"),
    2: ("非法数据地址", "illegal data address"),
    3: ("非法数据值", "illegal data value"),
    4: ("从站设备故障", "server device failure"),
    5: ("已确认", "acknowledge"),
    6: ("从站设备忙", "server device busy"),
    7: ("否定确认", "negative acknowledge"),
    8: ("存储奇偶校验错", "memory parity error"),
    10: ("网关路径不可用", "gateway path unavailable"),
    11: ("网关目标设备无响应", "gateway target device failed to respond"),
}
_FIELDS = {field.name: field.dtype for field in FIELDS}
_UNKNOWN_EXCEPTION = ("未知异常", "unknown exception")


class Framing(NamedTuple):
    """The part of Modbus in which RTU and TCP differ.

    `before`: bytes before the function, the last of them the address; `after`: bytes after the data. `answers`: the codec's.
    `request_for`: makes the request that a frame answers, from the request's body (from its function on) and the frame.
    """

    before: int
    after: int
    answers: Callable[[bytes, bytes], bool]
    request_for: Callable[[bytes, bytes], bytes]


def size_of(body: bytes | bytearray) -> int | None:
    """Bytes of an answer from its function on, by its first two: 0 where they are no answer, None where more are needed."""
    if not body:
        return None
    if body[0] - ERROR in READS:
        return 0 if len(body) > 1 and body[1] not in EXCEPTIONS else 2 if len(body) > 1 else None
    if body[0] not in READS:
        return 0
    if len(body) == 1:
        return None
    return 2 + body[1] if body[1] % 2 == 0 and 2 <= body[1] <= 250 else 0


def requests(ask: Command, profile: RegisterMap | None) -> list[bytes]:
    """The requests of one round, each from its function on. Raises `UnsupportedCommand`: registers hold present values only."""
    if ask.kind is not CommandType.NOW:
        raise UnsupportedCommand(f"{ask.kind}: registers are only read as they are; allowed: {CommandType.NOW}")
    if profile is None:
        raise UnsupportedCommand(f"terminal {ask.terminal} has no register map; name one in the column profile of terminals.csv")
    return requests_of(profile)


def address_of(ask: Command, lowest: int, highest: int) -> int:
    """The address of the meter on its link. Raises `UnsupportedCommand`."""
    if not (ask.address.isascii() and ask.address.isdigit() and lowest <= int(ask.address) <= highest):
        raise UnsupportedCommand(
            f"terminal {ask.terminal}: expected an address of {lowest} to {highest}, there is {ask.address!r}"
        )
    return int(ask.address)


def answers(request: bytes, answer: bytes) -> bool:
    """Whether an answer, from its function on, is one to that request."""
    if answer[0] == request[0] | ERROR:
        return True
    return answer[0] == request[0] and answer[1] == 2 * int.from_bytes(request[3:5], "big")


def rounds(frames: Sequence[bytes], profile: RegisterMap | None, framing: Framing) -> list[Arrival]:
    """Answers without their requests, in rounds as if the blocks of the map had been asked in order."""
    asked = requests_of(profile) if profile else []
    done = list[Arrival]()
    answered: list[bytes | None] = []  # of the last round: the answer to each request so far
    for frame in frames:
        address, body = str(frame[framing.before - 1]), frame[framing.before : len(frame) - framing.after]
        is_same = bool(done) and done[-1].terminal == address
        index = next((number for number in range(len(answered), len(asked)) if is_same and answers(asked[number], body)), None)
        if index is None:
            done.append(Arrival(b"", terminal=address))
            index = next((number for number in range(len(asked)) if answers(asked[number], body)), 0)
            answered = []
        answered += [None] * (index - len(answered)) + [frame]
        # A request without an answer is given the last one's transaction, so that `decode` sees where two requests are alike.
        matching = [*answered, *[None] * (len(asked) - len(answered))]
        sent = tuple(framing.request_for(body, matching[number] or frame) for number, body in enumerate(asked))
        done[-1] = done[-1]._replace(raw=done[-1].raw + frame, requests=sent)
    return done


def requests_of(register_map: RegisterMap) -> list[bytes]:
    """The requests of one round, each from its function on."""
    return [struct.pack(">BHH", block.function, block.start, block.size) for block in register_map.blocks]


# --- rounds of answers to columns -------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """Common features of rounds that are decoded in one go.

    `data`: offset of the registers of each request in the bytes; minus the exception code; None where there is no answer.
    """

    of_map: int
    asked: tuple[bytes, ...]
    data: tuple[int | None, ...]
    size: int


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any], framing: Framing) -> Decoded:
    """Rounds of answers in columns, those of one shape in one go.

    A reading's time is its time of receipt in whole milliseconds: registers have no time of their own.
    """
    groups: dict[_Shape, list[int]] = {}
    refused: list[tuple[int, str]] = []
    for number, arrival in enumerate(arrivals):
        register_map = profiles.get(arrival.terminal)
        if register_map is None:
            reason = f"terminal {arrival.terminal!r} has no register map (a profile): without it registers have no meaning"
            refused.append((number, reason))
        elif isinstance(data := _data(arrival, framing), str):
            refused.append((number, data))
        else:
            shape = _Shape(id(register_map), _asked(arrival.requests, framing.before), data, len(arrival.raw))
            groups.setdefault(shape, []).append(number)
    parts = [_refused(refused)]
    for shape, numbers in groups.items():
        parts.append(_group(shape, numbers, [arrivals[number] for number in numbers], profiles))
    return together(parts)


def is_alarm(arrival: Arrival, register_map: RegisterMap | None, framing: Framing) -> bool:
    """Whether an alarm register of a round of answers is set. Never raises."""
    if register_map is None or not register_map.alarms or isinstance(data := _data(arrival, framing), str):
        return False
    matrix = np.frombuffer(arrival.raw, np.uint8).reshape(1, -1)
    find = _finder(matrix, _blocks(_asked(arrival.requests, framing.before)), data)
    raised, is_known = raised_alarms(register_map, find, 1)
    return raised is not None and bool(is_known[0]) and any(is_on[0] for is_on in raised.values())


@lru_cache(4096)
def _asked(requests: tuple[bytes, ...], before: int) -> tuple[bytes, ...]:
    """The requests from their functions on."""
    return tuple(request[before : before + 5] for request in requests)


def _split(raw: bytes, framing: Framing) -> Iterator[tuple[int, bytes]]:
    """The answers of a round with their offsets; ends where bytes are no answer."""
    start = 0
    while start < len(raw):
        size = size_of(raw[start + framing.before : start + framing.before + 2])
        end = start + framing.before + (size or 0) + framing.after
        if not size or end > len(raw):
            return
        yield start, raw[start:end]
        start = end


def _data(arrival: Arrival, framing: Framing) -> tuple[int | None, ...] | str:
    """The offsets of the registers of each request (see `_Shape.data`), or why they are not certain."""
    pieces = list(_split(arrival.raw, framing))
    if sum(len(answer) for _, answer in pieces) != len(arrival.raw) or not pieces:
        return "not a round of answers: expected whole answers to read requests"
    if any(len(request) != framing.before + 5 + framing.after for request in arrival.requests):
        return "the requests of this round are no read requests"
    first = _matched(arrival.requests, pieces, framing.answers)
    last = _matched(arrival.requests[::-1], pieces[::-1], framing.answers)
    if first is None or last is None:
        sizes = ", ".join(str(block.size) for block in _blocks(_asked(arrival.requests, framing.before)))
        wanted = f", which asked for {sizes} registers in this order" if sizes else ""
        return f"{len(pieces)} answers, but not to the {len(arrival.requests)} requests that were asked{wanted}"
    if first != last[::-1]:
        return f"{len(pieces)} answers to {len(arrival.requests)} requests, and which of them is missing cannot be told"
    return tuple(None if start is None else _data_offset(start, framing, arrival.raw) for start in first)


def _matched(
    asked: Sequence[bytes], pieces: Sequence[tuple[int, bytes]], fits: Callable[[bytes, bytes], bool]
) -> list[int | None] | None:
    """The offset of each request's answer, the earliest that fits; None where an answer is left over."""
    starts: list[int | None] = []
    used = 0
    for request in asked:
        is_match = used < len(pieces) and fits(request, pieces[used][1])
        starts.append(pieces[used][0] if is_match else None)
        used += is_match
    return starts if used == len(pieces) else None


def _data_offset(start: int, framing: Framing, raw: bytes) -> int:
    function = start + framing.before
    return -raw[function + 1] if raw[function] & ERROR else function + 2


def _group(shape: _Shape, numbers: Sequence[int], arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    register_map: RegisterMap = profiles[arrivals[0].terminal]
    matrix = np.frombuffer(b"".join(arrival.raw for arrival in arrivals), np.uint8).reshape(-1, shape.size)
    asked = _blocks(shape.asked)
    values = columns(register_map, _finder(matrix, asked, shape.data), len(arrivals))
    base = register_map.base
    common = [
        f"registers {block.start + base} to {block.start + block.size - 1 + base} (function {block.function:02}): "
        + ("no answer" if offset is None else f"exception {-offset:02}, {EXCEPTIONS[-offset][1]}")
        for block, offset in zip(asked, shape.data, strict=True)
        if offset is None or offset <= 0
    ]
    return _tables(numbers, arrivals, values, common)


def _blocks(asked: Sequence[bytes]) -> list[Block]:
    return [Block(*struct.unpack(">BHH", request)) for request in asked]


def _finder(matrix: Bytes, asked: Sequence[Block], data: Sequence[int | None]) -> FindNumbers:
    """Finds numbers in rounds of one shape, a round a row; `data`: of `_Shape`."""

    def find(spots: Sequence[Spot]) -> Numbers | None:
        for block, start in zip(asked, data, strict=True):
            offsets = [spot.address - block.start for spot in spots]
            ends = [offset + spot.words for offset, spot in zip(offsets, spots, strict=True)]
            is_here = all(spot.function == block.function for spot in spots) and min(offsets) >= 0 and max(ends) <= block.size
            if is_here and start is not None and start > 0:
                blocks = [matrix[:, start + 2 * offset : start + 2 * end] for offset, end in zip(offsets, ends, strict=True)]
                is_more = block.size > max(spot.words for spot in spots)
                blank = (matrix[:, start : start + 2 * block.size] == 0xFF).all(axis=1) & is_more
                return Numbers(blocks, blank)
        return None

    return find


def _tables(numbers: Sequence[int], arrivals: Sequence[Arrival], values: Columns, common: Sequence[str]) -> Decoded:
    received = pl.Series([arrival.received_us for arrival in arrivals], dtype=pl.Int64) // 1000 * 1000
    rows = pl.DataFrame(
        {
            "frame": pl.Series(numbers, dtype=pl.Int64),
            "terminal": pl.Series([arrival.terminal for arrival in arrivals], dtype=pl.String),
            "ts": timestamps(received),
        }
    ).with_columns(
        (
            pl.Series(name, values.fields[name]).fill_nan(None).cast(dtype, strict=False)
            if name in values.fields
            else pl.lit(None, dtype).alias(name)
        )
        for name, dtype in _FIELDS.items()
    )
    readings = rows.filter(pl.any_horizontal(pl.col(list(_FIELDS)).is_not_null()))
    alarms = NOTHING.alarms if values.raised is None else _alarms(rows, values.raised).filter(pl.Series(values.is_alarm_known))
    used = {*readings["frame"], *alarms["frame"]}
    refused = []
    for row, number in enumerate(numbers):
        if texts := [*common, *values.faults.get(row, [])]:
            refused.append((number, "; ".join(texts)))
        elif number not in used:
            reason = "has a value: each holds its code of no value" if values.is_read else "is among those that were asked"
            refused.append((number, f"none of the registers of its map {reason}"))
    return _refused(refused)._replace(readings=readings, alarms=alarms)


def _alarms(rows: pl.DataFrame, raised: Mapping[str, Mask]) -> pl.DataFrame:
    codes = [pl.when(pl.Series(is_on)).then(pl.lit(code)) for code, is_on in raised.items()]
    active = pl.concat_list(codes).list.drop_nulls().alias("active")
    return rows.select("frame", "terminal", pl.col("ts").alias("event_at"), active, *_FIELDS)


def _refused(rounds: Sequence[tuple[int, str]]) -> Decoded:
    """No readings, and these rounds with their faults."""
    return NOTHING._replace(rejected=rejections((number, Reason.BAD_BODY, text) for number, text in rounds))


# --- for people -------------------------------------------------------------------------------------------------------------


def explain(body: bytes, start: int) -> list[ExplainedField]:
    """An answer from its function on, or as much of it as there is; `start`: its offset in the frame."""
    if not body:
        return []
    is_error = body[0] & ERROR
    zh, en = ("功能码, 异常", "function, exception") if is_error else ("功能码", "function")
    fields = [ExplainedField(start, body[:1], zh, en, f"{body[0] & ~ERROR:02X}", "")]
    second = body[1:2]
    if second and is_error:
        zh, en = EXCEPTIONS.get(second[0], _UNKNOWN_EXCEPTION)
        fields.append(ExplainedField(start + 1, second, "异常码", "exception code", f"{second[0]:02} {zh} / {en}", ""))
    elif second:
        fields.append(ExplainedField(start + 1, second, "字节数", "byte count", str(second[0]), ""))
    for number, offset in enumerate(range(2, len(body), 2), 1):
        raw = body[offset : offset + 2]
        zh, en = f"第 {number} 个寄存器", f"register {number} of the answer"
        value = f"{raw.hex().upper()} = {int.from_bytes(raw, 'big')}"
        fields.append(ExplainedField(start + offset, raw, zh, en, value, ""))
    return fields

"""What Modbus says inside any framing: requests to read, answers, exceptions, and rounds of answers → columns.

After the address (RTU) or the unit (TCP) a request is: function (03 or 04), first register 2, count 2; an answer: function, bytes
that follow, 2 a register; an exception: function + 80, one byte why (MODBUS Application Protocol V1.1b3, 6.3, 6.4, 7). Nothing
that writes can be made here. Framing and checksums are in `codecs/modbus_rtu.py` and `codecs/modbus_tcp.py`.
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
from ingest_daemon.codec_kit.modbus.register_map import Block, RegisterMap, Spot
from ingest_daemon.codec_kit.modbus.register_values import Bytes, Columns, Find, Found, Mask, columns, raised_of
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
_STRANGE = ("未知异常", "unknown exception")


class Framing(NamedTuple):
    """Bytes before the function (the last of them is the address) and after the data."""

    before: int
    after: int


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
    """The requests of one round, each from its function on. Raises `UnsupportedCommand`: registers know nothing but now."""
    if ask.kind is not CommandType.NOW:
        raise UnsupportedCommand(f"{ask.kind}: registers are only read as they are; allowed: {CommandType.NOW}")
    if profile is None:
        raise UnsupportedCommand(f"terminal {ask.terminal} has no register map; name one in the column profile of terminals.csv")
    return [struct.pack(">BHH", block.function, block.start, block.size) for block in profile.blocks]


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


def rounds(
    frames: Sequence[bytes], profile: RegisterMap | None, framing: Framing, request: Callable[[bytes, bytes], bytes]
) -> list[Arrival]:
    """Answers without their requests, in rounds as if the blocks of the map had been asked in order.

    `request`: makes the request whose answer is a frame, of a request from its function on and the frame.
    """
    asked = [struct.pack(">BHH", block.function, block.start, block.size) for block in profile.blocks] if profile else []
    done = list[Arrival]()
    matched: list[bytes | None] = []
    for frame in frames:
        address, body = str(frame[framing.before - 1]), frame[framing.before : len(frame) - framing.after]
        is_same = bool(done) and done[-1].terminal == address
        free = next((place for place in range(len(matched), len(asked)) if is_same and answers(asked[place], body)), None)
        if free is None:
            done.append(Arrival(b"", terminal=address))
            free = next((place for place in range(len(asked)) if answers(asked[place], body)), 0)
            matched = []
        matched += [None] * (free - len(matched)) + [frame]
        neighbours = [*matched, *[None] * (len(asked) - len(matched))]
        sent = [request(body, neighbours[place] or frame) for place, body in enumerate(asked)]
        done[-1] = done[-1]._replace(raw=done[-1].raw + frame, requests=tuple(sent))
    return done


# --- rounds of answers to columns -------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """What rounds must have in common to be decoded in one go.

    `data`: where in the bytes the registers of a request begin; minus the exception; None where there is no answer.
    """

    of_map: int
    asked: tuple[bytes, ...]
    data: tuple[int | None, ...]
    size: int


def decode(
    arrivals: Sequence[Arrival], profiles: Mapping[str, Any], framing: Framing, fits: Callable[[bytes, bytes], bool]
) -> Decoded:
    """Rounds of answers in columns; what rounds of one shape have in common is worked out once. `fits`: the codec's `answers`.

    A reading's time is the one when its answers came, whole milliseconds: registers have no time of their own.
    """
    groups: dict[_Shape, list[int]] = {}
    refused: list[tuple[int, str]] = []
    for number, arrival in enumerate(arrivals):
        known = profiles.get(arrival.terminal)
        if known is None:
            refused.append((number, f"terminal {arrival.terminal!r} has no register map: without it registers say nothing"))
        elif isinstance(data := _data(arrival, framing, fits), str):
            refused.append((number, data))
        else:
            groups.setdefault(_Shape(id(known), _asked(arrival.requests, framing), data, len(arrival.raw)), []).append(number)
    parts = [_refused(refused)]
    for shape, numbers in groups.items():
        parts.append(_group(shape, numbers, [arrivals[number] for number in numbers], profiles))
    return together(parts)


def is_alarm(arrival: Arrival, known: RegisterMap | None, framing: Framing, fits: Callable[[bytes, bytes], bool]) -> bool:
    """Whether an alarm register of a round of answers is set. Never raises. `fits`: the codec's `answers`."""
    if known is None or not known.alarms or isinstance(data := _data(arrival, framing, fits), str):
        return False
    matrix = np.frombuffer(arrival.raw, np.uint8).reshape(1, -1)
    raised, is_known = raised_of(known, _finder(matrix, _blocks(_asked(arrival.requests, framing)), data), 1)
    return raised is not None and bool(is_known[0]) and any(on[0] for on in raised.values())


@lru_cache(4096)
def _asked(requests: tuple[bytes, ...], framing: Framing) -> tuple[bytes, ...]:
    return tuple(request[framing.before : framing.before + 5] for request in requests)


def _cut(raw: bytes, framing: Framing) -> Iterator[tuple[int, bytes]]:
    """The answers of a round and where they begin; ends where bytes are no answer."""
    at = 0
    while at < len(raw):
        size = size_of(raw[at + framing.before : at + framing.before + 2])
        end = at + framing.before + (size or 0) + framing.after
        if not size or end > len(raw):
            return
        yield at, raw[at:end]
        at = end


def _data(arrival: Arrival, framing: Framing, fits: Callable[[bytes, bytes], bool]) -> tuple[int | None, ...] | str:
    """Where the registers of each request lie (see `_Shape.data`), or why that cannot be told."""
    found = list(_cut(arrival.raw, framing))
    if sum(len(answer) for _, answer in found) != len(arrival.raw) or not found:
        return "not a round of answers: expected whole answers to read requests"
    if any(len(request) != framing.before + 5 + framing.after for request in arrival.requests):
        return "the requests of this round are no read requests"
    first = _matched(arrival.requests, found, fits)
    last = _matched(arrival.requests[::-1], found[::-1], fits)
    if first is None or last is None:
        return f"{len(found)} answers, but not to the {len(arrival.requests)} requests that were asked"
    if first != last[::-1]:
        return f"{len(found)} answers to {len(arrival.requests)} requests, and which of them is missing cannot be told"
    return tuple(None if place is None else _begin(place, framing, arrival.raw) for place in first)


def _matched(
    asked: Sequence[bytes], found: Sequence[tuple[int, bytes]], fits: Callable[[bytes, bytes], bool]
) -> list[int | None] | None:
    """For each request where its answer begins, the earliest that fits; None where an answer is left over."""
    places: list[int | None] = []
    for request in asked:
        matched = sum(place is not None for place in places)
        place = found[matched][0] if matched < len(found) and fits(request, found[matched][1]) else None
        places.append(place)
    return places if sum(place is not None for place in places) == len(found) else None


def _begin(place: int, framing: Framing, raw: bytes) -> int:
    at = place + framing.before
    return -raw[at + 1] if raw[at] & ERROR else at + 2


def _group(shape: _Shape, numbers: Sequence[int], arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    known: RegisterMap = profiles[arrivals[0].terminal]
    matrix = np.frombuffer(b"".join(arrival.raw for arrival in arrivals), np.uint8).reshape(-1, shape.size)
    asked = _blocks(shape.asked)
    found = columns(known, _finder(matrix, asked, shape.data), len(arrivals))
    common = [
        f"registers {block.start + known.base} to {block.start + block.size - 1 + known.base} (function {block.function:02}): "
        + ("no answer" if at is None else f"exception {-at:02}, {EXCEPTIONS[-at][1]}")
        for block, at in zip(asked, shape.data, strict=True)
        if at is None or at <= 0
    ]
    return _tables(numbers, arrivals, found, common)


def _blocks(asked: Sequence[bytes]) -> list[Block]:
    return [Block(*struct.unpack(">BHH", request)) for request in asked]


def _finder(matrix: Bytes, asked: Sequence[Block], data: Sequence[int | None]) -> Find:
    """Finds numbers in rounds of one shape, a round a row; `data`: of `_Shape`."""

    def find(spots: Sequence[Spot]) -> Found | None:
        for block, at in zip(asked, data, strict=True):
            offsets = [spot.address - block.start for spot in spots]
            ends = [offset + spot.words for offset, spot in zip(offsets, spots, strict=True)]
            here = all(spot.function == block.function for spot in spots) and min(offsets) >= 0 and max(ends) <= block.size
            if here and at is not None and at > 0:
                numbers = [matrix[:, at + 2 * offset : at + 2 * end] for offset, end in zip(offsets, ends, strict=True)]
                is_more = block.size > max(spot.words for spot in spots)
                blank = (matrix[:, at : at + 2 * block.size] == 0xFF).all(axis=1) & is_more
                return Found(numbers, blank)
        return None

    return find


def _tables(numbers: Sequence[int], arrivals: Sequence[Arrival], found: Columns, common: Sequence[str]) -> Decoded:
    came = pl.Series([arrival.received_us for arrival in arrivals], dtype=pl.Int64) // 1000 * 1000
    said = pl.DataFrame(
        {
            "frame": pl.Series(numbers, dtype=pl.Int64),
            "terminal": pl.Series([arrival.terminal for arrival in arrivals], dtype=pl.String),
            "ts": came.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    ).with_columns(
        (
            pl.Series(name, found.fields[name]).fill_nan(None).cast(dtype, strict=False)
            if name in found.fields
            else pl.lit(None, dtype).alias(name)
        )
        for name, dtype in _FIELDS.items()
    )
    readings = said.filter(pl.any_horizontal(pl.col(list(_FIELDS)).is_not_null()))
    alarms = NOTHING.alarms if found.raised is None else _alarms(said, found.raised).filter(pl.Series(found.is_alarm_known))
    heard = {*readings["frame"], *alarms["frame"]}
    refused = []
    for row, number in enumerate(numbers):
        if texts := [*common, *found.faults.get(row, [])]:
            refused.append((number, "; ".join(texts)))
        elif number not in heard:
            reason = "has a value: each holds its code of no value" if found.is_read else "is among those that were asked"
            refused.append((number, f"none of the registers of its map {reason}"))
    return _refused(refused)._replace(readings=readings, alarms=alarms)


def _alarms(said: pl.DataFrame, raised: Mapping[str, Mask]) -> pl.DataFrame:
    codes = [pl.when(pl.Series(on)).then(pl.lit(code)) for code, on in raised.items()]
    active = pl.concat_list(codes).list.drop_nulls().alias("active")
    return said.select("frame", "terminal", pl.col("ts").alias("event_at"), active, *_FIELDS)


def _refused(rounds: Sequence[tuple[int, str]]) -> Decoded:
    """No readings, and these rounds with what was wrong with them."""
    return NOTHING._replace(rejected=rejections((number, Reason.BAD_BODY, text) for number, text in rounds))


# --- for people -------------------------------------------------------------------------------------------------------------


def explain(body: bytes, at: int) -> list[ExplainedField]:
    """An answer from its function on, or as much of it as there is; `at`: where it begins in the frame."""
    parts = []
    function = body[:1]
    if function:
        wrong = function[0] & ERROR
        zh, en = ("功能码, 异常", "function, exception") if wrong else ("功能码", "function")
        parts.append(ExplainedField(at, function, zh, en, f"{function[0] & ~ERROR:02X}", ""))
        if wrong:
            if reason := body[1:2]:
                names = EXCEPTIONS.get(reason[0], _STRANGE)
                parts.append(
                    ExplainedField(at + 1, reason, "异常码", "exception code", f"{reason[0]:02} {names[0]} / {names[1]}", "")
                )
            offset = 2
        else:
            if count := body[1:2]:
                parts.append(ExplainedField(at + 1, count, "字节数", "byte count", str(count[0]), ""))
            offset = 2
        for number, place in enumerate(range(offset, len(body), 2), 1):
            raw = body[place : place + 2]
            zh, en = f"第 {number} 个寄存器", f"register {number} of the answer"
            parts.append(ExplainedField(at + place, raw, zh, en, f"{raw.hex().upper()} = {int.from_bytes(raw, 'big')}", ""))
    return parts

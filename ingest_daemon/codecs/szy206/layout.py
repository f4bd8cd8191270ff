"""The layout of a frame's data by function, type, length and profile, and the reading of its values. No times, no frames."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block, Mask
from ingest_daemon.codecs.szy206.header import ALARM, ALARM_STATE, FLOW, NOW, PRESSURE, REPORT, VOLTAGE
from ingest_daemon.codecs.szy206.profile import Station

WORD = 2
"""Bytes of the alarm word, and of the state word."""
SPAN = 9
"""Bytes before the values of a B1 answer: data code and channel, first hour, last hour."""
TOTAL_CODE, PRESSURE_CODE = 2, 11
"""Data codes of B1 that are read; the others are no values of a meter."""


class Value(NamedTuple):
    """A value: field of a reading it becomes, offset in the data, bytes, divisor, first number that is too large for the wire.

    `signed` is an instant flow.
    """

    field: str
    at: int
    size: int
    divisor: int
    limit: int
    signed: bool = False


class Layout(NamedTuple):
    """Offsets in the data. None: there is none. `fault`: why the values cannot be read."""

    values: tuple[Value, ...] = ()
    alarm_at: int | None = None
    state_at: int | None = None
    tag_at: int | None = None
    fault: str = ""


_FLOW = Value("flow_m3h", 0, 5, 1000, 10**9, signed=True)
_TOTAL = Value("forward_m3", 0, 5, 1, 8 * 10**9)
_PRESSURE = Value("pressure_mpa", 0, 4, 100_000, 10**8)
_VOLTAGE = Value("battery_v", 0, 2, 100, 10**4)
_METER = {"flow+total": (_FLOW, _TOTAL._replace(at=5)), "flow": (_FLOW,), "total": (_TOTAL,)}
_OTHERS = {1: 3, 2: 4, 4: 3, 5: 3, 6: 3, 9: 2, 12: 3}
"""Bytes of a value of types without a meter that are alike in all issues (rain, level, velocity, gate, power, water temperature,
evaporation); a wrong profile is noticed by them."""
RECORDS = {TOTAL_CODE: _TOTAL, PRESSURE_CODE: _PRESSURE}
"""The records of a B1 answer, by data code."""


def values_of(kind: int, station: Station) -> tuple[Value, ...]:
    """The values of one meter in a frame of this type; none where the type has no values of a meter."""
    return {FLOW: _METER[station.flow_values], PRESSURE: (_PRESSURE,), ALARM_STATE: (_VOLTAGE,)}.get(kind, ())


@lru_cache(1024)
def layout_of(station: Station, function: int, kind: int, size: int) -> Layout:
    """The layout of `size` bytes of data in a self-report (C0), an alarm (81), a voltage (84) or an answer (B0).

    SL/T 427-2021 7.5.2 and 7.3.14. The values of several meters are those of the first.
    """
    tag = 0 if function == NOW else station.time_tag
    end = size - tag
    words = 0 if function == VOLTAGE and end == _VOLTAGE.size else 2 * WORD
    first = function == ALARM and station.alarm_report == "word-first"
    if end < words:
        what = f"{size} bytes of data, expected at least {words + tag}: alarm word, state word"
        return Layout(alarm_at=0 if first and size >= WORD else None, fault=f"{what} and Tp of {tag} (profile: time_tag)")
    alarm_at, state_at = (0 if first else end - 2 * WORD, end - WORD) if words else (None, None)
    tag_at = end if tag else None
    room, at = end - words, WORD if first else 0
    meter = values_of(ALARM_STATE if function == VOLTAGE else kind, station)
    width = sum(value.size for value in meter) or _OTHERS.get(kind, 0)
    optional = function == ALARM or kind == ALARM_STATE
    if not width or (not room and optional):
        return Layout((), alarm_at, state_at, tag_at)
    if not room or room % width:
        has = f"{room} bytes of values in function {function:02X}H, type {kind:X}, expected a multiple of {width}"
        why = f"{has} between words of {words} and Tp of {tag} (profile: flow_values, time_tag, alarm_report)"
        alarm = function == ALARM
        return Layout((), alarm_at if alarm else None, state_at if alarm else None, tag_at, why)
    return Layout(tuple(value._replace(at=value.at + at) for value in meter), alarm_at, state_at, tag_at)


class Column(NamedTuple):
    """Values of a block, (rows,): NaN where missing or bad."""

    value: NDArray[np.float64]
    bad: Mask


def read(block: Block, value: Value, flow_unit: str) -> Column:
    """BCD values, low byte first, (rows, bytes): all AA (live) or all FF (stored) is no value.

    The last byte of an instant flow has its sign in bits 7-6 (00 +, 11 -), its unit in bits 5-4 (00 m³/s, 11 m³/h) and its top
    digit below; makers of SZY 206 write F for negative, which are the same bits.
    """
    missing: Mask = (block == 0xAA).all(axis=1) | (block == 0xFF).all(axis=1)
    digits, top = block[:, ::-1].copy(), block[:, -1]
    if value.signed:
        digits[:, 0] &= 0x0F
    pairs, bad = bcd.pairs(digits)
    number = pairs @ 100 ** np.arange(block.shape[1] - 1, -1, -1, dtype=np.int64)
    bad = bad | (number >= value.limit)
    if value.signed:
        sign, unit = top >> 6, top >> 4 & 3
        bad = bad | (sign % 3 != 0) | (unit % 3 != 0)
        number = np.where(sign == 3, -number, number)
        per_second = unit == 0 if flow_unit == "bits" else np.full(len(block), flow_unit == "m3/s")
        number = np.where(per_second, number * 3600, number)
    bad = bad & ~missing
    return Column(np.where(missing | bad, np.nan, number / value.divisor), bad)


def read_words(block: Block) -> NDArray[np.int64]:
    """Words of bits, low byte first, (rows,)."""
    return block[:, 0].astype(np.int64) | block[:, 1].astype(np.int64) << 8


LAID_OUT = frozenset((REPORT, ALARM, VOLTAGE, NOW))
"""Functions whose data `layout_of` lays out; B1 (`SPAN`, `RECORDS`) is the other that carries readings."""

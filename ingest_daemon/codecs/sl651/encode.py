"""The terminal's side: frames made of readings, for the simulator and the tests. The centre's side is in `acks` and `queries`."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block
from ingest_daemon.codecs.sl651.elements import (
    ALARM,
    ALARM_BITS,
    FLOW,
    FORWARD,
    PRESSURE,
    REVERSE,
    SECONDS,
    SIGNAL,
    STATUS,
    STEP,
    VOLTAGE,
    WORDS,
    head_of,
)
from ingest_daemon.codecs.sl651.header import (
    CHOSEN,
    CLOCK,
    ETB,
    ETX,
    EVENT,
    HISTORY,
    KEEP_ALIVE,
    LONGEST,
    NOW,
    SET_CLOCK,
    START,
    STX,
    SYN,
    TEST,
    TIMED,
    body_of,
    plain,
    sealed,
)
from ingest_daemon.codecs.sl651.header import terminal as station_of
from ingest_daemon.codecs.sl651.iter_elements import element_at
from ingest_daemon.codecs.sl651.timestamps import stamp, write_moments

_CENTRE, _PASSWORD, _INTAKE = b"\x01", b"\x00\x00", 0x49


class _Wire(NamedTuple):
    """A field's form on the wire: element, fewest bytes and decimals, and how many decimals more the field has."""

    field: str
    id: int
    size: int
    decimals: int
    shift: int = 0


_WIRES = (
    _Wire("forward_m3", FORWARD, 5, 3),
    _Wire("reverse_m3", REVERSE, 5, 3),
    _Wire("flow_m3h", FLOW, 4, 3),
    _Wire("pressure_mpa", PRESSURE, 3, 2, shift=3),
    _Wire("battery_v", VOLTAGE, 2, 2),
    _Wire("signal", SIGNAL, 1, 0),
    _Wire("status", STATUS, 4, 0),
)


def answer(request: bytes, readings: pl.DataFrame, *, sent_at: datetime, sequence: int = 1) -> bytes:
    """The terminal's answer to a request for present values (37H, 3AH), a history (38H) or its clock (51H, 4AH).

    `readings` as for `reports`: present values come from the last reading, a history from all, at the step of the request, null
    where one is missing; no readings give an answer without values. Raises `ValueError` as `reports` does and for other
    requests.
    """
    request = plain(request)
    station, function = station_of(request), request[10]
    head = _sequence(sequence) + stamp(sent_at) + b"\xf1\xf1" + _station(station)
    if function in (CLOCK, SET_CLOCK):
        return _up(station, function, head)
    if function in (NOW, CHOSEN):
        asked = _chosen(request) if function == CHOSEN else {wire.id for wire in _WIRES}
        fields = [wire.field for wire in _WIRES if wire.id in asked and wire.field in readings.columns]
        return _up(station, function, head + bytes((_INTAKE,)) + _groups(readings.select("ts", *fields).tail(1)).tobytes())
    if function != HISTORY:
        raise ValueError(f"function {function:02X}H has no answer made of readings, expected 37H, 38H, 3AH, 4AH or 51H")
    return _up(station, function, head + bytes((_INTAKE,)) + _series(request, readings))


def in_packets(frame: bytes, most: int) -> list[bytes]:
    """The frame's body sent as packets of a message (M3) of at most `most` bytes each, the last with the frame's end symbol.

    A body that fits makes one packet. Raises `ValueError` for more than 4095 packets.
    """
    start, end = body_of(frame)
    parts = [frame[offset : min(offset + most, end)] for offset in range(start, end, most)]
    if len(parts) > LONGEST:
        raise ValueError(f"{end - start} bytes in packets of {most} are {len(parts)}, expected at most {LONGEST}")
    found = []
    for number, part in enumerate(parts, 1):
        body = (len(parts) << 12 | number).to_bytes(3, "big") + part
        symbol = frame[-3:-2] if number == len(parts) else bytes((ETB,))
        found.append(sealed(frame[:11] + len(body).to_bytes(2, "big") + bytes((SYN,)) + body + symbol))
    return found


def keep_alive(terminal: str, sequence: int, sent_at: datetime) -> bytes:
    """The keep-alive frame (2FH); `sequence` is that of the last report. Raises `ValueError` as `reports` does."""
    return _up(terminal, KEEP_ALIVE, _sequence(sequence) + stamp(sent_at))


def reports(
    terminal: str,
    readings: pl.DataFrame,
    *,
    sent_at: datetime,
    sequence: int,
    function: int = TIMED,
    active: Sequence[str] | None = None,
    max_body: int = 3000,
) -> list[bytes]:
    """Frames of a terminal for its readings, in their order, numbered from `sequence` (after 65535 comes 1).

    `readings` has `ts` (UTC; whole hundredths of a second) and any columns of `schema.FIELDS`. One observation group a reading,
    the same elements in all: a null is sent as all FF, a column of nulls not at all, values exactly and with the fewest
    decimals, seconds (FFA6) where any reading has them. `function` is 30H, 32H or 33H; `active` (33H only) adds the alarm word to
    the last reading of every frame, an empty list means all clear. `max_body` bounds the declared length.

    Raises `ValueError` for a terminal that is not 10 hex digits, a value that needs more than 7 decimals or is not finite, a
    time outside 2000-01-02 to 2099, and a `max_body` that holds no reading or is over 4095.
    """
    if function not in (TEST, TIMED, EVENT):
        raise ValueError(f"function {function:02X}H is not made of observation groups, expected 30H, 32H or 33H")
    word = b"" if active is None else _alarm_word(active)
    if word and (function != EVENT or readings.is_empty()):
        raise ValueError(
            f"an alarm word needs function 33H and a reading with its time, got {function:02X}H and {readings.height}"
        )
    if readings.is_empty():
        return []
    rows = _groups(readings)
    before = 7 + (5 if rows[0, 7:10].tobytes() == head_of(SECONDS, 0x12) else 0)
    prefix = stamp(sent_at) + b"\xf1\xf1" + _station(terminal) + bytes((_INTAKE,))
    fit = (max_body - 2 - len(prefix) - len(word)) // rows.shape[1]
    if fit < 1 or max_body > LONGEST:
        least = 2 + len(prefix) + len(word) + rows.shape[1]
        raise ValueError(f"max_body is {max_body}, expected {least} (one reading) to {LONGEST}")
    frames = []
    for number, first in enumerate(range(0, len(rows), fit)):
        groups = rows[first : first + fit]
        last = groups[-1].tobytes()
        body = groups[:-1].tobytes() + last[:before] + word + last[before:]
        wrapped = (sequence - 1 + number) % 0xFFFF + 1 if number else sequence
        frames.append(_up(terminal, function, _sequence(wrapped) + prefix + body))
    return frames


def _groups(readings: pl.DataFrame) -> Block:
    """Observation groups, one a reading, all with the same elements."""
    times, seconds = write_moments(readings["ts"])
    pieces = [_constant(b"\xf0\xf0", len(times)), times]
    if seconds.any():
        pieces += [_constant(head_of(SECONDS, 0x12), len(times)), seconds]
    for wire in _WIRES:
        if wire.field in readings.columns and readings[wire.field].null_count() < readings.height:
            definition, block = _encoded(wire, readings[wire.field])
            pieces += [_constant(head_of(wire.id, definition), len(times)), block]
    return np.concatenate(pieces, axis=1)


def _series(request: bytes, readings: pl.DataFrame) -> bytes:
    """Observation time, step, element and its values for a history request (start 4, end 4, 0418 3, element)."""
    step, element = request[30:35], element_at(request, 35, len(request) - 3).id
    wire = next((wire for wire in _WIRES if wire.id == element), None)
    if wire is None or step[:2] != head_of(STEP, 0x18):
        raise ValueError(f"history of element {element:02X} is asked for, expected one of a reading after 0418 and a step")
    times, _ = write_moments(readings["ts"])
    definition, block = _encoded(wire, readings[wire.field])
    return (
        b"\xf0\xf0"
        + (times[0].tobytes() if len(times) else request[22:26] + b"\0")
        + step
        + head_of(element, definition)
        + block.tobytes()
    )


def _chosen(request: bytes) -> set[int]:
    """Elements in a request of chosen ones (3AH): id and definition byte each, no values."""
    start, end, found = body_of(request)[0] + 8, len(request) - 3, set()
    while start < end:
        element = element_at(request, start, end)
        found.add(element.id)
        start = element.value
    return found


def _up(terminal: str, function: int, body: bytes) -> bytes:
    head = START + _CENTRE + _station(terminal) + _PASSWORD + bytes((function,))
    return sealed(head + len(body).to_bytes(2, "big") + bytes((STX,)) + body + bytes((ETX,)))


def _station(terminal: str) -> bytes:
    if len(terminal) != 10 or not set(terminal) <= set("0123456789ABCDEF"):
        raise ValueError(f"terminal {terminal!r}: expected 10 digits (0-9, A-F), the station address of SL 651")
    return bytes.fromhex(terminal)


def _sequence(number: int) -> bytes:
    if not 1 <= number <= 0xFFFF:
        raise ValueError(f"sequence {number}: expected 1 to 65535")
    return number.to_bytes(2, "big")


def _alarm_word(active: Sequence[str]) -> bytes:
    for code in active:
        if code not in ALARM_BITS:
            raise ValueError(f"alarm {code!r} has no bit in the alarm word; allowed: {', '.join(dict.fromkeys(ALARM_BITS))}")
    return head_of(ALARM, 0x20) + sum(1 << ALARM_BITS.index(code) for code in set(active)).to_bytes(4, "big")


def _constant(raw: bytes, count: int) -> Block:
    return np.broadcast_to(np.frombuffer(raw, np.uint8), (count, len(raw)))


def _encoded(wire: _Wire, column: pl.Series) -> tuple[int, Block]:
    """Definition byte and values of a column, with the fewest decimals that carry every value exactly."""
    if column.null_count():
        missing, column = column.is_null().to_numpy(), column.fill_null(0)
    else:
        missing = np.zeros(len(column), bool)
    if wire.id in WORDS:
        words = column.to_numpy().astype(np.int64)
        if (words < 0).any() or (words >= 0xFFFF_FFFF).any():
            raise ValueError(f"{wire.field}: a word of bits is 0 to FFFFFFFE, got {words.min()} to {words.max()}")
        block = words.astype(">u4").view(np.uint8).reshape(-1, 4).copy()
        block[missing] = 0xFF
        return wire.size << 3, block
    values = column.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{wire.field} holds a value that is not finite; what was not measured is null")
    for decimals in range(wire.decimals, 8):
        scale = 10.0 ** (decimals + wire.shift)
        scaled = np.rint(values * scale)
        inexact = scaled / scale != values
        if not inexact.any() and (np.abs(scaled) < bcd.LIMIT).all():
            whole = scaled.astype(np.int64)
            size = max(wire.size, bcd.width(whole))
            return size << 3 | decimals, bcd.write(whole, missing, size)
    worst = values[inexact | (np.abs(scaled) >= bcd.LIMIT)][0]
    raise ValueError(
        f"{wire.field} {worst!r} is not carried exactly by {7 + wire.shift} decimals: round it to the meter's resolution"
    )

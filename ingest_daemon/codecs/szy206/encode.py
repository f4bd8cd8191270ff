"""The terminal's side: frames made of readings, for the simulator and the tests. The centre's frames are in `queries`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block
from ingest_daemon.codecs.szy206.header import ALARM, ALARM_STATE, FLOW, LINK, NEW, PRESSURE, REPORT, UP, sealed
from ingest_daemon.codecs.szy206.layout import Value, values_of
from ingest_daemon.codecs.szy206.profile import DEFAULT, Station
from ingest_daemon.codecs.szy206.timestamps import tag

LOGIN, LOGOUT, KEEP_ALIVE = 0xF0, 0xF1, 0xF2
_DOOR_CLOSED = (0x20).to_bytes(2, "little")
_KINDS = (FLOW, PRESSURE, ALARM_STATE)


def link_test(terminal: str, what: int) -> bytes:
    """The link test (02H): `LOGIN`, `LOGOUT` or `KEEP_ALIVE`. Raises `ValueError` for a terminal that is no address."""
    return sealed(bytes((UP | NEW,)) + _address(terminal) + bytes((LINK, what)))


def reports(
    terminal: str,
    readings: pl.DataFrame,
    station: Station = DEFAULT,
    *,
    active: Sequence[str] = (),
    alarm: bool = False,
    fcb: int = 3,
) -> list[bytes]:
    """Frames of a station with that profile for its readings, in their order: one for each reading and type of it.

    `readings` has `ts` (UTC, whole seconds) and any of `flow_m3h`, `forward_m3`, `pressure_mpa`, `battery_v`: flow and volume
    go in one frame, pressure and voltage in one each, a null as all AA; where all values of a type are null there is no frame.
    `active`: codes set in the alarm word. `alarm`: as alarm report (81H) instead of self-report (C0). `fcb`: one less in every
    repetition.

    Raises `ValueError` for a terminal that is not 10 hex digits, an alarm without a bit, and a value that the wire does not carry
    exactly: whole m³, 0.001 m³/h (or m³/s), 0.01 kPa, 0.01 V.
    """
    word = _alarm_word(active, station)
    head = _address(terminal) + bytes((ALARM if alarm else REPORT,))
    tags = [tag(moment, station.time_tag) for moment in _moments(readings)]
    first = alarm and station.alarm_report == "word-first"
    frames: list[list[bytes]] = [[] for _ in tags]
    for kind in _KINDS:
        values = values_of(kind, station)
        if not any(value.field in readings.columns for value in values):
            continue
        blocks = [_encoded(value, _column(readings, value.field), station) for value in values]
        control = bytes((UP | fcb << 4 | kind,))
        for row, data in enumerate(np.concatenate(blocks, axis=1)):
            raw = data.tobytes()
            if raw.strip(b"\xaa"):
                body = word + raw if first else raw + word
                frames[row].append(sealed(control + head + body + _DOOR_CLOSED + tags[row]))
    return [frame for row in frames for frame in row]


def _address(terminal: str) -> bytes:
    if len(terminal) != 10 or not set(terminal) <= set("0123456789ABCDEF"):
        raise ValueError(f"terminal {terminal!r}: expected 10 digits (0-9, A-F), the address A")
    return bytes.fromhex(terminal)


def _alarm_word(active: Sequence[str], station: Station) -> bytes:
    for code in active:
        if code not in station.alarms:
            allowed = ", ".join(dict.fromkeys(filter(None, station.alarms)))
            raise ValueError(f"alarm {code!r} has no bit in the alarm word of this profile; allowed: {allowed}")
    return sum(1 << station.alarms.index(code) for code in set(active)).to_bytes(2, "little")


def _moments(readings: pl.DataFrame) -> list[datetime]:
    moments: list[datetime] = readings["ts"].dt.replace_time_zone(None).dt.replace_time_zone("UTC").to_list()
    if any(moment is None or moment.microsecond for moment in moments):
        raise ValueError("a ts is null or finer than a second, which is the finest that Tp carries: round it first")
    return [moment.astimezone(UTC) for moment in moments]


def _column(readings: pl.DataFrame, field: str) -> pl.Series:
    if field not in readings.columns:
        return pl.Series(field, [None] * readings.height, pl.Float64)
    return readings[field].cast(pl.Float64)


def _encoded(value: Value, column: pl.Series, station: Station) -> Block:
    """BCD, low byte first, (rows, bytes)."""
    missing, amount = column.is_null().to_numpy(), column.fill_null(0).to_numpy()
    per_second = value.signed and station.flow_unit == "m3/s"
    seconds = 3600 if per_second else 1
    whole = np.rint(amount * value.divisor / seconds).astype(np.int64)
    inexact = np.flatnonzero(whole * seconds / value.divisor != amount)
    if len(inexact):
        raise ValueError(
            f"{value.field} {amount[inexact[0]]!r} is not carried exactly in steps of {seconds / value.divisor:g}: round it first"
        )
    if (np.abs(whole) >= value.limit).any() or (not value.signed and (whole < 0).any()):
        least = f"-{value.limit - 1}" if value.signed else "0"
        raise ValueError(
            f"{value.field} is out of the range of the wire: {least} to {value.limit - 1}, divided by {value.divisor}"
        )
    block = bcd.write(np.abs(whole), np.zeros(len(whole), bool), value.size)[:, ::-1].copy()
    if value.signed:
        block[:, -1] |= np.where(whole < 0, 0xC0, 0).astype(np.uint8)
        block[:, -1] |= np.uint8(0 if per_second else 0x30) if station.flow_unit == "bits" else np.uint8(0)
    block[missing] = 0xAA
    return block

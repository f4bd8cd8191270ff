"""AMR, the pseudo-protocol of what is imported from another system's tables. The importer on this machine alone speaks it.

    offset  bytes  what
    0       4      start: A3 41 4D 52
    4       2      bytes of the whole frame
    6       1      kind: 01 readings, 02 alarms, 06 acknowledgement
    7       4      sequence, which the acknowledgement repeats
    11      1      n, bytes of the terminal's number (of an acknowledgement neither this nor what follows, but the CRC)
    12      n      terminal, UTF-8
    …              readings: 64 bytes each, the time (µs since 1970 UTC, i64), then the fields of a reading (f64, NaN: missing)
                   alarms: the time (i64), their number (u8), and of each: code, value (f64), field of the value (u8, FF: none),
                   limit (f64), the other system's code and text; a text is its length (u8) and UTF-8
    -2      2      CRC-16 of Modbus, high byte first

Numbers are low byte first. A frame of alarms has all that are set at its time; none: all clear.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.codec_kit.api import NOTHING, Arrival, Decoded, Decoder, ExplainedField, NumberShape, rejections
from ingest_daemon.codec_kit.checksums import crc16_high_first
from ingest_daemon.codec_kit.explained import Explainer, checksum_text
from ingest_daemon.codec_kit.framer import Fault, FrameFormat, Framer
from ingest_daemon.contract.schema import FIELDS, TIMESTAMP, Reason

START = b"\xa3AMR"
READINGS, ALARMS, ACKNOWLEDGEMENT = 1, 2, 6
KINDS = {READINGS: "读数 / readings", ALARMS: "报警 / alarms", ACKNOWLEDGEMENT: "确认 / acknowledgement"}

ROWS = 100
"""Most readings of a frame."""
MAX_FRAME = 8192

LINK_ADDRESS = NumberShape(r"(?!)", "no link: what is imported comes from this machine only", "不填链路：导入数据只来自本机")

_HEAD = struct.Struct("<4sHBI")
_SHORTEST = _HEAD.size + 2
_ROW = np.dtype([("ts", "<i8"), *((field.name, "<f8") for field in FIELDS)])
_ALARM = struct.Struct("<dBd")
_NO_FIELD = 0xFF
_TEXT_BYTES = 120
_FIRST_US, _END_US = (
    int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1970, 2200)
)  # beyond these no time of a reading can be meant


class Alarm(NamedTuple):
    """An alarm that is set: our code, its value (in the unit of `field` of `schema.FIELDS`, "" for none) and limit, and how the
    other system names it."""

    code: str
    value: float | None = None
    field: str = ""
    limit: float | None = None
    source_code: str = ""
    text: str = ""


def readings_frames(terminal: str, readings: pl.DataFrame, sequence: int) -> list[bytes]:
    """Readings (`ts`, fields of `schema.FIELDS`) of a terminal in their order; frames are numbered from `sequence` on."""
    rows = np.empty(readings.height, _ROW)
    rows["ts"] = readings["ts"].dt.epoch("us").to_numpy()
    for field in FIELDS:
        rows[field.name] = readings[field.name].cast(pl.Float64).fill_null(nan).to_numpy() if field.name in readings else nan
    starts = range(0, len(rows), ROWS)
    return [
        _framed(READINGS, sequence + number, terminal, rows[start : start + ROWS].tobytes())
        for number, start in enumerate(starts)
    ]


def alarms_frame(terminal: str, event_at: datetime, active: Sequence[Alarm], sequence: int) -> bytes:
    """All alarms of a terminal that are set at a time."""
    event_us = (event_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return _framed(ALARMS, sequence, terminal, struct.pack("<qB", event_us, len(active)) + b"".join(map(_alarm_bytes, active)))


def acknowledged_sequence(frame: bytes) -> int | None:
    """The sequence that a frame acknowledges; None where it is no acknowledgement."""
    _, _, kind, sequence = _HEAD.unpack_from(frame)
    return sequence if kind == ACKNOWLEDGEMENT else None


def _alarm_bytes(alarm: Alarm) -> bytes:
    names = [field.name for field in FIELDS]
    numbers = _ALARM.pack(
        nan if alarm.value is None else alarm.value,
        names.index(alarm.field) if alarm.field else _NO_FIELD,
        nan if alarm.limit is None else alarm.limit,
    )
    return _text(alarm.code) + numbers + _text(alarm.source_code) + _text(alarm.text)


def _text(text: str) -> bytes:
    raw = text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode()  # cut between two characters
    return bytes((len(raw),)) + raw


def _framed(kind: int, sequence: int, terminal: str, body: bytes) -> bytes:
    number = terminal.encode()
    return _sealed(kind, sequence, bytes((len(number),)) + number + body)


def _sealed(kind: int, sequence: int, rest: bytes) -> bytes:
    frame = _HEAD.pack(START, _SHORTEST + len(rest), kind, sequence & 0xFFFFFFFF) + rest
    if len(frame) + 2 > MAX_FRAME:
        raise ValueError(f"a frame of {len(frame) + 2} bytes, expected at most {MAX_FRAME}")
    return frame + crc16_high_first(frame)


# --- framing ------------------------------------------------------------------------------------------------------------------


def _size(head: bytes | bytearray) -> int | None:
    if len(head) < len(START) + 2:
        return None
    size = int.from_bytes(head[4:6], "little")
    return size if _SHORTEST <= size <= MAX_FRAME else 0


def _is_good(frame: bytes | bytearray) -> bool:
    return crc16_high_first(bytes(frame[:-2])) == frame[-2:]


def _fault(frame: bytes) -> Fault:
    expected = crc16_high_first(frame[:-2]).hex().upper()
    return Reason.BAD_CRC, f"CRC is {frame[-2:].hex().upper()}, expected {expected}"


FRAME_FORMAT = FrameFormat(
    begins=re.compile(rb"(?=\xa3(?:AMR|AM\Z|A\Z|\Z))", re.DOTALL),
    header=len(START) + 2,
    shortest=_SHORTEST,
    size=_size,
    good=_is_good,
    fault=_fault,
    expected="the start A3 41 4D 52",
)


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(FRAME_FORMAT)


def terminal(frame: bytes) -> str:
    """The terminal's number; "" for a frame without one."""
    return _number(frame)[0]


def _number(frame: bytes) -> tuple[str, bytes]:
    """The terminal's number, and the bytes between it and the CRC."""
    size = frame[_HEAD.size] if len(frame) > _SHORTEST else 0
    begin = _HEAD.size + 1
    return frame[begin : begin + size].decode(errors="replace"), frame[begin + size : -2]


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether it has alarms: also that all are clear must overtake the backlog, or it would come before them."""
    return arrival.raw[6] == ALARMS


def reply(frame: bytes, now: datetime, profile: Any) -> bytes | None:
    """The acknowledgement; none of one."""
    _, _, kind, sequence = _HEAD.unpack_from(frame)
    return None if kind == ACKNOWLEDGEMENT else _sealed(ACKNOWLEDGEMENT, sequence, b"")


# --- content ------------------------------------------------------------------------------------------------------------------


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """A group of frames in columns; a frame of which anything cannot be used is `rejected` as a whole."""
    bodies: list[bytes] = []
    places: list[int] = []
    terminals: list[str] = []
    words: list[tuple[Any, ...]] = []
    refused: list[tuple[int, str, str]] = []
    for place, arrival in enumerate(arrivals):
        kind, (number, body) = arrival.raw[6], _number(arrival.raw)
        if kind == READINGS and not len(body) % _ROW.itemsize:
            ts = np.frombuffer(body, _ROW)["ts"]
            if ((ts < _FIRST_US) | (ts >= _END_US)).any():
                refused.append((place, Reason.BAD_TIME, "the time of a reading is outside of the years 1970 to 2199"))
                continue
            bodies.append(body)
            places += [place] * len(ts)
            terminals += [number] * len(ts)
        elif kind == READINGS:
            detail = f"{len(body)} bytes of readings, expected a multiple of {_ROW.itemsize}"
            refused.append((place, Reason.BAD_BODY, detail))
        elif kind == ALARMS:
            try:
                words.append((place, number, *_word(body)))
            except (ValueError, IndexError, struct.error) as error:
                refused.append((place, Reason.BAD_BODY, f"the alarms cannot be read: {error}"))
        elif kind != ACKNOWLEDGEMENT:
            refused.append((place, Reason.BAD_BODY, f"kind is {kind:02X}, expected {', '.join(f'{one:02X}' for one in KINDS)}"))
    rows = np.frombuffer(b"".join(bodies), _ROW)
    readings = pl.DataFrame(
        {
            "frame": pl.Series(places, dtype=pl.Int64),
            "terminal": pl.Series(terminals, dtype=pl.String),
            "ts": pl.Series(rows["ts"], dtype=pl.Int64).cast(TIMESTAMP),
            **{field.name: _values(rows[field.name]).cast(field.dtype, strict=False) for field in FIELDS},
        }
    )
    alarms = pl.DataFrame(words, schema=NOTHING.alarms.schema, orient="row")
    return Decoded(readings, alarms, NOTHING.clocks, rejections(refused))


def _values(column: Any) -> pl.Series:
    """Missing is null; so is what is no number."""
    values = pl.Series(np.ascontiguousarray(column), dtype=pl.Float64)
    return values.to_frame("value").select(pl.when(pl.col("value").is_finite()).then("value")).to_series()


def _word(body: bytes) -> tuple[Any, ...]:
    """`event_at`, `active` and the fields of `schema.FIELDS`. Raises `ValueError`, `IndexError`, `struct.error`."""
    event_us, alarms = _alarms(body)
    if not _FIRST_US <= event_us < _END_US:
        raise ValueError("the time is outside of the years 1970 to 2199")
    values: list[float | None] = [None] * len(FIELDS)
    for alarm in alarms:
        if alarm.field and alarm.value is not None:
            values[[field.name for field in FIELDS].index(alarm.field)] = alarm.value
    typed = [
        int(value) if value is not None and not field.dtype.is_float() else value
        for field, value in zip(FIELDS, values, strict=True)
    ]
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event_us), [alarm.code for alarm in alarms], *typed


def _alarms(body: bytes) -> tuple[int, list[Alarm]]:
    """Time and alarms of a body. Raises `ValueError`, `IndexError`, `struct.error`."""
    event_us, count = struct.unpack_from("<qB", body)
    at, alarms = struct.calcsize("<qB"), []
    for _ in range(count):
        code, at = _text_at(body, at)
        value, field, limit = _ALARM.unpack_from(body, at)
        source_code, at = _text_at(body, at + _ALARM.size)
        text, at = _text_at(body, at)
        name = "" if field == _NO_FIELD else FIELDS[field].name
        alarms.append(Alarm(code, _finite(value), name, _finite(limit), source_code, text))
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes behind the last of {count} alarms, expected none")
    return event_us, alarms


def _text_at(body: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + body[at]
    if end > len(body):
        raise ValueError(f"a text ends at byte {end} of {len(body)}")
    return body[at + 1 : end].decode(), end


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


# --- explained ----------------------------------------------------------------------------------------------------------------


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte, in order; of any bytes whatever."""
    explained = Explainer(frame)
    if not frame.startswith(START) or len(frame) < _SHORTEST:
        explained.take(len(frame), "非 AMR 帧", "not a frame of AMR")
        return explained.parts
    _, size, kind, sequence = _HEAD.unpack_from(frame)
    end = max(_HEAD.size, min(size, len(frame)) - 2)
    explained.take(4, "起始符", "start")
    explained.take(6, "帧长", "length", str(size), "B")
    explained.take(7, "类型", "kind", KINDS.get(kind, "未知 / unknown"))
    explained.take(11, "序号", "sequence", str(sequence))
    if end > _HEAD.size:
        number, body = _number(frame[: end + 2])
        explained.take(12, "编号字节数", "bytes of the number", str(frame[11]))
        explained.take(min(end, 12 + frame[11]), "终端编号", "terminal", number if number.isprintable() else "")
        if kind == READINGS:
            _explain_readings(explained, end)
        elif kind == ALARMS:
            _explain_alarms(explained, body, end)
        explained.take(end, "内容", "content")
    crc = frame[end : end + 2]
    explained.take(end + 2, "校验", "CRC", checksum_text(crc.hex().upper(), crc16_high_first(frame[:end]).hex().upper()))
    explained.take(len(frame), "多余字节", "beyond the frame")
    return explained.parts


_NAMES = {
    "forward_m3": ("正向累计", "forward volume"),
    "reverse_m3": ("反向累计", "reverse volume"),
    "flow_m3h": ("瞬时流量", "flow"),
    "pressure_mpa": ("压力", "pressure"),
    "battery_v": ("电池电压", "battery"),
    "signal": ("信号", "signal"),
    "status": ("状态", "status"),
}


def _explain_readings(explained: Explainer, end: int) -> None:
    while explained.offset + _ROW.itemsize <= end:
        row = np.frombuffer(explained.frame, _ROW, 1, explained.offset)[0]
        explained.take(explained.offset + 8, "读数时间", "time of the reading", _moment(int(row["ts"])))
        for field in FIELDS:
            value = float(row[field.name])
            text = f"{value:.10g}" if isfinite(value) else "缺 / missing"
            explained.take(explained.offset + 8, *_NAMES[field.name], text, field.unit if isfinite(value) else "")


def _explain_alarms(explained: Explainer, body: bytes, end: int) -> None:
    try:
        event_us, alarms = _alarms(body)
    except (ValueError, IndexError, struct.error):
        return
    explained.take(explained.offset + 8, "报警时间", "time of the alarms", _moment(event_us))
    explained.take(explained.offset + 1, "报警数", "alarms that are set", str(len(alarms)))
    for alarm in alarms:
        shown = ", ".join(_parts(alarm))
        explained.take(explained.offset + len(_alarm_bytes(alarm)), "报警", "alarm", shown if shown.isprintable() else "")
    explained.take(end, "内容", "content")


def _parts(alarm: Alarm) -> Iterator[str]:
    units: Iterable[tuple[str, str]] = ((field.name, field.unit) for field in FIELDS)
    yield alarm.code
    if alarm.value is not None:
        yield f"{alarm.value:.10g} {dict(units).get(alarm.field, '')}".rstrip()
    if alarm.limit is not None:
        yield f"限值 limit {alarm.limit:.10g}"
    if alarm.source_code or alarm.text:
        yield f"{alarm.source_code} {alarm.text}".strip()


def _moment(microseconds: int) -> str:
    if not _FIRST_US <= microseconds < _END_US:
        return f"{microseconds} µs"
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()

"""Rounds of answers to columns."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from ingest_daemon.codec_kit.api import Arrival, Decoded, rejections
from ingest_daemon.codec_kit.framer import Fault
from ingest_daemon.codecs.mbus.framing import (
    ACK,
    APPLICATION_ERROR,
    FIXED,
    FROM_MASTER,
    HEADER,
    LONG,
    OVERHEAD,
    SHORT,
    VARIABLE,
    frames_of,
    terminal,
)
from ingest_daemon.codecs.mbus.records import BACKWARD_ONLY, FORWARD_ONLY, Record, TornRecordError, iter_records, read_value
from ingest_daemon.contract.schema import BEIJING, FIELDS, TIMESTAMP, Reason

WATER = {
    0x06: "热水 / warm water",
    0x07: "水 / water",
    0x15: "热水 / hot water",
    0x16: "冷水 / cold water",
    0x17: "冷热水 / dual water",
}
OTHER = 0x00
"""Medium of counters of pulses, which may count a water meter's."""
STATUS_ALARMS = ((2, "BATT"), (3, "SENSOR"), (4, "SENSOR"))
ERRORS = (
    "unspecified error",
    "CI is not implemented",
    "buffer too long",
    "too many records",
    "premature end of record",
    "more than 10 DIFE",
    "more than 10 VIFE",
    "reserved",
    "too busy",
    "too many read-outs",
)

_FLOWS = {"m^3/h": 1.0, "m^3/min": 60.0, "m^3/s": 3600.0}
_NAMES = [field.name for field in FIELDS]


class _Said(NamedTuple):
    """What one frame says: fields of a reading, and its clock as `YYYY-MM-DDThh:mm`."""

    fields: dict[str, float | int]
    clock: str


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group (see `Decoded`): a reading a round, of the frames of its answers together; of two values the first counts.

    A frame that cannot be used is `rejected` alone. Acknowledgements say nothing.
    """
    rows: list[dict[str, Any]] = []
    refused: list[tuple[int, str, str]] = []
    for number, arrival in enumerate(arrivals):
        said: list[_Said] = []
        for frame in frames_of(arrival.raw):
            if frame[0] == ACK:
                continue
            told = _told(frame)
            if isinstance(told, _Said):
                said.append(told)
            else:
                refused.append((number, str(told[0]), told[1]))
        if said:
            fields = {name: value for one in reversed(said) for name, value in one.fields.items()}
            received = datetime.fromtimestamp(arrival.received_us // 1000 / 1000, UTC)
            name = arrival.terminal or terminal(arrival.raw)
            active = _active(int(fields["status"]))
            clock = next((one.clock for one in said if one.clock), None)
            rows.append({"frame": number, "terminal": name, "ts": received, "active": active, "clock": clock, **fields})
    schema = {"frame": pl.Int64, "terminal": pl.String, "ts": TIMESTAMP, "active": pl.List(pl.String), "clock": pl.String}
    table = pl.DataFrame(rows, schema={**schema, **{field.name: field.dtype for field in FIELDS}})  # type: ignore[dict-item]
    return Decoded(
        table.select("frame", "terminal", "ts", *_NAMES),
        table.select("frame", "terminal", pl.col("ts").alias("event_at"), "active", *_NAMES),
        table.select("frame", "terminal", sent_at=_moment(pl.col("clock"))).drop_nulls("sent_at"),
        rejections(refused),
    )


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether a status bit is set that is an alarm. Never raises."""
    return any(_is_answer(frame) and _active(frame[16]) for frame in frames_of(arrival.raw))


def _is_answer(frame: bytes) -> bool:
    """Whether it is a meter's frame with records, and so with a status."""
    return len(frame) >= HEADER + 2 and frame[0] == LONG and not frame[4] & FROM_MASTER and frame[6] == VARIABLE


def _active(status: int) -> list[str]:
    return sorted({code for bit, code in STATUS_ALARMS if status & 1 << bit})


def _told(frame: bytes) -> _Said | Fault:
    """What a frame says, or why it cannot be used."""
    if frame[0] == SHORT or frame[4] & FROM_MASTER:
        return Reason.BAD_BODY, "a request, perhaps our own come back, expected an answer"
    if frame[6] == APPLICATION_ERROR:
        code = frame[7] if len(frame) > OVERHEAD + 3 else 0
        said = ERRORS[code] if code < len(ERRORS) else "unknown error"
        return Reason.BAD_BODY, f"the meter reports an error: {code:02X}, {said}"
    if frame[6] != VARIABLE:
        kind = "fixed structure, which is not read" if frame[6] == FIXED else "not known"
        return Reason.BAD_BODY, f"CI is {frame[6]:02X} ({kind}), expected 72"
    try:
        records = list(iter_records(frame))
    except TornRecordError as torn:
        return Reason.BAD_BODY, str(torn)
    if frame[14] != OTHER and frame[14] not in WATER:
        known = ", ".join(f"{medium:02X}" for medium in (OTHER, *WATER))
        return Reason.BAD_BODY, f"medium is {frame[14]:02X}, expected one of water ({known})"
    fields: dict[str, float | int] = {"status": frame[16]}
    clock = ""
    for record in sorted((one for one in records if one.vif and one.is_present), key=_rank):
        value, unit = read_value(record)
        if isinstance(value, float) and (name := _field(record)):
            if name == "flow_m3h":
                value = round(value * _FLOWS[unit], 9)
            fields.setdefault(name, round(value / 10, 9) if name == "pressure_mpa" else value)
        elif record.kind == 0x6D and not record.extensions and isinstance(value, str) and not record.data[0] & 0x80:
            clock = clock or value
    return _Said(fields, clock)


def _rank(record: Record) -> int:
    """A volume that counts forward only goes before one that may be net."""
    return 0 if FORWARD_ONLY in record.extensions else 1


def _field(record: Record) -> str:
    """The field of a reading that a record gives; empty for none."""
    kind, extensions = record.kind, record.extensions
    if 0x10 <= kind <= 0x17:
        return {(): "forward_m3", (FORWARD_ONLY,): "forward_m3", (BACKWARD_ONLY,): "reverse_m3"}.get(extensions, "")
    if extensions:
        return ""
    if 0x38 <= kind <= 0x4F:
        return "flow_m3h"
    if 0x68 <= kind <= 0x6B:
        return "pressure_mpa"
    return "battery_v" if 0x1FD40 <= kind <= 0x1FD4F else ""


def _moment(text: pl.Expr) -> pl.Expr:
    """Beijing time as pyMeterBus writes it, in UTC; null where it is no time, or that of a clock that was never set."""
    local = text.str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", strict=False)
    sound = local.is_between(datetime(2000, 1, 2), datetime(2100, 1, 1), closed="left")
    utc = (local - (BEIJING.utcoffset(None) or timedelta())).dt.replace_time_zone("UTC")
    return pl.when(sound).then(utc).otherwise(None).cast(TIMESTAMP)

"""Rounds of answers to columns: a round is one reading, of the records of all its frames.

A record that cannot be used costs its own field, never the reading. A damaged one is always refused with its reason. A volume
that is not the present one, or a value of an unknown code, is refused where its field stays empty and else only named by
`unused`, as nearly every meter sends last month's total too.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import polars as pl

from ingest_daemon.codec_kit.api import Arrival, Decoded, rejections
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
from ingest_daemon.codecs.mbus.records import (
    BACKWARD_ONLY,
    DATE_TIME,
    FILLER,
    FORWARD_ONLY,
    Record,
    TornRecordError,
    UnusableRecord,
    Use,
    clock_of,
    iter_records,
)
from ingest_daemon.codecs.mbus.values import FLOW, PRESSURE, VOLTAGE, VOLUME, Measure, measure_of, quantity_of
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

_CIS = {
    FIXED: "fixed structure, which is not read",
    0x78: "records without a header, so neither medium nor status is known",
    0x7A: "records with a short header, so the medium is not known",
}
"""Structures of an answer that are not read."""
_MODE, _ENCRYPTED = 0x1F, range(1, 16)
"""Bits of the signature's second byte with the mode of encryption, and its modes; some older meters have other things there."""
_DECRYPTED = bytes((FILLER, FILLER))
"""Beginning of records that were encrypted and no longer are."""
_FIELD_OF = {VOLUME: "forward_m3", FLOW: "flow_m3h", PRESSURE: "pressure_mpa", VOLTAGE: "battery_v"}
_NAMES = [field.name for field in FIELDS]
_ZONE = BEIJING.utcoffset(None) or timedelta()


class _Answer(NamedTuple):
    """A meter's frame with its records up to where they are torn, and the fault there ("" for none)."""

    status: int
    is_water: bool
    records: list[Record]
    torn: str


class _Round(NamedTuple):
    """The joint result of the frames of a round.

    `fields`: None where no frame is usable. `clock`: the meter's, local. `refused`: reasons. `unused`: records that a reading has
    no use for by design.
    """

    fields: dict[str, float | int] | None
    clock: datetime | None
    refused: list[str]
    unused: list[str]


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group (see `Decoded`): one reading a round. Acknowledgements carry nothing."""
    rows: list[dict[str, Any]] = []
    refused: list[tuple[int, str, str]] = []
    for number, arrival in enumerate(arrivals):
        result = _read_round(arrival.raw)
        if result.refused:
            refused.append((number, Reason.BAD_BODY, "; ".join(result.refused)))
        if result.fields is not None:
            rows.append(
                {
                    "frame": number,
                    "terminal": arrival.terminal or terminal(arrival.raw),
                    "ts": datetime.fromtimestamp(arrival.received_us // 1000 / 1000, UTC),
                    "active": _active(int(result.fields["status"])),
                    "clock": result.clock and (result.clock - _ZONE).replace(tzinfo=UTC),
                    **result.fields,
                }
            )
    schema = {"frame": pl.Int64, "terminal": pl.String, "ts": TIMESTAMP, "active": pl.List(pl.String), "clock": TIMESTAMP}
    table = pl.DataFrame(rows, schema={**schema, **{field.name: field.dtype for field in FIELDS}})  # type: ignore[dict-item]
    return Decoded(
        table.select("frame", "terminal", "ts", *_NAMES),
        table.select("frame", "terminal", pl.col("ts").alias("event_at"), "active", *_NAMES),
        table.select("frame", "terminal", sent_at="clock").drop_nulls("sent_at"),
        rejections(refused),
    )


def unused(arrival: Arrival) -> list[str]:
    """Records of a round that a reading has no use for by design, such as last month's total, each with its reason."""
    return _read_round(arrival.raw).unused


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether a status bit is set that is an alarm. Never raises."""
    return any(_is_answer(frame) and _active(frame[16]) for frame in frames_of(arrival.raw))


def _is_answer(frame: bytes) -> bool:
    """Whether it is a meter's frame with records, and so with a status."""
    return len(frame) >= HEADER + 2 and frame[0] == LONG and not frame[4] & FROM_MASTER and frame[6] == VARIABLE


def _active(status: int) -> list[str]:
    return sorted({code for bit, code in STATUS_ALARMS if status & 1 << bit})


def _read_round(raw: bytes) -> _Round:
    read = [_read_frame(frame) for frame in frames_of(raw) if frame[0] != ACK]
    answers = [answer for answer in read if isinstance(answer, _Answer)]
    records = [record for answer in answers for record in answer.records if record.vif]
    measures, unusable = _measures(records)
    fields = _fields(measures)
    clock, faults = _clock(records)
    refused = [reason for reason in read if isinstance(reason, str)]
    unused = list[str]()
    for record, reason, use in unusable:
        is_refused = use is Use.DAMAGED or (use is Use.NOT_CONVERTED and _field_of(record) not in fields)
        (refused if is_refused else unused).append(reason)
    is_named = any(_field_of(record) == "forward_m3" for record, _, _ in unusable)
    if "forward_m3" not in fields and not is_named and any(answer.is_water for answer in answers):
        present = ", ".join(record.vif.hex().upper() for record in records if record.is_present)
        refused.append(f"forward_m3: no record is a forward volume; the VIFs of present values are {present or 'none'}")
    refused += faults + [answer.torn for answer in answers if answer.torn]
    if not answers or (not fields and any(answer.torn for answer in answers)):
        return _Round(None, None, refused, unused)
    return _Round({"status": answers[0].status, **fields}, clock, refused, unused)


def _read_frame(frame: bytes) -> _Answer | str:
    """The records of a frame, or why it cannot be used at all."""
    if frame[0] == SHORT or frame[4] & FROM_MASTER:
        return "a request, perhaps our own come back, expected an answer"
    if frame[6] == APPLICATION_ERROR:
        code = frame[7] if len(frame) > OVERHEAD + 3 else 0
        return f"the meter reports an error: {code:02X}, {ERRORS[code] if code < len(ERRORS) else 'unknown error'}"
    if frame[6] != VARIABLE:
        return f"CI is {frame[6]:02X} ({_CIS.get(frame[6], 'not known')}), expected 72"
    if len(frame) >= HEADER + 2 and (mode := frame[18] & _MODE) in _ENCRYPTED and frame[HEADER : HEADER + 2] != _DECRYPTED:
        return f"the records are encrypted (mode {mode}), which is not read"
    records, torn = list[Record](), ""
    try:
        for record in iter_records(frame):
            records.append(record)
    except TornRecordError as error:
        if len(frame) < HEADER + 2:
            return str(error)
        torn = f"the records from byte {records[-1].end if records else HEADER} on do not add up: {error}"
    if frame[14] != OTHER and frame[14] not in WATER:
        known = ", ".join(f"{medium:02X}" for medium in (OTHER, *WATER))
        return f"medium is {frame[14]:02X}, expected one of water ({known})"
    return _Answer(frame[16], frame[14] in WATER, records, torn)


def _field_of(record: Record) -> str:
    """The field of a reading that a record of a known quantity is for."""
    quantity = quantity_of(record)
    return "reverse_m3" if quantity == VOLUME and BACKWARD_ONLY in record.extensions else _FIELD_OF[quantity]


def _measures(records: Sequence[Record]) -> tuple[list[Measure], list[tuple[Record, str, Use]]]:
    """The measured values of the records; and records of a known quantity without a value, with reason and treatment."""
    measures, unusable = list[Measure](), list[tuple[Record, str, Use]]()
    for record in records:
        if quantity := quantity_of(record):
            try:
                measures.append(measure_of(record))
            except UnusableRecord as error:
                unusable.append((record, f"{quantity} {record.label}: {error}", error.use))
    return measures, unusable


def _fields(measures: Sequence[Measure]) -> dict[str, float | int]:
    """The fields that have a value."""

    def pick(quantity: str, direction: int = 0) -> Fraction | None:
        """The first value that is not 0, else 0: of a total sent twice, one register may never be filled."""
        values = [measure.value for measure in measures if (measure.quantity, measure.direction) == (quantity, direction)]
        return next(filter(None, values), values[0] if values else None)

    backward = pick(VOLUME, BACKWARD_ONLY)
    values = {
        "forward_m3": _forward(pick(VOLUME, FORWARD_ONLY), pick(VOLUME), backward),
        "reverse_m3": backward,
        **{_FIELD_OF[quantity]: pick(quantity) for quantity in (FLOW, PRESSURE, VOLTAGE)},
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def _forward(forward_only: Fraction | None, total: Fraction | None, backward: Fraction | None) -> Fraction | None:
    """The forward volume: the register that counts forward only before the total, which may be net.

    A forward register at 0 beside a total above 0 is one that the meter never fills (Axioma Q400), unless the backward volume
    makes up the total.
    """
    if forward_only or total is None:
        return forward_only
    is_filled = forward_only is not None and total <= (backward or 0)
    return forward_only if is_filled else total


def _clock(records: Sequence[Record]) -> tuple[datetime | None, list[str]]:
    """The first clock of the meter, and the reasons of records that are none."""
    clocks, faults = list[datetime](), list[str]()
    for record in records:
        if record.kind == DATE_TIME and record.is_present and not record.extensions:
            try:
                clock = clock_of(record)
                clocks += [clock] if clock else []
            except UnusableRecord as unusable:
                faults.append(f"clock {record.label}: {unusable}")
    return (clocks[0] if clocks else None), faults

"""The simulated faults between a meter and the centre, their places and times, and their expected results.

From a fleet's true readings come the readings that the terminals report in the end (`reported`), the frames in the order in
which they are sent (`plan`) and the list of everything planned (`known`). The customers' own events are in `fleet.py`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.schema import FIELDS, TIMESTAMP, Reason
from simulator import fleet as fleets
from simulator import terminal as terminals
from simulator.customers import Meter
from simulator.fleet import Fleet
from simulator.terminal import Clock, Plan, Stream, Upload

UNKNOWN_TERMINAL = "0031019999"
"""A terminal that the registry does not know."""

SLOW_CLOCK = timedelta(minutes=7)
SHORT_GAP, LONG_GAP, MIDNIGHT_GAP, DUPLICATE, LATE, CLOCK, FUTURE, BAD_CRC = 7, 8, 12, 3, 4, 10, 9, 6
"""Numbers of the meters whose terminal or line has a fault; one fault a meter, so that each can be judged alone."""

BILL_SHORT, BILL_ESTIMATED, BILL_MISSING = 1, 8, 12
"""Numbers of the meters with a faulty last bill (made in `billing.py`): a quarter short, estimated, none."""

BILL_SWAPPED = (23, 24)
SWAPPED_PERIODS = 8
"""In a history: meters whose bills go to each other's customer, and for how many of the last periods."""

BILL_CANCELLED, BILL_CREDITED = 7, 3
MENDED_PERIOD = -6
"""In a history: meters of which a bill is wrong and replaced by another, after it is cancelled or taken back by a credit note."""

LATE_PAYER, UNPAID, PARTIAL_PAYER = 14, 10, 17
UNPAID_PERIODS = 9
"""In a history: numbers of the meters whose customer pays weeks too late, no bill of the last periods, the water charge first."""

FUTURE_AHEAD = timedelta(days=3650)
ALARM_SEQUENCE = 60001
LATE_SEQUENCE = 50001
FUTURE_SEQUENCE = 40001
EXTRA_SEQUENCE = 1
HISTORY_SEQUENCE = 20001
HISTORY_ROWS = 1000
"""Readings of the history that are encoded together; they fill several frames."""


class Fault(NamedTuple):
    """One planned thing. `start`, `end` (UTC, both within it; None: to the end of the data).

    `becomes`: repaired (figures as if nothing was), flagged (shown as what it is), quarantined or rejected (kept aside with
    `reason`, one of `schema.Reason`, no figure hangs on it).
    """

    terminal: str | None
    meter: str | None
    kind: str
    start: datetime
    end: datetime | None
    becomes: str
    reason: str | None = None
    customer: str | None = None


KNOWN: dict[str, pl.DataType] = {
    "terminal": pl.String(),
    "meter": pl.String(),
    "kind": pl.String(),
    "start": TIMESTAMP,
    "end": TIMESTAMP,
    "becomes": pl.String(),
    "reason": pl.String(),
    "customer": pl.String(),
}


def faults(fleet: Fleet) -> list[Fault]:
    """Everything planned: faults of terminals and lines, the customers' own events, faulty bills (of their last period)."""
    middle = fleet.days // 2
    placed: tuple[tuple[int, str, datetime, datetime | None, str, Reason | None], ...] = (
        (SHORT_GAP, "gap_short", fleet.at(middle, 9.25), fleet.at(middle, 10.75), "repaired", None),
        (LONG_GAP, "gap_long", fleet.at(middle, 11.25), fleet.at(middle, 14.75), "flagged", None),
        (MIDNIGHT_GAP, "gap_midnight", fleet.at(middle, 22.5), fleet.at(middle + 1, 1.5), "flagged", None),
        (DUPLICATE, "duplicate", *_day(fleet, middle), "repaired", None),
        (LATE, "late_day", *_day(fleet, middle), "repaired", None),
        (CLOCK, "clock_slow", fleet.at(middle - 1, 12), fleet.at(middle + 1, 12), "flagged", None),
        (FUTURE, "future_time", fleet.until + FUTURE_AHEAD, fleet.until + FUTURE_AHEAD, "quarantined", Reason.FUTURE_TIME),
        (BAD_CRC, "bad_crc", *_day(fleet, middle), "rejected", Reason.BAD_CRC),
    )
    meters = {meter.number: meter for meter in fleet.meters}
    listed = [
        Fault(meters[number].terminal, meters[number].name, kind, start, end, becomes, reason)
        for number, kind, start, end, becomes, reason in placed
    ]
    listed.append(Fault(UNKNOWN_TERMINAL, None, "unknown_terminal", *_day(fleet, middle), "quarantined", Reason.UNKNOWN_TERMINAL))
    for event in fleet.events:
        becomes = "repaired" if event.kind in ("replacement", "rollover") else "flagged"
        meter = meters[event.number]
        listed.append(Fault(meter.terminal, meter.name, event.kind, event.start, event.end, becomes))
    start, end = (fleets.local(fleet.until, fleet.zone, fleets.days_after(fleet, day)) for day in fleets.periods(fleet)[-1])
    for number, kind in ((BILL_SHORT, "bill_short"), (BILL_ESTIMATED, "bill_estimated"), (BILL_MISSING, "bill_missing")):
        listed.append(Fault(meters[number].terminal, meters[number].name, kind, start, end, "flagged"))
    if fleet.by_hand:
        listed.extend(_of_history(fleet, meters))
    owners = {meter.name: meter.customer_no for meter in fleet.every_meter}
    return [fault._replace(customer=owners[fault.meter]) if fault.meter else fault for fault in listed]


def _of_history(fleet: Fleet, meters: dict[int, Meter]) -> Iterator[Fault]:
    """What can be found over months only: sizes that do not fit, customers who do not pay, bills that are wrong."""
    begins = [fleets.local(fleet.until, fleet.zone, fleets.days_after(fleet, period.start)) for period in fleets.periods(fleet)]
    mended = ((BILL_CANCELLED, "bill_cancelled"), (BILL_CREDITED, "bill_credited"))
    placed: tuple[tuple[int, str, datetime], ...] = (
        (fleets.OVERSIZED, "oversized", fleet.since),
        (fleets.OVERSIZED_TOO, "oversized", fleet.since),
        (fleets.UNDERSIZED, "undersized", fleet.since),
        *((number, "bill_swapped", begins[max(-SWAPPED_PERIODS, -len(begins))]) for number in BILL_SWAPPED),
        *((number, kind, begins[MENDED_PERIOD]) for number, kind in mended if len(begins) >= -MENDED_PERIOD),
        (LATE_PAYER, "late_payer", fleet.since),
        (UNPAID, "unpaid", begins[max(-UNPAID_PERIODS, -len(begins))]),
        (PARTIAL_PAYER, "partial_payer", fleet.since),
    )
    for number, kind, start in placed:
        yield Fault(meters[number].terminal, meters[number].name, kind, start, None, "flagged")
    for meter in fleet.by_hand:
        yield Fault(None, meter.name, "manual", fleet.since, None, "flagged")


def known(fleet: Fleet) -> pl.DataFrame:
    """`faults` as a table with the columns of `KNOWN`."""
    return pl.DataFrame(faults(fleet), schema=KNOWN, orient="row")


def _day(fleet: Fleet, day: int) -> tuple[datetime, datetime]:
    return fleet.at(day), fleet.at(day + 1)


def reported(fleet: Fleet) -> dict[int, pl.DataFrame]:
    """By number of a meter with a terminal: the readings (`ts`, `schema.FIELDS`) that reach the centre sooner or later, with the
    stamps they carry, those of the history first."""
    placed = {fault.kind: fault for fault in faults(fleet)}
    readings = {meter.number: fleet.recorded(meter.number) for meter in fleet.meters}
    for number, kind in ((SHORT_GAP, "gap_short"), (LONG_GAP, "gap_long"), (MIDNIGHT_GAP, "gap_midnight")):
        readings[number] = readings[number].filter(~pl.col("ts").is_between(placed[kind].start, placed[kind].end))
    wrong = pl.col("ts").is_between(placed["clock_slow"].start, placed["clock_slow"].end)
    readings[CLOCK] = readings[CLOCK].with_columns(ts=pl.when(wrong).then(pl.col("ts") - SLOW_CLOCK).otherwise("ts"))
    return readings


def plan(fleet: Fleet, clock: Clock = terminals.now) -> Plan:
    """Phases: the history, everything but the late day (a day at a time, alarms on their own connections), then the late day.

    `clock` is the time at the centre; frames are encoded when they are sent, so that they carry the time of sending.
    """
    rows = reported(fleet)
    history = [
        Stream(
            meter.earlier_terminal,
            terminals.uploads(meter.earlier_terminal, fleet.history[meter.number], clock, HISTORY_SEQUENCE, HISTORY_ROWS),
        )
        for meter in fleet.meters
    ]
    data = [Stream(meter.terminal, _data(fleet, meter, rows[meter.number], clock)) for meter in fleet.meters]
    stranger = fleet.readings[EXTRA_SEQUENCE].filter(pl.col("ts").is_between(*_day(fleet, fleet.days // 2)))
    data.append(Stream(UNKNOWN_TERMINAL, terminals.uploads(UNKNOWN_TERMINAL, stranger, clock)))
    alarms = [Stream(meter.terminal, _alarms(fleet, meter, clock), alarm=True) for meter in fleet.meters if _events(fleet, meter)]
    late = next(meter for meter in fleet.meters if meter.number == LATE)
    late_rows = rows[LATE].filter(_of_day(fleet, fleet.days // 2))
    return [history, [*alarms, *data], [Stream(late.terminal, terminals.uploads(late.terminal, late_rows, clock, LATE_SEQUENCE))]]


def _of_day(fleet: Fleet, day: int) -> pl.Expr:
    """Readings of one upload: those after a local midnight up to the next; the first upload has the first midnight too."""
    after = pl.col("ts") >= fleet.at(day) if day == 0 else pl.col("ts") > fleet.at(day)
    return after & (pl.col("ts") <= fleet.at(day + 1))


def _data(fleet: Fleet, meter: Meter, rows: pl.DataFrame, clock: Clock) -> Iterator[Upload]:
    middle, sequence = fleet.days // 2, 1

    def slow() -> datetime:
        return clock() - SLOW_CLOCK

    for day in range(fleet.days):
        if meter.number == LATE and day == middle:
            continue
        own_clock = slow if meter.number == CLOCK and day in (middle - 1, middle) else clock
        made = list(terminals.uploads(meter.terminal, rows.filter(_of_day(fleet, day)), own_clock, sequence))
        sequence = made[-1].sequence % terminals.LAST_SEQUENCE + 1
        if meter.number == BAD_CRC and day == middle:
            yield made[0]._replace(frame=_spoilt(made[0].frame), readings=0, acknowledged=False)
        yield from made
        if meter.number == DUPLICATE and day == middle:
            yield from (upload._replace(readings=0) for upload in made)
    if meter.number == FUTURE:
        ahead = rows.tail(1).with_columns(ts=pl.lit(fleet.until + FUTURE_AHEAD, TIMESTAMP))
        yield from terminals.uploads(meter.terminal, ahead, clock, FUTURE_SEQUENCE)


def _spoilt(frame: bytes) -> bytes:
    """The frame with one bit of its body turned over, as noise on a line does."""
    middle = len(frame) // 2
    return frame[:middle] + bytes([frame[middle] ^ 1]) + frame[middle + 1 :]


ALARM_CODES = {"low_pressure": "P_LO", "reverse": "Q_REV", "low_battery": "BATT"}
"""Alarm code that a terminal raises at a customer's event."""


def _events(fleet: Fleet, meter: Meter) -> list[fleets.Event]:
    return [event for event in fleet.events if event.number == meter.number and event.kind in ALARM_CODES]


def _alarms(fleet: Fleet, meter: Meter, clock: Clock) -> Iterator[Upload]:
    """Event reports: raised with the first reading within the event, cleared with the first after it."""
    rows, sequence = fleet.readings[meter.number], ALARM_SEQUENCE
    for event in _events(fleet, meter):
        yield terminals.alarm(meter.terminal, _first_after(rows, event.start), [ALARM_CODES[event.kind]], clock, sequence)
        if event.end is not None:
            yield terminals.alarm(meter.terminal, _first_after(rows, event.end), [], clock, sequence + 1)
        sequence += 2


def _first_after(rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    return rows.filter(pl.col("ts") > moment).head(1).select("ts", *(field.name for field in FIELDS))

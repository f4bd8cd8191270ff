"""The customers' water use and what their meters recorded of it: every few minutes in recent days, before them by the hour.

Here belong the meters' true readings, with what happens at the customer (leak, reverse flow, meter change, roll-over, low
pressure, tampering). Who the customers are is in `customers.py`; what goes wrong between meter and centre in `faults.py`; how it
is sent in `terminal.py`.
"""

import itertools
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.contract.schema import FIELDS, TIMESTAMP
from simulator.customers import BY_HAND, CUSTOMERS, HISTORY_STEP_MIN, INSTALLED_ON, MORE_METERS, VOCABULARY, Meter
from simulator.customers import METERS as METERS

Floats = NDArray[np.float64]

MIN_DAYS = 4
"""Fewer days have no room for the planned events and faults."""

MIN_HISTORY_MONTHS = 3
"""Fewer months have no billing period of two months."""

PROTOCOL = "sl651"
PRESSURE_LOW_MPA = 0.14
PRESSURE_HIGH_MPA = 0.5
HOUR_S = 3600


class Use(NamedTuple):
    """How a kind of customer uses water: 24 hourly weights a kind of day, day-to-day and step-to-step noise (relative)."""

    weekday: tuple[float, ...]
    weekend: tuple[float, ...]
    holiday: tuple[float, ...]
    day_noise: float
    step_noise: float


def _times(factor: float, shape: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(factor * weight, 3) for weight in shape)


_DAY_SHIFT = (1, 1, 1, 1, 1, 1, 2, 6, 10, 11, 11, 9, 6, 10, 11, 11, 10, 7, 3, 2, 1, 1, 1, 1)
_THREE_SHIFT = (8, 8, 8, 8, 8, 8, 9, 7, 9, 10, 10, 10, 9, 10, 10, 8, 9, 10, 10, 9, 9, 9, 9, 7)
_HOTEL = (2, 1, 1, 1, 1, 3, 7, 11, 10, 8, 6, 6, 7, 6, 5, 5, 6, 8, 9, 10, 11, 11, 8, 4)
_HOSPITAL = (4, 4, 4, 4, 4, 5, 7, 10, 12, 12, 11, 10, 9, 9, 11, 10, 9, 8, 8, 8, 7, 6, 5, 4)
_SCHOOL = (1, 1, 1, 1, 1, 2, 6, 11, 9, 10, 10, 14, 12, 8, 9, 10, 9, 8, 5, 5, 6, 3, 1, 1)
_OFFICE = (1, 1, 1, 1, 1, 1, 2, 5, 10, 11, 11, 12, 12, 11, 10, 10, 9, 8, 5, 3, 2, 2, 1, 1)
_HOUSING = (3, 2, 1.5, 1.5, 2, 4, 9, 11, 9, 7, 6, 7, 7, 5, 5, 5, 6, 9, 11, 12, 11, 10, 8, 5)
_HOUSING_WEEKEND = (4, 2.5, 1.5, 1.5, 1.5, 3, 5, 8, 11, 11, 10, 10, 9, 7, 6, 6, 7, 9, 11, 12, 11, 10, 8, 5)
_MARKET = (3, 5, 9, 14, 16, 15, 13, 10, 8, 6, 4, 3, 2, 2, 2, 3, 4, 3, 2, 1, 1, 1, 1, 2)
_SITE = (0, 0, 0, 0, 0, 1, 5, 9, 10, 10, 10, 6, 5, 9, 10, 10, 9, 7, 4, 3, 2, 1, 0, 0)
_BREWERY = (7, 7, 7, 6, 6, 7, 9, 10, 11, 11, 10, 10, 9, 10, 11, 11, 10, 9, 9, 8, 8, 8, 8, 7)
_LAUNDRY = (2, 2, 1, 1, 4, 10, 13, 14, 13, 12, 11, 8, 9, 12, 12, 10, 8, 5, 3, 2, 2, 2, 2, 2)
_POOL = (1, 1, 1, 1, 1, 2, 6, 7, 6, 6, 7, 7, 6, 7, 8, 9, 10, 11, 13, 14, 13, 9, 3, 1)
_STATION = (2, 1, 1, 1, 2, 6, 9, 10, 10, 10, 10, 11, 11, 10, 10, 10, 10, 11, 11, 10, 8, 7, 5, 3)

USES: dict[str, Use] = {
    "day_shift": Use(_DAY_SHIFT, _times(0.25, _DAY_SHIFT), _times(0.12, _DAY_SHIFT), 0.05, 0.12),
    "three_shift": Use(_THREE_SHIFT, _times(0.95, _THREE_SHIFT), _times(0.7, _THREE_SHIFT), 0.03, 0.06),
    "hotel": Use(_HOTEL, _times(1.15, _HOTEL), _times(1.3, _HOTEL), 0.08, 0.15),
    "hospital": Use(_HOSPITAL, _times(0.82, _HOSPITAL), _times(0.75, _HOSPITAL), 0.03, 0.08),
    "school": Use(_SCHOOL, _times(0.2, _SCHOOL), _times(0.08, _SCHOOL), 0.06, 0.2),
    "office": Use(_OFFICE, _times(0.28, _OFFICE), _times(0.12, _OFFICE), 0.05, 0.15),
    "housing": Use(_HOUSING, _HOUSING_WEEKEND, _times(1.05, _HOUSING_WEEKEND), 0.04, 0.1),
    "market": Use(_MARKET, _times(1.2, _MARKET), _times(0.9, _MARKET), 0.07, 0.2),
    "site": Use(_SITE, _times(0.7, _SITE), _times(0.05, _SITE), 0.3, 0.3),
    "brewery": Use(_BREWERY, _times(0.85, _BREWERY), _times(0.5, _BREWERY), 0.05, 0.1),
    "laundry": Use(_LAUNDRY, _times(0.9, _LAUNDRY), _times(0.8, _LAUNDRY), 0.06, 0.2),
    "pool": Use(_POOL, _times(1.4, _POOL), _times(1.5, _POOL), 0.08, 0.15),
    "station": Use(_STATION, _times(1.15, _STATION), _times(1.5, _STATION), 0.04, 0.1),
}
"""Profiles by name; weights are relative to each other, the customer's mean flow scales them."""

SPRING_FESTIVAL = {year: date.fromisoformat(f"{year}-{day}") for year, day in {
    2023: "01-22", 2024: "02-10", 2025: "01-29", 2026: "02-17", 2027: "02-06", 2028: "01-26", 2029: "02-13", 2030: "02-03",
}.items()}  # fmt: skip
"""First day of the lunar year: its eight days are a holiday. Years that are not here have none."""

OVERSIZED, LEAK, REVERSE, LOW_PRESSURE, REPLACED, ROLLOVER, LOW_BATTERY = 13, 14, 15, 16, 17, 18, 19
OVERSIZED_TOO, UNDERSIZED, TAMPERED, INLET = 21, 22, 25, 26
"""Numbers of the meters with something to find; those from 21 on are in a fleet with a history only."""

LEAK_M3H = 1.8
REVERSE_M3H = 6.0
TAMPERED_M3H = 3.0
TAMPERED_HOURS = 3
"""Hours after midnight in which a tampered meter is turned back."""

TAMPERED_SHARE = 0.5
"""Share of the water of the days that still passes a tampered meter."""

UNMEASURED_M3H = 2.5
"""Flow into a zone that no meter of its customers measures."""
NEW_INITIAL_M3 = 0.3
"""A new meter does not start at zero (calibration runs)."""


class Event(NamedTuple):
    """Something that truly happens at a meter. Times are UTC; `end` is None where it lasts to the end of the data."""

    number: int
    kind: str
    start: datetime
    end: datetime | None


class Carry(NamedTuple):
    """From `at` on, add `add_m3` to the shown register to get what flowed: a roll-over's modulus, a meter change's offset."""

    at: datetime
    add_m3: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet over a span of local days, and the months before them.

    `meters`: those with a terminal; `by_hand`: those without. `readings[number]`: what the meter recorded: `ts` (UTC) and
    `schema.FIELDS`, from the first local midnight to `until`, both included. `history[number]`: the same by the hour, from
    `since` up to the first of `readings`. `carries[number]`: how its register continues over roll-over and replacement.
    `replacements`: registry rows.
    """

    seed: int
    days: int
    until: datetime
    since: datetime
    zone: ZoneInfo
    meters: tuple[Meter, ...]
    by_hand: tuple[Meter, ...]
    readings: Mapping[int, pl.DataFrame]
    history: Mapping[int, pl.DataFrame]
    carries: Mapping[int, tuple[Carry, ...]]
    replacements: pl.DataFrame
    events: tuple[Event, ...]

    def at(self, day: int, hour: float = 0.0) -> datetime:
        """Local wall-clock `hour` of the day with that index (0 is the first), as UTC."""
        return local(self.until, self.zone, day - self.days, hour)

    def recorded(self, number: int) -> pl.DataFrame:
        """What the meter of that number recorded, before the recent days and in them."""
        return pl.concat([self.history[number], self.readings[number]])

    @property
    def every_meter(self) -> tuple[Meter, ...]:
        """With a terminal or without."""
        return (*self.meters, *self.by_hand)


def local(until: datetime, zone: ZoneInfo, days: int, hour: float = 0.0) -> datetime:
    """Local wall-clock `hour` of the day `days` after `until` (a local midnight), as UTC."""
    midnight = until.astimezone(zone).replace(tzinfo=None) + timedelta(days=days, hours=hour)
    return midnight.replace(tzinfo=zone).astimezone(UTC)


def make(seed: int, days: int, until: datetime, zone: ZoneInfo, history_months: int = 0) -> Fleet:
    """The fleet of `METERS` over the `days` local days before `until`, a local midnight of `zone`.

    With `history_months` also `MORE_METERS` and `BY_HAND`, and what all of them recorded since the first day of the month so many
    months before. The same arguments give the same fleet; a meter's noise hangs on the seed and its own name only, its recent
    days not on the history. Raises `ValueError` where `until` is no local midnight, `days` is below `MIN_DAYS` or the history is
    too short.
    """
    if until.tzinfo is None or until.astimezone(zone).time() != datetime.min.time():
        raise ValueError(f"until = {until.isoformat()}: expected a local midnight of {zone.key}, with its offset")
    if days < MIN_DAYS:
        raise ValueError(f"days = {days}: expected at least {MIN_DAYS}, so that every planned fault has its place")
    start, since, until = local(until, zone, -days), _since(until, zone, days, history_months), until.astimezone(UTC)
    if history_months and (history_months < MIN_HISTORY_MONTHS or since > start):
        least = max(MIN_HISTORY_MONTHS, days // 28 + 1)
        raise ValueError(f"history_months = {history_months}: expected 0, or at least {least} with {days} days")
    meters, by_hand = ((*METERS, *MORE_METERS), BY_HAND) if history_months else (METERS, ())
    events = _events(days, until, zone, {meter.number for meter in meters})
    years = _Span(since, start, until, zone)
    made: dict[int, _Recorded] = {}
    for meter in sorted((*meters, *by_hand), key=lambda meter: meter.inlet_of is not None):
        supplied = [made[other.number] for other in meters if meter.inlet_of == other.line and other.number in made]
        made[meter.number] = _recorded(meter, seed, years, events, supplied)
    return Fleet(
        seed=seed,
        days=days,
        until=until,
        since=since,
        zone=zone,
        meters=meters,
        by_hand=by_hand,
        readings={number: recorded.readings for number, recorded in made.items()},
        history={number: recorded.history for number, recorded in made.items()},
        carries={number: recorded.carries for number, recorded in made.items()},
        replacements=pl.concat([recorded.replacements for recorded in made.values()]),
        events=events,
    )


def _since(until: datetime, zone: ZoneInfo, days: int, history_months: int) -> datetime:
    """The first instant of a fleet: that of its days, or of the month so many months before the last day."""
    if not history_months:
        return local(until, zone, -days)
    last = until.astimezone(zone).date() - timedelta(days=1)
    year, month = divmod(12 * last.year + last.month - 1 - history_months, 12)
    return datetime(year, month + 1, 1, tzinfo=zone).astimezone(UTC)


def _events(days: int, until: datetime, zone: ZoneInfo, numbers: Set[int]) -> tuple[Event, ...]:
    def at(day: int, hour: float) -> datetime:
        return local(until, zone, day - days, hour)

    middle, leak = days // 2, max(days // 2, days - 7)
    changed = at(middle, 10 + 7 / 60)
    events = (
        Event(LEAK, "leak", at(leak, 1), None),
        Event(REVERSE, "reverse", at(middle, 2), at(middle, 4)),
        Event(LOW_PRESSURE, "low_pressure", at(days - 1, 19), None),
        Event(REPLACED, "replacement", changed, changed),
        Event(ROLLOVER, "rollover", at(middle, 13), None),
        Event(LOW_BATTERY, "low_battery", at(days - 1, 6), None),
        Event(TAMPERED, "tamper", at(leak, 0), None),
    )
    return tuple(event for event in events if event.number in numbers)


class _Span(NamedTuple):
    """From when, through the beginning of the recent days, until when a fleet is made."""

    since: datetime
    start: datetime
    until: datetime
    zone: ZoneInfo


class _Recorded(NamedTuple):
    """`flow`, `flow_before`: what truly flowed in the steps of the recent days and of the history (m³/h)."""

    readings: pl.DataFrame
    history: pl.DataFrame
    carries: tuple[Carry, ...]
    replacements: pl.DataFrame
    flow: Floats
    flow_before: Floats


REPLACEMENT: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "replaced_at": TIMESTAMP,
    "old_final_m3": pl.Float64(),
    "new_initial_m3": pl.Float64(),
}
READINGS: dict[str, pl.DataType] = {"ts": TIMESTAMP, **{field.name: field.dtype for field in FIELDS}}


def _recorded(meter: Meter, seed: int, span: _Span, events: tuple[Event, ...], supplied: Sequence[_Recorded]) -> _Recorded:
    """What the meter recorded; that of an inlet is what the meters that it supplies have, and some more."""
    rng = np.random.default_rng([seed, zlib.crc32(meter.name.encode())])
    mine = {event.kind: event for event in events if event.number == meter.number}
    step = timedelta(minutes=meter.step_min)
    ts = pl.datetime_range(span.start, span.until, step, time_unit="us", time_zone="UTC", eager=True).alias("ts")
    seconds = ts.dt.epoch("s").to_numpy().astype(np.float64)
    middles = (ts - step / 2).dt.convert_time_zone(span.zone.key)
    if supplied:
        flow = np.sum([recorded.flow for recorded in supplied], axis=0) + UNMEASURED_M3H
    else:
        flow = _flow(meter, middles, rng) * np.clip(1 + _step_noise(meter, len(ts), rng), 0.05, None)
    if "leak" in mine:
        flow += LEAK_M3H * _during(seconds, mine["leak"])
    backwards = REVERSE_M3H * _during(seconds, mine["reverse"]) if "reverse" in mine else np.zeros(len(ts))
    if "tamper" in mine:
        lasts = _during(seconds, mine["tamper"])
        flow *= 1 - (1 - TAMPERED_SHARE) * lasts
        backwards += TAMPERED_M3H * lasts * (middles.dt.hour() < TAMPERED_HOURS).to_numpy()
    flow[backwards > 0] = 0.0
    hours = meter.step_min / 60
    gone = np.concatenate([[0.0], np.cumsum(flow[1:] * hours)])
    back = np.concatenate([[0.0], np.cumsum(backwards[1:] * hours)])

    first = min(rng.uniform(2, 6) * 365 * 24 * meter.mean_m3h, 0.6 * meter.modulus_m3)
    carries: tuple[Carry, ...] = ()
    replacements = pl.DataFrame(schema=REPLACEMENT)
    if "rollover" in mine:
        first = meter.modulus_m3 - float(np.interp(mine["rollover"].start.timestamp(), seconds, gone))
    total = first + gone
    if "replacement" in mine:
        at = mine["replacement"].start
        final = float(np.interp(at.timestamp(), seconds, total))
        after = seconds >= at.timestamp()
        total[after] += NEW_INITIAL_M3 - final
        old_final = float(_shown(np.array([final]), meter)[0])
        carries = (Carry(at, old_final - NEW_INITIAL_M3),)
        replacements = pl.DataFrame([(meter.name, at, old_final, NEW_INITIAL_M3)], schema=REPLACEMENT, orient="row")
    turns = _turns(total, meter)
    carries += _carries(ts, turns, meter)
    instant = np.round((flow - backwards) * np.clip(1 + 0.02 * rng.standard_normal(len(ts)), 0.9, 1.1), 3)
    level, swing = (rng.uniform(0.27, 0.36), rng.uniform(0.01, 0.03)) if meter.has_pressure else (0.0, 0.0)
    columns = {
        "forward_m3": _shown(total - turns * meter.modulus_m3, meter),
        "reverse_m3": _shown(back, meter),
        "flow_m3h": instant,
        "pressure_mpa": _pressure(meter, seconds, flow, level, swing, mine.get("low_pressure"), rng)
        if meter.has_pressure
        else None,
        "battery_v": _battery(seconds, mine.get("low_battery"), rng),
        "signal": np.clip(np.round(rng.normal(20, 3, len(ts))), 5, 31).astype(np.int64),
        "status": None,
    }
    readings = pl.DataFrame({"ts": ts, **columns}, schema=READINGS)
    history, carries_before, flow_before = _history(meter, seed, span, first, (level, swing), supplied)
    return _Recorded(readings, history, carries_before + carries, replacements, flow, flow_before)


def _history(
    meter: Meter, seed: int, span: _Span, first: float, pressure: tuple[float, float], supplied: Sequence[_Recorded]
) -> tuple[pl.DataFrame, tuple[Carry, ...], Floats]:
    """Hourly readings before the recent days, whose register is `first` at their beginning; its carries, its true flows."""
    step = timedelta(minutes=HISTORY_STEP_MIN)
    ts = pl.datetime_range(span.since, span.start, step, time_unit="us", time_zone="UTC", eager=True).alias("ts")
    if len(ts) < 2:
        return pl.DataFrame(schema=READINGS), (), np.empty(0)
    rng = np.random.default_rng([seed, zlib.crc32(meter.name.encode()), 2])
    seconds = ts.dt.epoch("s").to_numpy().astype(np.float64)
    if supplied:
        flow = np.sum([recorded.flow_before for recorded in supplied], axis=0) + UNMEASURED_M3H
    else:
        middles = (ts - step / 2).dt.convert_time_zone(span.zone.key)
        noise = np.clip(1 + 0.5 * _step_noise(meter, len(ts), rng), 0.05, None)
        flow = _flow(meter, middles, rng) * noise * _course(meter, seconds, rng)
    left = np.concatenate([np.cumsum((flow[1:] * HISTORY_STEP_MIN / 60)[::-1])[::-1], [0.0]])
    total = first - left
    turns = _turns(total, meter)
    columns = {
        "forward_m3": _shown(total - turns * meter.modulus_m3, meter),
        "reverse_m3": 0.0,
        "flow_m3h": None,
        "pressure_mpa": _pressure(meter, seconds, flow, *pressure, None, rng) if meter.has_pressure else None,
        "battery_v": None,
        "signal": None,
        "status": None,
    }
    readings = pl.DataFrame({"ts": ts, **columns}, schema=READINGS)[:-1]
    return readings, _carries(ts, turns, meter), flow


def _course(meter: Meter, seconds: Floats, rng: np.random.Generator) -> Floats:
    """How usage went in the months before the last instant, relative to it: a season, and a trend of the customer's own."""
    amplitude = SEASONS.get(meter.use, 0.08)
    years = (seconds - seconds[-1]) / (365.25 * 24 * HOUR_S)
    season = 1 + amplitude * np.cos(2 * np.pi * (seconds - _HIGH_SUMMER_S) / (365.25 * 24 * HOUR_S))
    return np.asarray((1 + rng.uniform(-0.05, 0.08)) ** years * season / season[-1])


_HIGH_SUMMER_S = datetime(2025, 7, 25, tzinfo=UTC).timestamp()
SEASONS = {"brewery": 0.2, "pool": 0.18, "housing": 0.1, "office": 0.15, "hotel": 0.12, "three_shift": 0.03, "day_shift": 0.04}
"""By use: how far high summer lies above the year's mean, as a share; others 0.08."""


def _turns(total_m3: Floats, meter: Meter) -> NDArray[np.int64]:
    """How often the register has rolled over at each total; below 0 before the totals begin."""
    return np.asarray(np.floor(np.round(total_m3 / meter.modulus_m3, 9)), dtype=np.int64)


def _carries(ts: pl.Series, turns: NDArray[np.int64], meter: Meter) -> tuple[Carry, ...]:
    return tuple(Carry(ts[int(i) + 1], meter.modulus_m3) for i in np.flatnonzero(np.diff(turns) > 0))


def _shown(volume_m3: Floats, meter: Meter) -> Floats:
    """The register's display: whole steps of its resolution, never more than the volume that flowed."""
    return np.asarray(np.round(np.floor(np.round(volume_m3 / meter.resolution_m3, 6)) * meter.resolution_m3, 3))


def _during(seconds: Floats, event: Event) -> Floats:
    """1 for the steps that end within the event, else 0."""
    end = np.inf if event.end is None else event.end.timestamp()
    return ((seconds > event.start.timestamp()) & (seconds <= end)).astype(np.float64)


def _step_noise(meter: Meter, count: int, rng: np.random.Generator) -> Floats:
    """Relative noise of each step: partly carried on from the step before, as taps that stay open are."""
    white = rng.standard_normal(count) * USES[meter.use].step_noise
    return np.asarray(0.7 * white + 0.5 * np.concatenate([[0.0], white[:-1]]))


def _flow(meter: Meter, middles: pl.Series, rng: np.random.Generator) -> Floats:
    """Mean flow (m³/h) of each step before its own noise, from the profile at the step's local middle."""
    use = USES[meter.use]
    dates = middles.dt.date()
    days = dates.unique().sort()
    kinds = np.array([_kind_of_day(day, meter.use) for day in days])
    factors = np.clip(1 + use.day_noise * rng.standard_normal(len(days)), 0.3, 2.0)
    index = days.search_sorted(dates).to_numpy().astype(np.int64)
    clock = (middles.dt.hour().cast(pl.Float64) + middles.dt.minute().cast(pl.Float64) / 60).to_numpy()
    shapes = np.array(
        [np.interp(clock, np.arange(24) + 0.5, shape, period=24) for shape in (use.weekday, use.weekend, use.holiday)]
    )
    scale = meter.mean_m3h / np.mean(use.weekday)
    return np.asarray(shapes[kinds[index], np.arange(len(clock))] * factors[index] * scale)


def _kind_of_day(day: date, use: str) -> int:
    """0 weekday, 1 weekend, 2 holiday. Schools have their long holidays too."""
    spring = SPRING_FESTIVAL.get(day.year)
    if spring is not None and 0 <= (day - spring).days < 8:
        return 2
    month_day = (day.month, day.day)
    if month_day == (1, 1) or (5, 1) <= month_day <= (5, 5) or (10, 1) <= month_day <= (10, 7):
        return 2
    if use == "school" and ((7, 10) <= month_day <= (8, 31) or (1, 20) <= month_day <= (2, 20)):
        return 2
    return 1 if day.weekday() >= 5 else 0


def _pressure(
    meter: Meter, seconds: Floats, flow: Floats, level: float, swing: float, drop: Event | None, rng: np.random.Generator
) -> Floats:
    """Pressure (MPa): a site's own level, lower where its flow is high, with a daily swing and a sensor's noise."""
    load = flow / (3 * meter.mean_m3h)
    wave = swing * np.cos(2 * np.pi * (seconds - 3 * HOUR_S) / (24 * HOUR_S))
    pressure = np.clip(level + wave - 0.05 * load**1.85 + 0.003 * rng.standard_normal(len(flow)), 0.18, 0.40)
    if drop is not None:
        low = _during(seconds, drop) > 0
        pressure[low] = 0.118 + 0.004 * rng.standard_normal(int(low.sum()))
    return np.asarray(np.round(pressure, 3))


def _battery(seconds: Floats, low: Event | None, rng: np.random.Generator) -> Floats:
    """Battery (V): a lithium cell that loses little, or one at its end."""
    volts = 3.62 - 1e-9 * (seconds - seconds[0]) + 0.004 * rng.standard_normal(len(seconds))
    if low is not None:
        volts -= 0.45 * _during(seconds, low)
    return np.asarray(np.round(volts, 2))


PERIODS = 12
"""Billing periods a meter without a history, the last of them ending at or just before the fleet's last midnight."""

LAST_CYCLE_DAY = 28


class Period(NamedTuple):
    """A billing period in local civil dates; `end` is exclusive and the day of the read."""

    start: date
    end: date


def periods(fleet: Fleet, months: int = 1) -> list[Period]:
    """The last `PERIODS` billing periods up to the fleet's last midnight, or all within its history, oldest first.

    `months`: length of a period; the last one ends at the same day whatever it is.
    """
    until = fleet.until.astimezone(fleet.zone).date()
    since = fleet.since.astimezone(fleet.zone).date()
    end = until.replace(day=min(until.day, LAST_CYCLE_DAY))
    ends = [end]
    while (before := (ends[-1].replace(day=1) - timedelta(days=1)).replace(day=end.day)) >= since or (
        not fleet.by_hand and len(ends) <= PERIODS
    ):
        ends.append(before)
    ends = ends[::months]
    ends.reverse()
    return [Period(start, end) for start, end in itertools.pairwise(ends)]


def days_after(fleet: Fleet, day: date) -> int:
    """Local days from the fleet's last midnight to that of `day` (negative: before)."""
    return (day - fleet.until.astimezone(fleet.zone).date()).days


def registry(fleet: Fleet) -> dict[str, pl.DataFrame]:
    """The registry's tables by file name, with the columns of docs/data-flow.md."""
    return {
        "terminals": pl.DataFrame(
            [row for meter in fleet.meters for row in _terminal_rows(meter, fleet)], infer_schema_length=None
        ),
        "replacements": fleet.replacements.with_columns(
            pl.Series("replaced_at", [at.astimezone(fleet.zone).isoformat() for at in fleet.replacements["replaced_at"]])
        ),
        "customers": pl.DataFrame([_customer_row(number, meter) for number, meter in sorted(first_meters(fleet.meters).items())]),
        "relations": pl.DataFrame(
            [row for meter in fleet.meters for row in _relation_rows(meter, fleet)], infer_schema_length=None
        ),
        "vocabulary": _vocabulary(fleet),
        "points": pl.DataFrame([_point_row(meter) for meter in fleet.meters], infer_schema_length=None),
    }


def first_meters(meters: Sequence[Meter]) -> dict[int, Meter]:
    """By number of the customer: the first of its meters."""
    return {meter.customer: meter for meter in reversed(meters) if meter.customer}


def _terminal_rows(meter: Meter, fleet: Fleet) -> list[dict[str, object]]:
    """The meter's terminal, and the one that it had before the recent days."""
    row = _terminal_row(meter)
    if fleet.since == fleet.at(0) or meter.earlier_terminal == meter.terminal:
        return [row]
    changed = fleet.at(0).astimezone(fleet.zone).date()
    last = (changed - timedelta(days=1)).isoformat()
    earlier = {"terminal": meter.earlier_terminal, "step_min": HISTORY_STEP_MIN, "removed_on": last}
    return [row | earlier, row | {"installed_on": changed.isoformat()}]


def _terminal_row(meter: Meter) -> dict[str, object]:
    rates = dict(zip(("q1_m3h", "q2_m3h", "q3_m3h", "q4_m3h"), map(float, meter.rates_m3h), strict=True))
    return {
        "terminal": meter.terminal,
        "meter": meter.name,
        "customer_no": meter.customer_no,
        "protocol": PROTOCOL,
        "dn_mm": meter.dn_mm,
        "technology": meter.technology,
        **rates,
        "digits": meter.digits,
        "resolution_m3": float(meter.resolution_m3),
        "step_min": meter.step_min,
        "reads": "register",
        "pressure_low_mpa": PRESSURE_LOW_MPA if meter.has_pressure else None,
        "pressure_high_mpa": PRESSURE_HIGH_MPA if meter.has_pressure else None,
        "installed_on": INSTALLED_ON.isoformat(),
        "removed_on": None,
        "source": meter.source,
        "vendor": meter.vendor,
    }


def _point_row(meter: Meter) -> dict[str, object]:
    """Where the meter lies: in the district of its line, the higher the further north."""
    place = zlib.crc32(meter.name.encode())
    east, north = place % 1000 / 1000, place // 1000 % 1000 / 1000
    line = int(meter.line[1:])
    return {
        "meter": meter.name,
        "elevation_m": round(4 + 2.5 * line + 6 * north, 1),
        "latitude": round(29.84 + 0.012 * line + 0.01 * north, 6),
        "longitude": round(121.53 + {"east": 0.05, "centre": 0.02, "north": 0.0}[meter.region] + 0.02 * east, 6),
        "datum": "CGCS2000",
        "node": f"J{meter.number:03d}",
        "inlet_of": meter.inlet_of,
        "runs_always": "yes" if meter.use in RUNS_ALWAYS else "no",
    }


RUNS_ALWAYS = {"three_shift", "brewery", "hospital", "supply"}
"""Uses that take water in the night as well."""


def _customer_row(number: int, meter: Meter) -> dict[str, str | None]:
    customer = CUSTOMERS[number]
    return {
        "customer_no": meter.customer_no,
        "name": customer.name,
        "industry": customer.industry,
        "region": meter.region,
        "address": customer.address,
    }


def _relation_rows(meter: Meter, fleet: Fleet) -> list[dict[str, str | None]]:
    """Where a meter belongs. `valid_to` is exclusive; the market moved to another line in mid-data, two groups may overlap."""
    moved = fleet.at(fleet.days // 2).astimezone(fleet.zone).date().isoformat()
    begun = INSTALLED_ON.isoformat()
    lines: list[tuple[str, str, str | None]] = (
        [(meter.line, begun, None)] if meter.use != "market" else [("L6", begun, moved), (meter.line, moved, None)]
    )
    groups = [code for code, members in _GROUPED.items() if meter.number in members]
    rows: list[tuple[str, str, str, str | None]] = [("network", "N1" if meter.region == "east" else "N2", begun, None)]
    rows += [("line", *line) for line in lines]
    if meter.customer:
        rows.append(("industry", CUSTOMERS[meter.customer].industry, begun, None))
    rows.append(("region", meter.region, begun, None))
    rows += [("group", code, begun, None) for code in groups] + [("book", meter.book_no, begun, None)]
    columns = ("meter", "kind", "code", "valid_from", "valid_to")
    return [dict(zip(columns, (meter.name, *row), strict=True)) for row in rows]


_GROUPED = {"G1": {1, 2, 11, 17}, "G2": {4, 5, 6, 18, 19, 20}, "G3": {2, 4, 11, 20}}


def _vocabulary(fleet: Fleet) -> pl.DataFrame:
    rows = [(kind, code, zh, en) for kind, words in VOCABULARY.items() for code, (zh, en) in words.items()]
    books = sorted({meter.book_no for meter in fleet.every_meter})
    rows += [("book", code, f"抄表册 {code[1:]}", f"Reading book {code[1:]}") for code in books]
    return pl.DataFrame(rows, schema=["kind", "code", "zh", "en"], orient="row")

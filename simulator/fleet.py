"""The customers and their water use: who they are, which meter they have, what that meter recorded.

Here belong the meters' true readings, with what happens at the customer (leak, reverse flow, meter change, roll-over, low
pressure). What goes wrong between meter and centre is in `faults.py`; how it is sent in `terminal.py`.
"""

import itertools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.contract.schema import FIELDS, TIMESTAMP

Floats = NDArray[np.float64]

MIN_DAYS = 4
"""Fewer days have no room for the planned events and faults."""

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

Q3_M3H: dict[str, dict[int, float]] = {
    "rotary_vane": {40: 16, 50: 25},
    "woltmann": {50: 25, 65: 40, 80: 63, 100: 100, 125: 160, 150: 250, 200: 400},
    "ultrasonic": {50: 25, 65: 40, 80: 63, 100: 100, 125: 160, 150: 250, 200: 400},
    "electromagnetic": {50: 40, 65: 63, 80: 100, 100: 160, 125: 250, 150: 400, 200: 630},
}
"""Usual Q3 (m³/h) by technology and DN: the lower value of each cell of docs/domain.md#meter-flow-rates."""

R_RATIO = {"rotary_vane": 80, "woltmann": 100, "ultrasonic": 250, "electromagnetic": 400}
"""Q3/Q1 by technology; Q2 = 1.6 Q1 and Q4 = 1.25 Q3 (docs/domain.md#meter-flow-rates)."""


@dataclass(frozen=True, slots=True)
class Meter:
    """One metering point: its customer's number, its place, its meter, its terminal, and how water is used there."""

    number: int
    customer: int
    use: str
    mean_m3h: float
    technology: str
    dn_mm: int
    region: str
    line: str
    step_min: int = 15
    digits: int = 8
    resolution_m3: float = 0.1
    has_pressure: bool = True

    @property
    def terminal(self) -> str:
        return f"{31010000 + self.number:010d}"

    @property
    def name(self) -> str:
        """The utility's own name of the meter."""
        return f"M{self.number:03d}"

    @property
    def customer_no(self) -> str:
        return f"K{10000 + self.customer}"

    @property
    def modulus_m3(self) -> float:
        return float(round(10**self.digits * self.resolution_m3, 3))

    @property
    def rates_m3h(self) -> tuple[float, float, float, float]:
        """Q1, Q2, Q3, Q4."""
        q3 = Q3_M3H[self.technology][self.dn_mm]
        q1 = q3 / R_RATIO[self.technology]
        return round(q1, 4), round(1.6 * q1, 4), q3, 1.25 * q3


class Customer(NamedTuple):
    """A customer in the billing system."""

    name: str
    industry: str
    address: str


CUSTOMERS: dict[int, Customer] = {
    1: Customer("东港机械制造有限公司", "manufacture", "东港路 18 号"),
    2: Customer("华纶印染有限公司", "manufacture", "工业大道 66 号"),
    3: Customer("滨江国际大酒店", "hotel", "滨江路 1 号"),
    4: Customer("市第一人民医院", "hospital", "健康路 120 号"),
    5: Customer("市实验中学", "school", "学府路 9 号"),
    6: Customer("金融中心大厦", "office", "世纪大道 200 号"),
    7: Customer("阳光花园小区", "housing", "阳光路 33 弄"),
    8: Customer("城北农贸市场", "market", "北市街 5 号"),
    9: Customer("地铁三号线项目部", "construction", "环城北路工地"),
    10: Customer("雪峰啤酒有限公司", "food", "工业大道 101 号"),
    11: Customer("洁雅洗涤服务有限公司", "laundry", "清水路 77 号"),
    12: Customer("老棉纺厂宿舍", "housing", "棉纺路 12 弄"),
    13: Customer("科创产业园", "office", "创新路 8 号"),
    14: Customer("港务集团第二码头", "transport", "港口路 2 号"),
    15: Customer("高地雅苑小区", "housing", "高岗路 21 弄"),
    16: Customer("晨光乳业有限公司", "food", "工业大道 88 号"),
    17: Customer("市火车站", "transport", "站前广场 1 号"),
    18: Customer("市游泳馆", "sport", "体育路 15 号"),
    19: Customer("东海大学", "school", "大学路 100 号"),
}

METERS: tuple[Meter, ...] = (
    Meter(1, 1, "day_shift", 14, "electromagnetic", 100, "east", "L1"),
    Meter(2, 2, "three_shift", 120, "electromagnetic", 200, "east", "L1", step_min=5, resolution_m3=1),
    Meter(3, 3, "hotel", 9, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(4, 4, "hospital", 38, "electromagnetic", 150, "centre", "L3"),
    Meter(5, 4, "hospital", 16, "electromagnetic", 100, "centre", "L4"),
    Meter(6, 5, "school", 6, "ultrasonic", 80, "centre", "L4", resolution_m3=0.01),
    Meter(7, 6, "office", 5, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(8, 7, "housing", 26, "ultrasonic", 150, "north", "L5"),
    Meter(9, 8, "market", 3, "rotary_vane", 50, "north", "L5", has_pressure=False),
    Meter(10, 9, "site", 5, "woltmann", 80, "north", "L6", has_pressure=False),
    Meter(11, 10, "brewery", 45, "electromagnetic", 150, "east", "L2", step_min=5),
    Meter(12, 11, "laundry", 7, "ultrasonic", 65, "north", "L6", resolution_m3=0.01),
    Meter(13, 12, "housing", 1.1, "woltmann", 150, "north", "L5"),
    Meter(14, 13, "office", 8, "ultrasonic", 100, "east", "L2", resolution_m3=0.01),
    Meter(15, 14, "three_shift", 12, "electromagnetic", 100, "east", "L2"),
    Meter(16, 15, "housing", 11, "ultrasonic", 100, "north", "L6"),
    Meter(17, 16, "day_shift", 20, "woltmann", 100, "east", "L1"),
    Meter(18, 17, "station", 22, "ultrasonic", 125, "centre", "L4", digits=6),
    Meter(19, 18, "pool", 6, "ultrasonic", 80, "centre", "L3", resolution_m3=0.01),
    Meter(20, 19, "school", 60, "electromagnetic", 200, "north", "L5", step_min=5, resolution_m3=1),
)

OVERSIZED, LEAK, REVERSE, LOW_PRESSURE, REPLACED, ROLLOVER, LOW_BATTERY = 13, 14, 15, 16, 17, 18, 19
"""Numbers of the meters with something to find."""

LEAK_M3H = 1.8
REVERSE_M3H = 6.0
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
    """A fleet over a span of local days.

    `readings[number]`: what the meter recorded: `ts` (UTC) and `schema.FIELDS`, from the first local midnight to `until`, both
    included. `carries[number]`: how its register continues over roll-over and replacement. `replacements`: registry rows.
    """

    seed: int
    days: int
    until: datetime
    zone: ZoneInfo
    meters: tuple[Meter, ...]
    readings: Mapping[int, pl.DataFrame]
    carries: Mapping[int, tuple[Carry, ...]]
    replacements: pl.DataFrame
    events: tuple[Event, ...]

    def at(self, day: int, hour: float = 0.0) -> datetime:
        """Local wall-clock `hour` of the day with that index (0 is the first), as UTC."""
        return local(self.until, self.zone, day - self.days, hour)


def local(until: datetime, zone: ZoneInfo, days: int, hour: float = 0.0) -> datetime:
    """Local wall-clock `hour` of the day `days` after `until` (a local midnight), as UTC."""
    midnight = until.astimezone(zone).replace(tzinfo=None) + timedelta(days=days, hours=hour)
    return midnight.replace(tzinfo=zone).astimezone(ZoneInfo("UTC"))


def make(seed: int, days: int, until: datetime, zone: ZoneInfo) -> Fleet:
    """The fleet of `METERS` over the `days` local days before `until`, a local midnight of `zone`.

    The same arguments give the same fleet; a meter's noise hangs on the seed and its own name only.
    Raises `ValueError` where `until` is no local midnight or `days` is below `MIN_DAYS`.
    """
    if until.tzinfo is None or until.astimezone(zone).time() != datetime.min.time():
        raise ValueError(f"until = {until.isoformat()}: expected a local midnight of {zone.key}, with its offset")
    if days < MIN_DAYS:
        raise ValueError(f"days = {days}: expected at least {MIN_DAYS}, so that every planned fault has its place")
    start, until = local(until, zone, -days), until.astimezone(ZoneInfo("UTC"))
    events = _events(days, until, zone)
    made = {meter.number: _recorded(meter, seed, start, until, zone, events) for meter in METERS}
    return Fleet(
        seed=seed,
        days=days,
        until=until,
        zone=zone,
        meters=METERS,
        readings={number: recorded.readings for number, recorded in made.items()},
        carries={number: recorded.carries for number, recorded in made.items()},
        replacements=pl.concat([recorded.replacements for recorded in made.values()]),
        events=events,
    )


def _events(days: int, until: datetime, zone: ZoneInfo) -> tuple[Event, ...]:
    def at(day: int, hour: float) -> datetime:
        return local(until, zone, day - days, hour)

    middle, leak = days // 2, max(days // 2, days - 7)
    changed = at(middle, 10 + 7 / 60)
    return (
        Event(LEAK, "leak", at(leak, 1), None),
        Event(REVERSE, "reverse", at(middle, 2), at(middle, 4)),
        Event(LOW_PRESSURE, "low_pressure", at(days - 1, 19), None),
        Event(REPLACED, "replacement", changed, changed),
        Event(ROLLOVER, "rollover", at(middle, 13), None),
        Event(LOW_BATTERY, "low_battery", at(days - 1, 6), None),
    )


class _Recorded(NamedTuple):
    readings: pl.DataFrame
    carries: tuple[Carry, ...]
    replacements: pl.DataFrame


REPLACEMENT: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "replaced_at": TIMESTAMP,
    "old_final_m3": pl.Float64(),
    "new_initial_m3": pl.Float64(),
}


def _recorded(meter: Meter, seed: int, start: datetime, until: datetime, zone: ZoneInfo, events: tuple[Event, ...]) -> _Recorded:
    rng = np.random.default_rng([seed, zlib.crc32(meter.name.encode())])
    mine = {event.kind: event for event in events if event.number == meter.number}
    step = timedelta(minutes=meter.step_min)
    ts = pl.datetime_range(start, until, step, time_unit="us", time_zone="UTC", eager=True).alias("ts")
    seconds = ts.dt.epoch("s").to_numpy().astype(np.float64)
    middles = (ts - step / 2).dt.convert_time_zone(zone.key)
    flow = _flow(meter, middles, rng) * np.clip(1 + _step_noise(meter, len(ts), rng), 0.05, None)
    if "leak" in mine:
        flow += LEAK_M3H * _during(seconds, mine["leak"])
    backwards = REVERSE_M3H * _during(seconds, mine["reverse"]) if "reverse" in mine else np.zeros(len(ts))
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
    turns = np.floor(np.round(total / meter.modulus_m3, 9)).astype(np.int64)
    carries += tuple(Carry(ts[int(i) + 1], meter.modulus_m3) for i in np.flatnonzero(np.diff(turns) > 0))
    instant = np.round((flow - backwards) * np.clip(1 + 0.02 * rng.standard_normal(len(ts)), 0.9, 1.1), 3)
    columns = {
        "forward_m3": _shown(total - turns * meter.modulus_m3, meter),
        "reverse_m3": _shown(back, meter),
        "flow_m3h": instant,
        "pressure_mpa": _pressure(meter, seconds, flow, mine.get("low_pressure"), rng) if meter.has_pressure else None,
        "battery_v": _battery(seconds, mine.get("low_battery"), rng),
        "signal": np.clip(np.round(rng.normal(20, 3, len(ts))), 5, 31).astype(np.int64),
        "status": None,
    }
    readings = pl.DataFrame({"ts": ts, **columns}, schema={"ts": TIMESTAMP, **{field.name: field.dtype for field in FIELDS}})
    return _Recorded(readings, carries, replacements)


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


def _pressure(meter: Meter, seconds: Floats, flow: Floats, drop: Event | None, rng: np.random.Generator) -> Floats:
    """Pressure (MPa): a site's own level, lower where its flow is high, with a daily swing and a sensor's noise."""
    level, swing = rng.uniform(0.27, 0.36), rng.uniform(0.01, 0.03)
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
"""Billing periods a meter, the last of them ending at or just before the fleet's last midnight."""

LAST_CYCLE_DAY = 28


class Period(NamedTuple):
    """A billing period in local civil dates; `end` is exclusive and the day of the read."""

    start: date
    end: date


def periods(fleet: Fleet) -> list[Period]:
    """The last `PERIODS` billing periods up to the fleet's last midnight, oldest first."""
    until = fleet.until.astimezone(fleet.zone).date()
    end = until.replace(day=min(until.day, LAST_CYCLE_DAY))
    ends = [end]
    while len(ends) <= PERIODS:
        ends.append((ends[-1].replace(day=1) - timedelta(days=1)).replace(day=end.day))
    ends.reverse()
    return [Period(start, end) for start, end in itertools.pairwise(ends)]


def days_after(fleet: Fleet, day: date) -> int:
    """Local days from the fleet's last midnight to that of `day` (negative: before)."""
    return (day - fleet.until.astimezone(fleet.zone).date()).days


INDUSTRIES = {
    "manufacture": ("制造业", "Manufacture"),
    "hotel": ("宾馆酒店", "Hotel"),
    "hospital": ("医疗卫生", "Hospital"),
    "school": ("教育", "Education"),
    "office": ("办公商务", "Offices"),
    "housing": ("居民小区", "Housing"),
    "market": ("集贸市场", "Market"),
    "construction": ("建筑施工", "Construction"),
    "food": ("食品饮料", "Food and drink"),
    "laundry": ("洗涤", "Laundry"),
    "transport": ("交通运输", "Transport"),
    "sport": ("体育场馆", "Sport"),
}
REGIONS = {"east": ("东区", "East"), "centre": ("中区", "Centre"), "north": ("北区", "North")}
NETWORKS = {"N1": ("一水厂管网", "Waterworks 1 network"), "N2": ("二水厂管网", "Waterworks 2 network")}
LINES = {
    "L1": ("工业大道 DN600", "Industry Avenue DN600"),
    "L2": ("港口路 DN500", "Port Road DN500"),
    "L3": ("滨江路 DN400", "Riverside Road DN400"),
    "L4": ("学府路 DN400", "College Road DN400"),
    "L5": ("北市街 DN300", "North Market Street DN300"),
    "L6": ("环城北路 DN300", "North Ring Road DN300"),
}
GROUPS = {"G1": ("重点工业用户", "Key industry"), "G2": ("公共机构", "Public bodies"), "G3": ("节水考核用户", "Saving targets")}
TECHNOLOGIES = {
    "rotary_vane": ("旋翼式", "Rotary vane"),
    "woltmann": ("水平螺翼式", "Woltmann"),
    "ultrasonic": ("超声波", "Ultrasonic"),
    "electromagnetic": ("电磁", "Electromagnetic"),
}
VOCABULARY = {
    "industry": INDUSTRIES,
    "region": REGIONS,
    "network": NETWORKS,
    "line": LINES,
    "group": GROUPS,
    "technology": TECHNOLOGIES,
}
INSTALLED_ON = date(2020, 6, 1)


def book_of(meter: Meter) -> str:
    """The meter-reading book of a meter: one a region and line."""
    return f"B{int(meter.line[1:]):02d}"


def registry(fleet: Fleet) -> dict[str, pl.DataFrame]:
    """The registry's tables by file name, with the columns of docs/data-flow.md."""
    return {
        "terminals": pl.DataFrame([_terminal_row(meter) for meter in fleet.meters]),
        "replacements": fleet.replacements.with_columns(
            pl.Series("replaced_at", [at.astimezone(fleet.zone).isoformat() for at in fleet.replacements["replaced_at"]])
        ),
        "customers": pl.DataFrame([_customer_row(number, fleet) for number in CUSTOMERS]),
        "relations": pl.DataFrame(
            [row for meter in fleet.meters for row in _relation_rows(meter, fleet)], infer_schema_length=None
        ),
        "vocabulary": _vocabulary(fleet),
    }


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
    }


def _customer_row(number: int, fleet: Fleet) -> dict[str, str]:
    customer = CUSTOMERS[number]
    meter = next(meter for meter in fleet.meters if meter.customer == number)
    return {
        "customer_no": meter.customer_no,
        "name": customer.name,
        "industry": customer.industry,
        "region": meter.region,
        "address": customer.address,
    }


def _relation_rows(meter: Meter, fleet: Fleet) -> list[dict[str, str | None]]:
    """Where a meter belongs. `valid_to` is exclusive; the market moved to another line in mid-data, two groups may overlap."""
    industry = CUSTOMERS[meter.customer].industry
    moved = fleet.at(fleet.days // 2).astimezone(fleet.zone).date().isoformat()
    begun = INSTALLED_ON.isoformat()
    lines: list[tuple[str, str, str | None]] = (
        [(meter.line, begun, None)] if meter.use != "market" else [("L6", begun, moved), (meter.line, moved, None)]
    )
    groups = [code for code, members in _GROUPED.items() if meter.number in members]
    rows: list[tuple[str, str, str, str | None]] = [("network", "N1" if meter.region == "east" else "N2", begun, None)]
    rows += [("line", *line) for line in lines]
    rows += [("industry", industry, begun, None), ("region", meter.region, begun, None)]
    rows += [("group", code, begun, None) for code in groups] + [("book", book_of(meter), begun, None)]
    columns = ("meter", "kind", "code", "valid_from", "valid_to")
    return [dict(zip(columns, (meter.name, *row), strict=True)) for row in rows]


_GROUPED = {"G1": {1, 2, 11, 17}, "G2": {4, 5, 6, 18, 19, 20}, "G3": {2, 4, 11, 20}}


def _vocabulary(fleet: Fleet) -> pl.DataFrame:
    rows = [(kind, code, zh, en) for kind, words in VOCABULARY.items() for code, (zh, en) in words.items()]
    books = sorted({book_of(meter) for meter in fleet.meters})
    rows += [("book", code, f"抄表册 {code[1:]}", f"Reading book {code[1:]}") for code in books]
    return pl.DataFrame(rows, schema=["kind", "code", "zh", "en"], orient="row")

"""Units of the figures: the raw readings and the facts of a local day become the kernel's arrays, its results become tables.

`unit_interval`, `unit_hour`, `flow_histogram` (compact: one row a meter and day), `unit_day` and `reverse_interval` hold all that
needs the resolution of intervals; every mart starts from them, or from the views `interval_reading` and `clock_hour`. Volumes are
integers of nanolitres (`_nl`), registers of microlitres (`_ul`), `NULL` where not known. An hour of which only pressure is known
has no `coverage`.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from assets import calendar, kernel
from assets.kernel import MISSING, PER_M3, Changes, Day, Facts, Flag, Result, chain, raw
from assets.kernel.unit import (
    HOUR_US,
    Days,
    Floats,
    Histogram,
    Hours,
    Indices,
    Intervals,
    Ints,
    Mask,
    Reversals,
    Zones,
    bounds_of,
)
from assets.kernel.zones import ZONES
from ingest_daemon.contract.schema import TIMESTAMP

PA_PER_MPA = 1e6

CLOCK_US = 6 * HOUR_US
"""No zone changes its clock twice within this time."""

LOOKBACK = timedelta(days=8)
"""A register that begins a day at exactly 0, or makes a great rise for good: held against its readings of these days before."""

LookBack = Callable[[list[str], datetime, datetime], pl.DataFrame]
"""Readings of some terminals between two instants."""


INTERVAL_READING = """
create or replace view interval_reading as
with rows as (
    select
        meter,
        day,
        starts_at,
        unnest(end_ms) as end_ms,
        unnest(length_ms) as length_ms,
        unnest(volume_nl) / 1e12 as volume_m3,
        unnest(reverse_nl) / 1e12 as reverse_m3,
        unnest(pressure_pa) / 1e6 as pressure_mpa,
        unnest(register_ul) / 1e9 as register_m3,
        unnest(device_flow_m3h) as device_flow_m3h,
        unnest(flags) as flags
    from unit_interval
)

select
    meter,
    starts_at + to_milliseconds(end_ms - length_ms) as interval_start,
    starts_at + to_milliseconds(end_ms) as interval_end,
    day,
    volume_m3,
    reverse_m3,
    case when flags & 1 = 0 and length_ms > 0 then volume_m3 / (length_ms / 3.6e6) end as flow_m3h,
    pressure_mpa,
    register_m3,
    device_flow_m3h,
    length_ms / 1e3 as seconds,
    flags
from rows"""
"""The compact intervals of `unit_interval` as rows."""

CLOCK_HOUR = """
create or replace view clock_hour as
select
    meter,
    starts_at + to_milliseconds(unnest(start_ms)) as hour_start,
    day,
    unnest(volume_nl) as volume_nl,
    unnest(reverse_nl) as reverse_nl,
    unnest(coverage) as coverage,
    unnest(clean) as clean,
    unnest(pressure_sum_pa) as pressure_sum_pa,
    unnest(pressure_count) as pressure_count,
    unnest(pressure_min_pa) as pressure_min_pa
from unit_hour"""
"""The compact hours of `unit_hour` as rows."""


class Tables(NamedTuple):
    """What a unit adds to the tables of the same names."""

    unit_interval: pa.Table
    unit_hour: pa.Table
    unit_day: pa.Table
    flow_histogram: pa.Table
    reverse_interval: pa.Table


LAST: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "reading_at": TIMESTAMP,
    "register_m3": pl.Float64(),
    "reverse_m3": pl.Float64(),
    "flow_m3h": pl.Float64(),
    "pressure_mpa": pl.Float64(),
    "pressure_at": TIMESTAMP,
    "terminal": pl.String(),
}
"""The last reading of a meter in a day as the device gave it, and the last pressure of the day that can be believed."""


class Unit(NamedTuple):
    """What a unit gives: its rows of the tables, and the last reading of each meter (`LAST`)."""

    tables: Tables
    last: pl.DataFrame


COLUMNS = ("terminal", "ts", "forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa")
"""What of a reading the figures need."""


class Criteria(NamedTuple):
    """The criteria of a day that the kernel goes by, in the order of `CRITERIA`."""

    pressure_low_mpa: float
    pressure_drop_mpa: float
    pressure_step_share: float
    night_start_h: float
    night_end_h: float


CRITERIA = ("pressure.low_mpa", "pressure.drop_mpa", "pressure.step_share", "night.start_h", "night.end_h")
"""Their names in `sql/rules/criteria.csv`."""


class Stretch:
    """Some meters over consecutive days in which their facts do not change, their readings as arrays: `unit` computes a day."""

    def __init__(
        self,
        readings: pl.DataFrame,
        meters: pl.DataFrame,
        replacements: pl.DataFrame,
        conflicts: pl.DataFrame,
        zone: ZoneInfo,
        max_hole: timedelta,
    ) -> None:
        """`readings`: `COLUMNS` of `schema.READING`, one row a (terminal, ts), sorted by both, covering the days and `max_hole`
        to either side. `meters`: the facts, a row a (terminal, meter) with `terminal_from`, `terminal_to` (null: unbounded).
        `replacements`: `meter`, `replaced_at` or `replaced_on`, `old_final_m3`, `new_initial_m3`. `conflicts`: `terminal`, `ts`.
        """
        of_meters = meters.unique("meter", keep="first", maintain_order=True).sort("meter")
        self._meters, self._conflicts, self._zone, self._hole_us = meters, conflicts, zone, _us(max_hole)
        self._names = of_meters["meter"]
        self._facts = _facts(of_meters)
        self._changes = _changes(replacements, self._names, zone)
        self._own = self._readings(readings.select(COLUMNS))

    def unit(self, day: date, criteria: Criteria, look_back: LookBack) -> Unit:
        """The unit of a day."""
        edges = edges_of(day, self._zone)
        judged = _Judged(
            self._facts._replace(pressure_low_pa=_limits_pa(self._facts.pressure_low_pa, criteria)),
            _criteria_of(day, criteria, self._zone),
        )
        first, last = int(edges[0]) - self._hole_us, int(edges[-1]) + self._hole_us
        changes = Changes._make(
            column[(self._changes.until_us >= first) & (self._changes.at_us <= last)] for column in self._changes
        )
        within = raw.window(self._own.raw.at_us, self._own.bounds, first, last)
        doubted, wider = self._wider(within, calendar.instant(first), look_back)
        within.ends[doubted] = within.begins[doubted]
        found = [self._unit(day, edges, judged, changes, self._own, within)]
        if wider is not None:
            others = self._readings(wider)
            found.append(self._unit(day, edges, judged, changes, others, raw.Window(others.bounds[:-1], others.bounds[1:])))
        return Unit(joined(unit.tables for unit in found), pl.concat(unit.last for unit in found))

    def _unit(
        self, day: date, edges: Ints, judged: "_Judged", changes: Changes, own: "_MeterReadings", within: raw.Window
    ) -> Unit:
        readings, places = raw.taken(own.raw, within, judged.facts, own.clock)
        result = kernel.compute(readings, judged.facts, changes, Day(edges), judged.criteria, self._hole_us)
        return Unit(_tables(result, self._names, day, edges), _last(result.days, own.frame, places, self._names, day))

    def _wider(self, within: raw.Window, start: datetime, look_back: LookBack) -> tuple[Ints, pl.DataFrame | None]:
        """Meters whose readings of the day are to be held against earlier ones, and all these readings; else no meter."""
        zero, risen = raw.doubtful(self._own.raw, within, self._facts)
        meters = np.union1d(zero, risen)
        nothing = np.empty(0, np.int64), None
        if not len(meters):
            return nothing
        names = self._meters.filter(pl.col("meter").is_in(self._names.gather(meters).implode()))
        is_risen = pl.col("terminal").is_in(
            names.filter(pl.col("meter").is_in(self._names.gather(risen).implode()))["terminal"].implode()
        )
        earlier = look_back(names["terminal"].to_list(), start - LOOKBACK, start).filter(pl.col("ts") < start)
        last = earlier.filter((pl.col("forward_m3") > 0) & ~is_risen).sort("ts").group_by("terminal", maintain_order=True).last()
        further = pl.concat(part.select(COLUMNS) for part in (last, earlier.filter(is_risen)))
        if further.is_empty():
            return nothing
        own = np.concatenate([np.arange(within.begins[meter], within.ends[meter]) for meter in meters])
        return meters, pl.concat([self._own.frame[own], further]).sort("terminal", "ts")

    def _readings(self, readings: pl.DataFrame) -> "_MeterReadings":
        """The readings of these meters, by meter and time."""
        rows = assigned(readings, self._meters, {meter: index for index, meter in enumerate(self._names)})
        frame = readings if rows.places is None else readings[rows.places]
        forward, reverse, flow, pressure = (frame[name].to_numpy(writable=True) for name in COLUMNS[2:])
        contradicted = np.zeros(len(rows.at_us), bool)
        if self._conflicts.height:
            contradicted = _contradicted(frame, self._conflicts)
        bounds = bounds_of(rows.meter, len(self._names))
        return _MeterReadings(
            frame, raw.Raw(rows.at_us, forward, reverse, flow, pressure, contradicted), bounds, _clock(rows.at_us, self._zone)
        )


class _MeterReadings(NamedTuple):
    """Readings by (meter, time) as the store gave them and as arrays, where those of each meter begin and end, and the clock."""

    frame: pl.DataFrame
    raw: raw.Raw
    bounds: Ints
    clock: raw.Clock


def joined(parts: Iterable[Tables]) -> Tables:
    """The rows of all of them."""
    return Tables._make(pa.concat_tables(tables) for tables in zip(*parts, strict=True))


def edges_of(day: date, zone: ZoneInfo) -> Ints:
    """The day's start, the starts of its other local clock hours and its end (µs since 1970 UTC).

    A clock hour begins where the local time is a whole hour: 23 to 25 in a day, also where the clock changes by half an hour.
    """
    start, end = calendar.midnight(day, zone), calendar.midnight(day + timedelta(days=1), zone)
    # Whole quarters of an hour are enough: every zone's offset is one.
    quarters = (start + timedelta(minutes=15 * count) for count in range(1, int((end - start) / timedelta(minutes=15))))
    whole = [instant for instant in quarters if instant.astimezone(zone).minute == 0]
    return np.array([calendar.microseconds(instant) for instant in (start, *whole, end)], np.int64)


class Rows(NamedTuple):
    """Readings of meters, sorted by (meter, time): the place of each among the raw ones (None: all as they are), the index of its
    meter, its time (µs since 1970 UTC)."""

    places: Ints | None
    meter: Indices
    at_us: Ints


def assigned(readings: pl.DataFrame, meters: pl.DataFrame, place: dict[str, int]) -> Rows:
    """Readings of registered terminals with their meter, as the assignments of that time say. Sorted by (terminal, time)."""
    at_us = readings["ts"].to_physical().to_numpy(writable=True)
    if not len(at_us):
        return Rows(None, np.empty(0, np.int32), at_us)
    begin, end = pl.col("terminal_from").dt.timestamp("us"), pl.col("terminal_to").dt.timestamp("us")
    # Nearly every terminal measures one meter all the time; the others are taken one by one.
    ends_within = (begin > int(at_us.min())) | (end <= int(at_us.max()))
    is_cut = ends_within.fill_null(False) | pl.col("terminal").is_duplicated()
    assigned = meters.select("terminal", "meter", begin=begin, end=end, is_cut=is_cut)
    whole = {name: place[meter] for name, meter in assigned.filter(~pl.col("is_cut")).select("terminal", "meter").iter_rows()}
    found = readings["terminal"].rle()  # sorted by terminal: one run each
    names, lengths = found.struct.field("value").to_list(), found.struct.field("len").to_numpy().astype(np.int64)
    meter = np.repeat(np.array([whole.get(name, -1) for name in names], np.int32), lengths)
    ends = np.cumsum(lengths)
    runs = dict(zip(names, zip((ends - lengths).tolist(), ends.tolist(), strict=True), strict=True))
    for name, target, begin_us, end_us in assigned.filter("is_cut").select("terminal", "meter", "begin", "end").iter_rows():
        if name in runs:
            own = slice(*runs[name])
            inside = (meter[own] < 0) & (begin_us is None or at_us[own] >= begin_us) & (end_us is None or at_us[own] < end_us)
            meter[own][inside] = place[target]
    if raw.is_sorted(meter, at_us):
        return Rows(None, meter, at_us)
    places = np.lexsort((at_us, meter))
    places = places[meter[places] >= 0]
    meter, at_us = meter[places], at_us[places]
    last = np.append((np.diff(meter) != 0) | (np.diff(at_us) != 0), True)[: len(places)]
    return Rows(places[last], meter[last], at_us[last])


def _facts(meters: pl.DataFrame) -> Facts:
    modulus, resolution = chain.sizes_ul(meters["digits"].to_numpy(), meters["resolution_m3"].to_numpy())
    return Facts(
        np.array(meters["reads"] == "flow", bool),
        np.array(meters["q1_m3h"].cast(pl.Float64).fill_null(np.inf)),
        np.array(meters["q2_m3h"].cast(pl.Float64).fill_null(np.inf)),
        np.array(meters["q3_m3h"].cast(pl.Float64).fill_null(np.inf)),
        np.array(meters["q4_m3h"].cast(pl.Float64)),
        modulus,
        resolution,
        meters["step_min"].to_numpy().astype(np.int64) * 60_000_000,
        (meters["pressure_low_mpa"].cast(pl.Float64) * PA_PER_MPA).round().cast(pl.Int64).fill_null(MISSING).to_numpy(),
    )


class _Judged(NamedTuple):
    """The meters' facts and what they are judged by on a day."""

    facts: Facts
    criteria: kernel.Criteria


def _limits_pa(own_pa: Ints, criteria: Criteria) -> Ints:
    """Lower limits of pressure: that of the criterion for a meter without its own."""
    return np.where(own_pa == MISSING, round(criteria.pressure_low_mpa * PA_PER_MPA), own_pa)


def _criteria_of(day: date, criteria: Criteria, zone: ZoneInfo) -> kernel.Criteria:
    """The criteria of a day as the kernel takes them: the night window by the clock on the wall, within the day."""
    wall = datetime(day.year, day.month, day.day)
    first, last = (
        calendar.microseconds((wall + timedelta(hours=min(max(hour, 0.0), 24.0))).replace(tzinfo=zone))
        for hour in (criteria.night_start_h, criteria.night_end_h)
    )
    return kernel.Criteria(first, last, criteria.pressure_step_share, round(criteria.pressure_drop_mpa * PA_PER_MPA))


def _clock(at_us: Ints, zone: ZoneInfo) -> raw.Clock:
    """The local clock over all these times."""
    first, last = (int(at_us.min()), int(at_us.max())) if len(at_us) else (0, 0)
    from_us, ahead_us = [first], [_ahead_us(first, zone)]
    for until in (*range(first + CLOCK_US, last, CLOCK_US), last):
        ahead, since = _ahead_us(until, zone), until - CLOCK_US
        if ahead != ahead_us[-1]:  # the clock changed at some time since
            while until - since > 1:
                middle = (since + until) // 2
                since, until = (since, middle) if _ahead_us(middle, zone) == ahead else (middle, until)
            from_us.append(until)
            ahead_us.append(ahead)
    return raw.Clock(np.array(from_us, np.int64), np.array(ahead_us, np.int64))


def _ahead_us(at_us: int, zone: ZoneInfo) -> int:
    return _us(calendar.instant(at_us).astimezone(zone).utcoffset() or timedelta())


def _contradicted(rows: pl.DataFrame, conflicts: pl.DataFrame) -> Mask:
    marked = conflicts.select("terminal", "ts", contradicted=True).unique()
    joined = rows.select("terminal", "ts").join(marked, on=["terminal", "ts"], how="left", maintain_order="left")
    return joined["contradicted"].fill_null(False).to_numpy()


def _changes(replacements: pl.DataFrame, meters: pl.Series, zone: ZoneInfo) -> Changes:
    """Replacements by meter and time."""
    listed = replacements.join(meters.to_frame().with_row_index("place"), on="meter")
    at = listed["replaced_at"]
    begins, ends = (calendar.midnights(listed["replaced_on"], zone, later=later) for later in (0, 1))
    times = {"begin": at.fill_null(begins).dt.timestamp("us"), "until": at.fill_null(ends).dt.timestamp("us")}
    listed = listed.with_columns(**times).sort("place", "begin", "until")
    old, new = (
        np.rint(np.clip(listed[name].to_numpy(), -raw.REGISTER_M3, raw.REGISTER_M3) * PER_M3).astype(np.int64)
        for name in ("old_final_m3", "new_initial_m3")
    )
    return Changes(listed["place"].cast(pl.Int32).to_numpy(), listed["begin"].to_numpy(), listed["until"].to_numpy(), old, new)


def _us(span: timedelta) -> int:
    return span // calendar.TICK


# --- results to tables --------------------------------------------------------------------------------------------------------


def _tables(result: Result, meters: pl.Series, day: date, edges: Ints) -> Tables:
    names = pa.array(meters.to_list(), pa.string())
    return Tables(
        _interval_table(result, names, day, edges),
        _hour_table(result, names, day, edges),
        _day_table(result, names, day),
        _histogram_table(result, names, day),
        _reversal_table(result.reversals, names, day),
    )


def _last(days: Days, rows: pl.DataFrame, places: Ints, meters: pl.Series, day: date) -> pl.DataFrame:
    """`places`: of the readings among the rows."""
    read = np.flatnonzero(days.last != MISSING)
    last = rows[places[days.last[read]]]
    pressure = days.last_pressure[read]
    has_pressure = pl.Series(pressure != MISSING, dtype=pl.Boolean)
    of_pressure = rows.select("pressure_mpa", "ts")[places[np.where(pressure != MISSING, pressure, days.last[read])]]
    found = last.select(
        "terminal",
        "reverse_m3",
        "flow_m3h",
        reading_at="ts",
        register_m3="forward_m3",
        meter=meters.gather(days.meter[read]),
        day=pl.lit(day),
        pressure_mpa=pl.when(has_pressure).then(of_pressure["pressure_mpa"]),
        pressure_at=pl.when(has_pressure).then(of_pressure["ts"]),
    )
    return found.select(pl.col(name).cast(dtype) for name, dtype in LAST.items())


def _named(names: pa.Array, meter: Indices) -> pa.Array:
    return names.take(pa.array(meter))


def _integers(values: Ints, kind: pa.DataType | None = None) -> pa.Array:
    missing = values == MISSING
    if kind is not None and kind != pa.int64():
        values = np.where(missing, 0, values).astype(kind.to_pandas_dtype())
    return pa.array(values, kind or pa.int64(), mask=missing if missing.any() else None)


def _floats(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _instants(values: Ints) -> pa.Array:
    missing = values == MISSING
    return pa.array(np.where(missing, 0, values), pa.timestamp("us", "UTC"), mask=missing)


def _days(count: int, day: date) -> pa.Array:
    return pa.array(np.full(count, np.datetime64(day, "D")))


class _Lists:
    """Rows of several meters as lists, one a meter with rows."""

    def __init__(self, meter: Indices) -> None:
        self._begins = np.flatnonzero(np.diff(meter, prepend=-1))
        self._meter = meter[self._begins]
        self._offsets = pa.array(np.append(self._begins, len(meter)).astype(np.int32))

    def table(self, names: pa.Array, day: date, edges: Ints | None, values: dict[str, pa.Array]) -> pa.Table:
        """A row a meter; with the day's start where its edges are given."""
        start = {} if edges is None else {"starts_at": _instants(np.full(len(self._begins), edges[0]))}
        lists = {name: pa.ListArray.from_arrays(self._offsets, column) for name, column in values.items()}
        return pa.table({"meter": _named(names, self._meter), "day": _days(len(self._begins), day), **start, **lists})


def _milliseconds(values_us: Ints) -> pa.Array:
    return pa.array((values_us // 1000).astype(np.int32))


def _interval_table(result: Result, names: pa.Array, day: date, edges: Ints) -> pa.Table:
    rows = result.intervals
    values = {
        "end_ms": _milliseconds(rows.end_us - edges[0]),
        "length_ms": _milliseconds(rows.length_us),
        "volume_nl": _integers(rows.volume_nl),
        "reverse_nl": _integers(rows.reverse_nl),
        "register_ul": _integers(rows.register_ul),
        "pressure_pa": _integers(rows.pressure_pa, pa.int32()),
        "device_flow_m3h": _floats(rows.device_flow_m3h),
        "flags": pa.array(rows.flags),
    }
    return _Lists(rows.meter).table(names, day, edges, values)


def _hour_table(result: Result, names: pa.Array, day: date, edges: Ints) -> pa.Table:
    rows = result.hours
    values = {
        "start_ms": _milliseconds(edges[rows.hour] - edges[0]),
        "volume_nl": _integers(rows.volume_nl),
        "reverse_nl": _integers(rows.reverse_nl),
        "coverage": pa.array(rows.known_us / np.diff(edges)[rows.hour], mask=None if rows.has_curve.all() else ~rows.has_curve),
        "clean": pa.array(rows.clean),
        "pressure_sum_pa": pa.array(rows.pressure_sum_pa),
        "pressure_count": pa.array(rows.pressure_count.astype(np.int32)),
        "pressure_min_pa": _integers(rows.pressure_min_pa, pa.int32()),
    }
    return _Lists(rows.meter).table(names, day, edges, values)


def _day_table(result: Result, names: pa.Array, day: date) -> pa.Table:
    rows = result.days
    counts = {f"{str(flag.name).lower()}_count": pa.array(rows.counts[:, flag.bit_length() - 1]) for flag in Flag}
    return pa.table(
        {
            "meter": _named(names, rows.meter),
            "day": _days(len(rows.meter), day),
            "volume_nl": _integers(rows.volume_nl),
            "reverse_nl": _integers(rows.reverse_nl),
            "known_us": pa.array(rows.known_us),
            "known_volume_nl": pa.array(rows.known_volume_nl),
            "clean": pa.array(rows.clean),
            "flow_max_m3h": _floats(rows.flow_max_m3h),
            "flow_max_at": _instants(rows.flow_max_at_us),
            "flow_min_m3h": _floats(rows.flow_min_m3h),
            "flow_min_at": _instants(rows.flow_min_at_us),
            "pressure_max_pa": _integers(rows.pressure_max_pa),
            "pressure_max_at": _instants(rows.pressure_max_at_us),
            "pressure_min_pa": _integers(rows.pressure_min_pa),
            "pressure_min_at": _instants(rows.pressure_min_at_us),
            "pressure_sum_pa": pa.array(rows.pressure_sum_pa),
            "pressure_count": pa.array(rows.pressure_count),
            "pressure_low_count": pa.array(rows.pressure_low_count),
            "night_min_nlh": _integers(rows.night_min_nlh),
            "night_known_us": pa.array(rows.night_known_us),
            "fit_n": pa.array(rows.fit_n),
            "fit_p_sum": _floats(rows.fit_p_sum),
            "fit_p2_sum": _floats(rows.fit_p2_sum),
            "fit_q2_sum": _floats(rows.fit_q2_sum),
            "fit_q4_sum": _floats(rows.fit_q4_sum),
            "fit_pq2_sum": _floats(rows.fit_pq2_sum),
            "drop_count": pa.array(rows.drop_count),
            "readings": pa.array(rows.readings),
            **counts,
            "first_at": _instants(rows.first_at_us),
            "first_ul": _integers(rows.first_ul),
            "last_at": _instants(rows.last_at_us),
            "last_ul": _integers(rows.last_ul),
            "between_nl": _integers(rows.between_nl),
            "zone_us": _rows_of(result.zones.length_us),
            "zone_nl": _rows_of(result.zones.volume_nl),
        }
    )


def _rows_of(values: Ints) -> pa.Array:
    """A list a row."""
    rows, width = values.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), pa.array(values.ravel()))


def _histogram_table(result: Result, names: pa.Array, day: date) -> pa.Table:
    rows = result.histogram
    values = {
        "bin": pa.array(rows.bin.astype(np.int16)),
        "seconds": pa.array(rows.length_us / 1e6),
        "volume_nl": pa.array(rows.volume_nl),
    }
    return _Lists(rows.meter).table(names, day, None, values)


def _reversal_table(rows: Reversals, names: pa.Array, day: date) -> pa.Table:
    pressures = ("pressure_before_pa", "pressure_pa", "pressure_after_pa")
    return pa.table(
        {
            "meter": _named(names, rows.meter),
            "day": _days(len(rows.meter), day),
            "started_at": _instants(rows.start_us),
            "ended_at": _instants(rows.end_us),
            "reverse_nl": pa.array(rows.reverse_nl),
            **{name: _integers(getattr(rows, name), pa.int32()) for name in pressures},
        }
    )


def _nothing() -> Tables:
    def none(row: type[Any]) -> Any:
        return row(*(np.empty(0, np.int64) for _ in row._fields))

    days = none(Days)._replace(counts=np.empty((0, len(Flag)), np.int32), meter=np.empty(0, np.int32), clean=np.empty(0, bool))
    index = {"meter": np.empty(0, np.int32)}
    result = Result(
        none(Intervals)._replace(**index, flags=np.empty(0, np.int32)),
        none(Hours)._replace(**index, clean=np.empty(0, bool), has_curve=np.empty(0, bool)),
        days,
        none(Histogram)._replace(**index, bin=np.empty(0, np.int32)),
        none(Reversals)._replace(**index),
        Zones(*(np.empty((0, ZONES), np.int64) for _ in Zones._fields)),
    )
    return _tables(result, pl.Series("meter", [], dtype=pl.String), date(1970, 1, 1), np.array([0, HOUR_US], np.int64))


EMPTY = _nothing()
"""The tables without a row: what marts select from before the first day is computed."""

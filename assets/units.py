"""Units of the figures: the raw readings and the facts of a local day become the kernel's arrays, its results become tables.

`unit_interval` (compact: one row a meter and day), `unit_hour`, `unit_day` and `flow_histogram` hold all that needs the
resolution of intervals; every mart starts from them. Volumes are integers of nanolitres (`_nl`), registers of
microlitres (`_ul`), `NULL` where not known.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from assets import calendar, kernel
from assets.kernel import MISSING, PER_M3, Changes, Day, Facts, Flag, Readings, Result, chain
from assets.kernel.unit import HOUR_US, Floats, Indices, Ints

PRESSURE_MPA = (-0.05, 1.6)
"""Pressures outside are refused (docs/domain.md#validation-rules, V14)."""

REGISTER_M3 = 2e9
"""Registers beyond (either sign) are refused: no meter has one, and differences of them would not fit into 64 bits."""

OFF_GRID_US = 60_000_000
MILLION = 1_000_000
LOOKBACK = timedelta(days=8)
"""A register that begins a day at exactly 0, or makes a great rise for good: held against its readings of these days before."""

LONE_RISE, LEAST_RESOLUTIONS = 5.0, 10
"""A great rise is one that is impossible, or so many times as fast as any other of its day and of so many resolutions."""

FEW_RISES = 3
"""With more great rises in a day a limit is wrong, or water burst out: no fall came to its end."""

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


class Tables(NamedTuple):
    """What a unit adds to the tables of the same names."""

    unit_interval: pa.Table
    unit_hour: pa.Table
    unit_day: pa.Table
    flow_histogram: pa.Table


COLUMNS = ("terminal", "ts", "forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa")
"""What of a reading the figures need."""


def compute(
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    replacements: pl.DataFrame,
    conflicts: pl.DataFrame,
    day: date,
    zone: ZoneInfo,
    max_hole: timedelta,
    look_back: LookBack,
) -> Tables:
    """The tables of one unit.

    `readings`: `COLUMNS` of `schema.READING`, one row a (terminal, ts), sorted by both, covering the day and `max_hole` to either
    side. `meters`: facts of the day, a row a (terminal, meter) with `terminal_from`, `terminal_to` (null: unbounded).
    `replacements`: `meter`, `replaced_at` or `replaced_on`, `old_final_m3`, `new_initial_m3`. `conflicts`: `terminal`, `ts`.
    """
    edges = edges_of(day, zone)
    facts_frame = meters.unique("meter", keep="first", maintain_order=True).sort("meter")
    rows = _rows(readings.select(COLUMNS), meters, facts_frame, look_back, edges, max_hole)
    facts = _facts(facts_frame)
    unit_day = Day(edges)
    flags = _own_flags(rows, facts, conflicts, day, zone, edges)
    arrays = _arrays(rows, flags)
    result = kernel.compute(arrays, facts, _changes(replacements, facts_frame, edges, max_hole, zone), unit_day, _us(max_hole))
    return _tables(result, facts_frame["meter"], day, edges)


def edges_of(day: date, zone: ZoneInfo) -> Ints:
    """The day's start, the starts of its other local clock hours and its end (µs since 1970 UTC).

    A clock hour begins where the local time is a whole hour: 23 to 25 in a day, also where the clock changes by half an hour.
    """
    start, end = calendar.midnight(day, zone), calendar.midnight(day + timedelta(days=1), zone)
    # Whole quarters of an hour are enough: every zone's offset is one.
    quarters = (start + timedelta(minutes=15 * count) for count in range(1, int((end - start) / timedelta(minutes=15))))
    whole = [instant for instant in quarters if instant.astimezone(zone).minute == 0]
    return np.array([calendar.microseconds(instant) for instant in (start, *whole, end)], np.int64)


class _Rows(NamedTuple):
    """Raw readings as columns, with the index of their meter; sorted by (meter, time)."""

    frame: pl.DataFrame
    meter: Indices
    at_us: Ints


def _rows(
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    facts: pl.DataFrame,
    look_back: LookBack,
    edges: Ints,
    max_hole: timedelta,
) -> _Rows:
    place = {meter: index for index, meter in enumerate(facts["meter"])}
    rows = _assigned(readings, meters, place)
    zero, risen = (set(facts["meter"].gather(found)) for found in (_begin_at_zero(rows), _rise_for_good(rows, facts)))
    if zero or risen:
        start = calendar.instant(int(edges[0])) - max_hole
        names = meters.filter(pl.col("meter").is_in(zero | risen)).select("terminal", is_risen=pl.col("meter").is_in(risen))
        earlier = look_back(names["terminal"].to_list(), start - LOOKBACK, start).filter(pl.col("ts") < start)
        is_risen = pl.col("terminal").is_in(names.filter("is_risen")["terminal"].implode())
        last = earlier.filter((pl.col("forward_m3") > 0) & ~is_risen).sort("ts").group_by("terminal", maintain_order=True).last()
        wider = pl.concat([readings, *(part.select(readings.columns) for part in (last, earlier.filter(is_risen)))])
        if wider.height > readings.height:
            rows = _assigned(wider.sort("terminal", "ts"), meters, place)
    return rows


def _assigned(readings: pl.DataFrame, meters: pl.DataFrame, place: dict[str, int]) -> _Rows:
    """Readings of registered terminals with their meter, as the assignments of that time say."""
    at_us = readings["ts"].to_physical().to_numpy()
    if not len(at_us):
        return _Rows(readings, np.empty(0, np.int32), at_us)
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
    used = np.flatnonzero(meter >= 0)
    if len(used) < len(meter):
        readings, meter, at_us = readings[used], meter[used], at_us[used]
    follows = (meter[1:] > meter[:-1]) | ((meter[1:] == meter[:-1]) & (at_us[1:] > at_us[:-1]))
    if not follows.all():
        order = np.lexsort((at_us, meter))
        keep = order[np.append((np.diff(meter[order]) != 0) | (np.diff(at_us[order]) != 0), True)]
        readings, meter, at_us = readings[keep], meter[keep], at_us[keep]
    return _Rows(readings, meter, at_us)


def _begin_at_zero(rows: _Rows) -> Ints:
    """Meters whose first register reading is exactly 0."""
    register = rows.frame["forward_m3"].to_numpy()
    measured = np.flatnonzero(~np.isnan(register))
    first = measured[np.flatnonzero(np.diff(rows.meter[measured], prepend=-1))]
    return np.asarray(rows.meter[first[register[first] == 0.0]], np.int64)


def _rise_for_good(rows: _Rows, facts: pl.DataFrame) -> Ints:
    """Meters with few great rises, one of which the next reading does not take back."""
    meter, register, at_us = rows.meter, rows.frame["forward_m3"].to_numpy(), rows.at_us
    measured = ~np.isnan(register)
    if not measured.all():
        meter, register, at_us = meter[measured], register[measured], at_us[measured]
    borders = np.flatnonzero(meter[1:] != meter[:-1])
    starts, ends = np.append(0, borders + 1), np.append(borders, len(meter) - 1)
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return starts
    flow = np.diff(register) / np.diff(at_us)
    flow[borders] = 0.0
    best = np.maximum.reduceat(flow, starts)
    is_fast = flow * LONE_RISE > np.repeat(best, np.diff(np.append(starts, len(flow))))
    own = meter[starts]
    limit = chain.RISE_FACTOR * facts["q4_m3h"].cast(pl.Float64).to_numpy()[own] / HOUR_US
    is_lone = np.add.reduceat(is_fast, starts, dtype=np.int64) == 1
    great = np.where(is_lone, np.minimum(limit, best / LONE_RISE), limit)
    least = LEAST_RESOLUTIONS * facts["resolution_m3"].to_numpy()[own]
    found = []
    for place in np.flatnonzero(best > great):
        shown = register[starts[place] : ends[place] + 1]
        rises = np.flatnonzero((flow[starts[place] : ends[place]] > great[place]) & (np.diff(shown) > least[place]))
        is_taken_back = shown[np.minimum(rises + 2, len(shown) - 1)] < shown[rises + 1]
        if len(rises) <= FEW_RISES and not is_taken_back.all():
            found.append(own[place])
    return np.array(found, np.int64)


def _facts(meters: pl.DataFrame) -> Facts:
    modulus, resolution = chain.sizes_ul(meters["digits"].to_numpy(), meters["resolution_m3"].to_numpy())
    return Facts(
        (meters["reads"] == "flow").to_numpy(),
        meters["q3_m3h"].cast(pl.Float64).fill_null(np.inf).to_numpy(),
        meters["q4_m3h"].cast(pl.Float64).to_numpy(),
        modulus,
        resolution,
        meters["step_min"].to_numpy().astype(np.int64) * 60_000_000,
    )


def _own_flags(
    rows: _Rows,
    facts: Facts,
    conflicts: pl.DataFrame,
    day: date,
    zone: ZoneInfo,
    edges: Ints,
) -> Indices:
    """Flags of one reading alone: off the grid of its meter in local time, contradicted, pressure or register out of range."""
    offset = int((calendar.instant(int(edges[0])).astimezone(zone).utcoffset() or timedelta()).total_seconds()) * 1_000_000
    local = rows.at_us + offset
    if (edges[-1] - edges[0]) != 24 * HOUR_US:  # the clock changes: each reading has the offset of its own time
        local = rows.frame["ts"].dt.convert_time_zone(str(zone)).dt.replace_time_zone(None).to_physical().to_numpy()
    grids = np.where(facts.step_us % HOUR_US == 0, HOUR_US, facts.step_us)
    # Division by one number is several times faster than by a column.
    grid = grids[0] if len(grids) and (grids == grids[0]).all() else grids[rows.meter]
    moved = local + grid // 2
    away = np.abs(moved - moved // grid * grid - grid // 2)
    flags = np.where(away > OFF_GRID_US, int(Flag.OFF_GRID), 0).astype(np.int32)
    pressure = rows.frame["pressure_mpa"].to_numpy()
    low, high = PRESSURE_MPA
    with np.errstate(invalid="ignore"):
        flags[(pressure < low) | (pressure > high)] |= int(Flag.PRESSURE_RANGE)
    for name in ("forward_m3", "reverse_m3"):
        flags[np.abs(rows.frame[name].to_numpy()) > REGISTER_M3] |= int(Flag.REFUSED)
    if conflicts.height:
        contradicted = rows.frame.select("terminal", "ts").join(
            conflicts.select("terminal", "ts", contradicted=True).unique(),
            on=["terminal", "ts"],
            how="left",
            maintain_order="left",
        )
        flags[contradicted["contradicted"].fill_null(False).to_numpy()] |= int(Flag.CONFLICT)
    return flags


def _arrays(rows: _Rows, flags: Indices) -> Readings:
    pressure = _millionths(rows.frame["pressure_mpa"])
    pressure[(flags & int(Flag.PRESSURE_RANGE)) > 0] = MISSING
    return Readings(
        rows.meter,
        rows.at_us,
        _microlitres(rows.frame["forward_m3"]),
        _microlitres(rows.frame["reverse_m3"]),
        rows.frame["flow_m3h"].to_numpy(writable=True),
        pressure,
        flags,
    )


def _microlitres(column: pl.Series) -> Ints:
    """A register in µL: its millionths of a m³ are exact in binary, so differences of large registers are, too."""
    found = _millionths(column.set(column.abs() > REGISTER_M3, None))
    return np.where(found == MISSING, MISSING, found * (PER_M3 // MILLION))


def _millionths(column: pl.Series) -> Ints:
    """Millionths as integers, MISSING where there is no value."""
    if column.null_count() == len(column):
        return np.full(len(column), MISSING)
    values = np.asarray(column.to_numpy(), np.float64)
    missing = np.isnan(values)
    found: Ints = np.rint(np.where(missing, 0.0, values) * MILLION).astype(np.int64)
    found[missing] = MISSING
    return found


def _changes(
    replacements: pl.DataFrame,
    facts: pl.DataFrame,
    edges: Ints,
    max_hole: timedelta,
    zone: ZoneInfo,
) -> Changes:
    """Replacements that a step of this unit can hold, by meter and time."""
    place = facts.select("meter").with_row_index("place")
    listed = replacements.join(place, on="meter")
    at = listed["replaced_at"]
    begins, ends = (calendar.midnights(listed["replaced_on"], zone, later=later) for later in (0, 1))
    listed = (
        listed.with_columns(begin=at.fill_null(begins).dt.timestamp("us"), until=at.fill_null(ends).dt.timestamp("us"))
        .filter((pl.col("until") >= int(edges[0]) - _us(max_hole)) & (pl.col("begin") <= int(edges[-1]) + _us(max_hole)))
        .sort("place", "begin", "until")
    )
    old, new = (
        np.rint(np.clip(listed[name].to_numpy(), -REGISTER_M3, REGISTER_M3) * PER_M3).astype(np.int64)
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
    )


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


def _interval_table(result: Result, names: pa.Array, day: date, edges: Ints) -> pa.Table:
    rows = result.intervals
    begins = np.flatnonzero(np.diff(rows.meter, prepend=-1))
    offsets = pa.array(np.append(begins, len(rows.meter)).astype(np.int32))

    def lists(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    end_ms = ((rows.end_us - edges[0]) // 1000).astype(np.int32)
    return pa.table(
        {
            "meter": _named(names, rows.meter[begins]),
            "day": _days(len(begins), day),
            "starts_at": _instants(np.full(len(begins), edges[0])),
            "end_ms": lists(pa.array(end_ms)),
            "length_ms": lists(pa.array((rows.length_us // 1000).astype(np.int32))),
            "volume_nl": lists(_integers(rows.volume_nl)),
            "reverse_nl": lists(_integers(rows.reverse_nl)),
            "register_ul": lists(_integers(rows.register_ul)),
            "pressure_pa": lists(_integers(rows.pressure_pa, pa.int32())),
            "device_flow_m3h": lists(_floats(rows.device_flow_m3h)),
            "flags": lists(pa.array(rows.flags)),
        }
    )


def _hour_table(result: Result, names: pa.Array, day: date, edges: Ints) -> pa.Table:
    rows = result.hours
    length = np.diff(edges)[rows.hour]
    return pa.table(
        {
            "meter": _named(names, rows.meter),
            "hour_start": _instants(edges[rows.hour]),
            "day": _days(len(rows.meter), day),
            "volume_nl": _integers(rows.volume_nl),
            "reverse_nl": _integers(rows.reverse_nl),
            "coverage": pa.array(rows.known_us / length),
            "clean": pa.array(rows.clean),
        }
    )


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
            "readings": pa.array(rows.readings),
            **counts,
            "first_at": _instants(rows.first_at_us),
            "first_ul": _integers(rows.first_ul),
            "last_at": _instants(rows.last_at_us),
            "last_ul": _integers(rows.last_ul),
            "between_nl": _integers(rows.between_nl),
        }
    )


def _histogram_table(result: Result, names: pa.Array, day: date) -> pa.Table:
    rows = result.histogram
    begins = np.flatnonzero(np.diff(rows.meter, prepend=-1))
    offsets = pa.array(np.append(begins, len(rows.meter)).astype(np.int32))
    columns = {
        "bin": pa.array(rows.bin.astype(np.int16)),
        "seconds": pa.array(rows.length_us / 1e6),
        "volume_nl": pa.array(rows.volume_nl),
    }
    lists = {name: pa.ListArray.from_arrays(offsets, values) for name, values in columns.items()}
    return pa.table({"meter": _named(names, rows.meter[begins]), "day": _days(len(begins), day), **lists})


def _nothing() -> Tables:
    ints, floats, index = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int32)
    no_facts = Facts(np.empty(0, bool), floats, floats, ints, ints, ints)
    no_readings = Readings(index, ints, ints, ints, floats, ints, index)
    edges = np.array([0, HOUR_US], np.int64)
    result = kernel.compute(no_readings, no_facts, Changes(index, ints, ints, ints, ints), Day(edges), HOUR_US)
    return _tables(result, pl.Series("meter", [], dtype=pl.String), date(1970, 1, 1), edges)


EMPTY = _nothing()
"""The tables without a row: what marts select from before the first day is computed."""

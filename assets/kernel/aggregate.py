"""Steps of a unit become its intervals, hours, day, peaks, pressure, quality counts and flow histogram."""

import math
from typing import NamedTuple

import numpy as np

from assets.kernel.compiled import compiled
from assets.kernel.steps import Steps, steps_of
from assets.kernel.unit import (
    HOUR_US,
    MISSING,
    NL_PER_M3,
    NL_PER_UL,
    PER_M3,
    UNCLEAN,
    Changes,
    Criteria,
    Day,
    Days,
    Facts,
    Flag,
    Floats,
    Histogram,
    Hours,
    Indices,
    Intervals,
    Ints,
    Mask,
    Readings,
    Result,
    Reversals,
    Zones,
    bounds_of,
)
from assets.kernel.zones import zones_of

PEAK_RESOLUTION = 0.1
"""A peak needs resolution ÷ length of its interval up to this share of Q3: a wheel that has just turned is no flow."""

NIGHT_KNOWN = 0.75
"""The share of the night window, and of an hour in it, that must be known: 6 of 8 quarters (docs/domain.md#night-flow)."""

BINS_PER_DECADE = 100
"""Classes of the flow histogram: each is 2.3 % wide, fine enough for any Q1 to Q4."""

LOWEST_M3H = 1e-4

BINS = 20 * BINS_PER_DECADE + 2
_BINS_PER_E = BINS_PER_DECADE / math.log(10)

PA_PER_MPA = 1e6

_HOLE, _UNCLEAN, _REFUSED, _REVERSE = (int(flag) for flag in (Flag.HOLE, UNCLEAN, Flag.REFUSED, Flag.REVERSE))
_FLAGS, _REFUSED_BIT = len(Flag), Flag.REFUSED.bit_length() - 1

_OF_READINGS = int(Flag.OFF_GRID | Flag.CONFLICT | Flag.PRESSURE_RANGE)
"""Flags of a reading, counted whether a step ends there or not; the others are counted once a step."""


@compiled
def bin_of(flow_m3h: float) -> int:
    """Class of a flow: 0 for none (or reverse), else 1 + the hundredths of decades above 10⁻⁴ m³/h; see `bin_edges`."""
    if not flow_m3h > 0:
        return 0
    place = int(math.log(flow_m3h / LOWEST_M3H) * _BINS_PER_E + 1e-9)
    return min(max(place, 0), BINS - 2) + 1


def bin_edges(bins: Indices) -> tuple[Floats, Floats]:
    """Lowest flow (m³/h, included) and highest (excluded) of classes; class 0 is no flow."""
    low = LOWEST_M3H * 10 ** ((bins - 1) / BINS_PER_DECADE)
    return np.where(bins > 0, low, 0.0), np.where(bins > 0, low * 10 ** (1 / BINS_PER_DECADE), 0.0)


def compute(readings: Readings, facts: Facts, changes: Changes, day: Day, criteria: Criteria, hole_us: int) -> Result:
    """All figures of a unit. `hole_us`: the longest hole that the register curve crosses."""
    meters = len(facts.q4_m3h)
    bounds = bounds_of(readings.meter, meters)
    steps, refused = steps_of(readings, bounds, facts, changes, hole_us)
    edges = day.edges_us
    curve = _Curve.of(meters, len(edges) - 1)
    _draw(readings.at_us, bounds, steps, edges, curve)
    intervals = _intervals(readings, bounds, steps, refused, edges)
    pressures = _Pressures.of(meters, len(edges) - 1)
    days = _days(readings, bounds, steps, refused, facts, criteria, curve, pressures, edges)
    return Result(
        intervals,
        _hours(curve, pressures, facts, edges),
        days,
        _histogram(intervals.meter, intervals.length_us, intervals.volume_nl, intervals.flow_m3h),
        _reversals(readings, bounds, intervals, hole_us),
        Zones._make(column[days.meter] for column in zones_of(intervals, facts)),
    )


# --- steps within the day -----------------------------------------------------------------------------------------------------


@compiled
def _is_shown(start_us: int, end_us: int, flags: int, first_us: int, last_us: int) -> bool:
    """Whether the day shows the step: not a hole that crosses an edge of the day, which belongs to no day."""
    if start_us >= end_us or end_us <= first_us or start_us >= last_us:
        return False
    return (flags & _HOLE) == 0 or (start_us >= first_us and end_us <= last_us)


@compiled
def _moved(volume_nl: int, start_us: int, end_us: int, at_us: int) -> int:
    """What a step of this volume moved up to an instant in it: linear, rounded once, nothing at its start and all at its end."""
    if at_us <= start_us or volume_nl == MISSING:
        return 0
    if at_us >= end_us:
        return volume_nl
    return int(np.rint(volume_nl * ((at_us - start_us) / (end_us - start_us))))


@compiled
def _within(volume_nl: int, start_us: int, end_us: int, first_us: int, last_us: int) -> int:
    """What a step moved within the day, as a difference of the curve at its edges."""
    if volume_nl == MISSING or (start_us >= first_us and end_us <= last_us):
        return volume_nl
    return _moved(volume_nl, start_us, end_us, last_us) - _moved(volume_nl, start_us, end_us, first_us)


@compiled
def _flow(volume_nl: int, start_us: int, end_us: int, flags: int) -> float:
    """Mean flow (m³/h) of a whole step; NaN where it is a hole or not known."""
    if volume_nl == MISSING or flags & _HOLE:
        return np.nan
    # The quotient comes first, so that equal flows of steps of several lengths are equal bit for bit.
    return volume_nl / (end_us - start_us) * (HOUR_US / NL_PER_M3)


def _intervals(readings: Readings, bounds: Ints, steps: Steps, refused: Mask, edges_us: Ints) -> Intervals:
    kinds = [np.int32, *[np.int64] * 4, np.float64, *[np.int64] * 2, np.float64, np.int32]
    rows = Intervals(*(np.empty(len(readings.at_us), kind) for kind in kinds))
    count = _show(readings, bounds, steps, refused, edges_us, rows)
    return Intervals._make(column[:count] for column in rows)


@compiled
def _show(readings: Readings, bounds: Ints, steps: Steps, refused: Mask, edges_us: Ints, rows: Intervals) -> int:
    """Fill the rows; gives their number."""
    first, last = edges_us[0], edges_us[-1]
    row = 0
    for meter in range(len(bounds) - 1):
        lone = -1
        for place in range(bounds[meter], bounds[meter + 1]):
            start, at, flags = steps.start_us[place], readings.at_us[place], steps.flags[place]
            if _is_shown(start, at, flags, first, last):
                if at > last and lone >= 0 and readings.at_us[lone] == last:
                    # A reading at midnight that ends no step comes after the step that goes on.
                    _lone(meter, lone, readings, refused, rows, row)
                    into = row - 1
                else:
                    into = row
                volume = steps.volume_nl[place]
                rows.meter[into] = meter
                rows.end_us[into] = min(at, last)
                rows.length_us[into] = min(at, last) - max(start, first)
                rows.volume_nl[into] = _within(volume, start, at, first, last)
                rows.reverse_nl[into] = _within(steps.reverse_nl[place], start, at, first, last)
                rows.flow_m3h[into] = _flow(volume, start, at, flags)
                is_own = at <= last  # else its reading belongs to the next day
                rows.register_ul[into] = readings.forward_ul[place] if is_own else MISSING
                rows.pressure_pa[into] = readings.pressure_pa[place] if is_own else MISSING
                rows.device_flow_m3h[into] = readings.flow_m3h[place] if is_own else np.nan
                rows.flags[into] = flags
            elif first < at <= last:
                lone = place
                _lone(meter, lone, readings, refused, rows, row)
            else:
                continue
            row += 1
    return row


@compiled
def _lone(meter: int, place: int, readings: Readings, refused: Mask, rows: Intervals, row: int) -> None:
    """A reading that ends no step."""
    rows.meter[row] = meter
    rows.end_us[row] = readings.at_us[place]
    rows.length_us[row] = 0
    rows.volume_nl[row] = rows.reverse_nl[row] = MISSING
    rows.flow_m3h[row] = np.nan
    rows.register_ul[row] = MISSING if refused[place] else readings.forward_ul[place]
    rows.pressure_pa[row] = readings.pressure_pa[place]
    rows.device_flow_m3h[row] = readings.flow_m3h[place]
    rows.flags[row] = readings.flags[place] | (_REFUSED if refused[place] else 0)


# --- the curve at the edges of hours ------------------------------------------------------------------------------------------


class _Curve(NamedTuple):
    """What the register curve of each meter does in each hour.

    (meters, hours): volumes and known time, `known_volume_nl` without holes, and whether a step that touches the hour is not
    known, a hole, unclean, or without reverse volume. `is_defined`: (meters, hours + 1), at the hours' edges.
    """

    volume_nl: Ints
    reverse_nl: Ints
    known_us: Ints
    known_volume_nl: Ints
    is_unknown: Mask
    has_hole: Mask
    is_unclean: Mask
    lacks_reverse: Mask
    is_defined: Mask

    @classmethod
    def of(cls, meters: int, hours: int) -> "_Curve":
        def sums() -> Ints:
            return np.zeros((meters, hours), np.int64)

        def marks(count: int) -> Mask:
            return np.zeros((meters, count), bool)

        return cls(sums(), sums(), sums(), sums(), marks(hours), marks(hours), marks(hours), marks(hours), marks(hours + 1))


@compiled
def _draw(ends_us: Ints, bounds: Ints, steps: Steps, edges_us: Ints, curve: _Curve) -> None:
    hours = len(edges_us) - 1
    for meter in range(len(bounds) - 1):
        edge = 0
        for place in range(bounds[meter], bounds[meter + 1]):
            start, end = steps.start_us[place], ends_us[place]
            if start == end or end < edges_us[0] or start > edges_us[-1]:
                continue
            volume, reverse, flags = steps.volume_nl[place], steps.reverse_nl[place], steps.flags[place]
            is_hole = (flags & _HOLE) > 0
            is_drawn = volume != MISSING and not is_hole
            while edges_us[edge] < start:
                edge += 1
            if edges_us[edge] == start:
                curve.is_defined[meter, edge] = True
            hour = edge if edges_us[edge] == start else edge - 1
            begun, moved, moved_back = start, 0, 0
            while begun < end and hour < hours:
                until = min(end, edges_us[hour + 1])
                if until == edges_us[hour + 1] and (is_drawn or until == end):
                    curve.is_defined[meter, hour + 1] = True
                passed = _moved(volume, start, end, until)
                passed_back = _moved(reverse, start, end, until)
                if hour >= 0:
                    curve.volume_nl[meter, hour] += passed - moved
                    curve.reverse_nl[meter, hour] += passed_back - moved_back
                    if is_drawn:
                        curve.known_us[meter, hour] += until - begun
                        curve.known_volume_nl[meter, hour] += passed - moved
                    curve.is_unknown[meter, hour] |= volume == MISSING
                    curve.has_hole[meter, hour] |= is_hole
                    curve.is_unclean[meter, hour] |= (flags & _UNCLEAN) > 0
                    curve.lacks_reverse[meter, hour] |= reverse == MISSING
                begun, moved, moved_back = until, passed, passed_back
                hour += 1


class _Pressures(NamedTuple):
    """Pressures of each meter and hour, (meters, hours): their sum, number and least, `MISSING` where there is none."""

    sum_pa: Ints
    number: Ints
    min_pa: Ints

    @classmethod
    def of(cls, meters: int, hours: int) -> "_Pressures":
        size = (meters, hours)
        return cls(np.zeros(size, np.int64), np.zeros(size, np.int64), np.full(size, MISSING))


def _hours(curve: _Curve, pressures: _Pressures, facts: Facts, edges_us: Ints) -> Hours:
    is_whole = curve.is_defined[:, :-1] & curve.is_defined[:, 1:] & ~curve.has_hole & (curve.known_us == np.diff(edges_us))
    is_known = ~curve.is_unknown & (facts.reads_flow[:, None] | is_whole)
    has_curve = (curve.known_us > 0) | curve.is_unknown
    meter, hour = np.nonzero(has_curve | (pressures.number > 0))
    return Hours(
        meter.astype(np.int32),
        hour.astype(np.int32),
        np.where(is_known, curve.volume_nl, MISSING)[meter, hour],
        np.where(is_known & ~curve.lacks_reverse, curve.reverse_nl, MISSING)[meter, hour],
        curve.known_us[meter, hour],
        ~curve.is_unclean[meter, hour],
        has_curve[meter, hour],
        *(column[meter, hour] for column in pressures),
    )


# --- the day ------------------------------------------------------------------------------------------------------------------


def _days(
    readings: Readings,
    bounds: Ints,
    steps: Steps,
    refused: Mask,
    facts: Facts,
    criteria: Criteria,
    curve: _Curve,
    pressures: _Pressures,
    edges_us: Ints,
) -> Days:
    meters = len(facts.q4_m3h)
    known_us = curve.known_us.sum(axis=1)
    is_defined = curve.is_defined[:, 0] & curve.is_defined[:, -1]
    is_known = ~curve.is_unknown.any(axis=1) & np.where(facts.reads_flow, known_us > 0, is_defined)
    # The register resolves a step whose length is at least this; a meter that reports flow resolves every one.
    shortest_h = np.where(facts.reads_flow, 0.0, facts.resolution_ul / PER_M3 / (PEAK_RESOLUTION * facts.q3_m3h))

    def nothing() -> Ints:
        return np.full(meters, MISSING)

    def none() -> Ints:
        return np.zeros(meters, np.int64)

    def sums() -> Floats:
        return np.zeros(meters, np.float64)

    found = Days(
        meter=np.arange(meters, dtype=np.int32),
        volume_nl=np.where(is_known, curve.volume_nl.sum(axis=1), MISSING),
        reverse_nl=np.where(is_known & ~curve.lacks_reverse.any(axis=1), curve.reverse_nl.sum(axis=1), MISSING),
        known_us=known_us,
        known_volume_nl=curve.known_volume_nl.sum(axis=1),
        clean=np.logical_not(curve.is_unclean.any(axis=1)),
        flow_max_m3h=np.full(meters, np.nan),
        flow_max_at_us=nothing(),
        flow_min_m3h=np.full(meters, np.nan),
        flow_min_at_us=nothing(),
        pressure_max_pa=nothing(),
        pressure_max_at_us=nothing(),
        pressure_min_pa=nothing(),
        pressure_min_at_us=nothing(),
        pressure_sum_pa=none(),
        pressure_count=none(),
        pressure_low_count=none(),
        night_min_nlh=nothing(),
        night_known_us=none(),
        fit_n=none(),
        fit_p_sum=sums(),
        fit_p2_sum=sums(),
        fit_q2_sum=sums(),
        fit_q4_sum=sums(),
        fit_pq2_sum=sums(),
        drop_count=none(),
        readings=none(),
        counts=np.zeros((meters, _FLAGS), np.int32),
        first_at_us=nothing(),
        first_ul=nothing(),
        last_at_us=nothing(),
        last_ul=nothing(),
        between_nl=nothing(),
        last=nothing(),
        last_pressure=nothing(),
    )
    is_present = np.zeros(meters, bool)
    shortest_us = np.floor(shortest_h * HOUR_US)
    _fill(readings, bounds, steps, refused, facts, shortest_us, criteria, edges_us, pressures, found, is_present)
    _nights(readings.at_us, bounds, steps, criteria, found)
    rows = np.flatnonzero(is_present)
    return Days._make(column[rows] for column in found)


@compiled
def _fill(
    readings: Readings,
    bounds: Ints,
    steps: Steps,
    refused: Mask,
    facts: Facts,
    shortest_us: Floats,
    criteria: Criteria,
    edges_us: Ints,
    pressures: _Pressures,
    days: Days,
    is_present: Mask,
) -> None:
    """The columns of the day that are no sums of hours, and the pressures of its hours."""
    start, end = edges_us[0], edges_us[-1]
    for meter in range(len(bounds) - 1):
        counts = days.counts[meter]
        head = tail = alone = prior = -1
        moved, is_unknown, hour, fit_n = 0, False, 0, 0
        fit_p = fit_p2 = fit_q2 = fit_q4 = fit_pq2 = 0.0
        for place in range(bounds[meter], bounds[meter + 1]):
            at, step_start, flags = readings.at_us[place], steps.start_us[place], steps.flags[place]
            if start < at <= end:
                is_present[meter] = True
                days.last[meter] = place
                is_refused = refused[place]
                if is_refused or readings.forward_ul[place] != MISSING or not np.isnan(readings.flow_m3h[place]):
                    days.readings[meter] += 1
                _count(readings.flags[place] & _OF_READINGS, counts)
                if is_refused:
                    counts[_REFUSED_BIT] += 1
                    days.clean[meter] = False
                pressure = readings.pressure_pa[place]
                if pressure != MISSING:
                    days.last_pressure[meter] = place
                    days.pressure_count[meter] += 1
                    days.pressure_sum_pa[meter] += pressure
                    days.pressure_low_count[meter] += pressure < facts.pressure_low_pa[meter]
                    while edges_us[hour + 1] < at:
                        hour += 1
                    pressures.number[meter, hour] += 1
                    pressures.sum_pa[meter, hour] += pressure
                    if pressures.number[meter, hour] == 1 or pressure < pressures.min_pa[meter, hour]:
                        pressures.min_pa[meter, hour] = pressure
                    if days.pressure_max_at_us[meter] == MISSING or pressure > days.pressure_max_pa[meter]:
                        days.pressure_max_pa[meter], days.pressure_max_at_us[meter] = pressure, at
                    if days.pressure_min_at_us[meter] == MISSING or pressure < days.pressure_min_pa[meter]:
                        days.pressure_min_pa[meter], days.pressure_min_at_us[meter] = pressure, at
            if alone < 0 and start <= at <= end and readings.forward_ul[place] != MISSING and not refused[place]:
                alone = place
            before, prior = prior, (place if step_start < at else prior)
            if not _is_shown(step_start, at, flags, start, end):
                continue
            is_present[meter] = True
            _count(flags & ~(_OF_READINGS | _REFUSED), counts)
            volume = steps.volume_nl[place]
            flow = _flow(volume, step_start, at, flags)
            if not np.isnan(flow) and at - step_start >= shortest_us[meter]:
                if days.flow_max_at_us[meter] == MISSING or flow > days.flow_max_m3h[meter]:
                    days.flow_max_m3h[meter], days.flow_max_at_us[meter] = flow, min(at, end)
                if days.flow_min_at_us[meter] == MISSING or flow < days.flow_min_m3h[meter]:
                    days.flow_min_m3h[meter], days.flow_min_at_us[meter] = flow, min(at, end)
                pressure = readings.pressure_pa[place]
                if at <= end and pressure != MISSING and not flags & _REVERSE:
                    pressure_mpa, square = pressure / PA_PER_MPA, flow * flow
                    fit_n += 1
                    fit_p += pressure_mpa
                    fit_p2 += pressure_mpa * pressure_mpa
                    fit_q2 += square
                    fit_q4 += square * square
                    fit_pq2 += pressure_mpa * square
                    # First what nearly no pair of readings meets.
                    fell = before >= 0 and readings.pressure_pa[before] - pressure >= criteria.drop_pa
                    if fell and readings.pressure_pa[before] != MISSING and readings.at_us[before] == step_start:
                        flow_before = _flow(steps.volume_nl[before], steps.start_us[before], step_start, steps.flags[before])
                        days.drop_count[meter] += flow - flow_before >= criteria.drop_share * facts.q4_m3h[meter]
            if volume == MISSING:
                is_unknown = True
            else:
                moved += _within(volume, step_start, at, start, end)
            if head < 0:
                head = place
            tail = place
        days.fit_n[meter], days.fit_p_sum[meter], days.fit_p2_sum[meter] = fit_n, fit_p, fit_p2
        days.fit_q2_sum[meter], days.fit_q4_sum[meter], days.fit_pq2_sum[meter] = fit_q2, fit_q4, fit_pq2
        if facts.reads_flow[meter]:
            continue
        if head >= 0:
            days.first_at_us[meter] = max(steps.start_us[head], start)
            days.last_at_us[meter] = min(readings.at_us[tail], end)
            days.first_ul[meter], days.last_ul[meter] = steps.start_ul[head], readings.forward_ul[tail]
            # At an edge inside a step the register follows from the reading on the day's side: a change within does not matter.
            if steps.start_us[head] < start:
                whole = 0 if steps.volume_nl[head] == MISSING else steps.volume_nl[head]
                passed = _share_ul(whole, steps.start_us[head], readings.at_us[head], start)
                days.first_ul[meter] = readings.forward_ul[head] - (whole // NL_PER_UL - passed)
            if readings.at_us[tail] > end:
                whole = 0 if steps.volume_nl[tail] == MISSING else steps.volume_nl[tail]
                passed = _share_ul(whole, steps.start_us[tail], readings.at_us[tail], end)
                days.last_ul[meter] = steps.start_ul[tail] + passed
            if not is_unknown:
                days.between_nl[meter] = moved
        elif alone >= 0:
            days.first_at_us[meter] = days.last_at_us[meter] = readings.at_us[alone]
            days.first_ul[meter] = days.last_ul[meter] = readings.forward_ul[alone]
            days.between_nl[meter] = 0


@compiled
def _count(flags: int, counts: Indices) -> None:
    if flags:
        for bit in range(_FLAGS):
            if flags & (1 << bit):
                counts[bit] += 1


@compiled
def _share_ul(volume_nl: int, start_us: int, end_us: int, at_us: int) -> int:
    return int(np.rint(volume_nl * ((at_us - start_us) / (end_us - start_us)) / NL_PER_UL))


# --- the night ----------------------------------------------------------------------------------------------------------------


@compiled
def _nights(ends_us: Ints, bounds: Ints, steps: Steps, criteria: Criteria, days: Days) -> None:
    """The lowest mean of an hour in the night window: at its lowest the hour begins or ends where a step does."""
    first, last = criteria.night_start_us, criteria.night_end_us
    most = 0
    for meter in range(len(bounds) - 1):
        most = max(most, bounds[meter + 1] - bounds[meter])
    at_us, volume_nl, known_us = np.zeros(2 * most + 2), np.zeros(2 * most + 2), np.zeros(2 * most + 2)
    for meter in range(len(bounds) - 1):
        # What flowed and how much time is known up to each edge of a step in the window; doubtful steps are not known.
        count = 1
        at_us[0], volume_nl[0], known_us[0] = first, 0.0, 0.0
        begin = bounds[meter] + np.searchsorted(ends_us[bounds[meter] : bounds[meter + 1]], first, "right")
        for place in range(begin, bounds[meter + 1]):
            start, end = steps.start_us[place], ends_us[place]
            if start == end:
                continue
            if start >= last:
                break
            if steps.volume_nl[place] == MISSING or steps.flags[place] & (_HOLE | _UNCLEAN):
                continue
            begun, until = max(start, first), min(end, last)
            if begun > at_us[count - 1]:
                at_us[count], volume_nl[count], known_us[count] = begun, volume_nl[count - 1], known_us[count - 1]
                count += 1
            at_us[count] = until
            volume_nl[count] = volume_nl[count - 1] + steps.volume_nl[place] * ((until - begun) / (end - start))
            known_us[count] = known_us[count - 1] + (until - begun)
            count += 1
        known = known_us[count - 1]
        days.night_known_us[meter] = np.int64(known)
        if last - first < HOUR_US or known < NIGHT_KNOWN * (last - first):
            continue
        lowest = np.inf
        for edge in range(count):
            for begun in (at_us[edge] - HOUR_US, at_us[edge]):
                until = begun + HOUR_US
                if begun < first or until > last:
                    continue
                time = _at(until, at_us[:count], known_us) - _at(begun, at_us[:count], known_us)
                if time >= NIGHT_KNOWN * HOUR_US:
                    volume = _at(until, at_us[:count], volume_nl) - _at(begun, at_us[:count], volume_nl)
                    lowest = min(lowest, volume / time)
        if lowest < np.inf:
            days.night_min_nlh[meter] = np.int64(np.rint(lowest * HOUR_US))


@compiled
def _at(instant_us: float, at_us: Floats, values: Floats) -> float:
    """A value between two edges, linear; the last one after the last edge."""
    after = np.searchsorted(at_us, instant_us)
    if after == len(at_us):
        return float(values[after - 1])
    if after == 0 or at_us[after] == instant_us:
        return float(values[after])
    share = (instant_us - at_us[after - 1]) / (at_us[after] - at_us[after - 1])
    return float(values[after - 1] + (values[after] - values[after - 1]) * share)


# --- reverse flow -------------------------------------------------------------------------------------------------------------


def _reversals(readings: Readings, bounds: Ints, intervals: Intervals, hole_us: int) -> Reversals:
    rows = np.flatnonzero(intervals.reverse_nl > 0)
    end_us = intervals.end_us[rows]
    start_us = end_us - intervals.length_us[rows]
    meter = intervals.meter[rows]
    before, after = (np.full(len(rows), MISSING) for _ in range(2))
    _pressures_beside(readings, bounds, meter, start_us, end_us, hole_us, before, after)
    return Reversals(meter, start_us, end_us, intervals.reverse_nl[rows], before, intervals.pressure_pa[rows], after)


@compiled
def _pressures_beside(
    readings: Readings, bounds: Ints, meters: Indices, starts_us: Ints, ends_us: Ints, hole_us: int, before: Ints, after: Ints
) -> None:
    """Of each interval the last pressure at or before its start and the first after its end."""
    for row in range(len(meters)):
        first, last = bounds[meters[row]], bounds[meters[row] + 1]
        place = first + np.searchsorted(readings.at_us[first:last], starts_us[row], "right") - 1
        while place >= first and readings.pressure_pa[place] == MISSING:
            place -= 1
        if place >= first and starts_us[row] - readings.at_us[place] <= hole_us:
            before[row] = readings.pressure_pa[place]
        place = first + np.searchsorted(readings.at_us[first:last], ends_us[row], "right")
        while place < last and readings.pressure_pa[place] == MISSING:
            place += 1
        if place < last and readings.at_us[place] - ends_us[row] <= hole_us:
            after[row] = readings.pressure_pa[place]


# --- the histogram ------------------------------------------------------------------------------------------------------------


@compiled
def _histogram(meters: Indices, lengths_us: Ints, volumes_nl: Ints, flows_m3h: Floats) -> Histogram:
    """Of intervals by meter."""
    meter, bins = np.empty(len(meters), np.int32), np.empty(len(meters), np.int32)
    length, volume = np.empty(len(meters), np.int64), np.empty(len(meters), np.int64)
    own_length, own_volume = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    rows, lowest, highest = 0, BINS, 0
    for place in range(len(meters)):
        if not np.isnan(flows_m3h[place]):
            bin_ = bin_of(flows_m3h[place])
            if bin_ > 0:
                lowest, highest = min(lowest, bin_), max(highest, bin_)
            own_length[bin_] += lengths_us[place]
            own_volume[bin_] += volumes_nl[place]
        if place + 1 == len(meters) or meters[place + 1] != meters[place]:
            # A day's flows lie close together: to walk through their classes is cheaper than to sort those that occur.
            bin_ = 0
            while bin_ <= highest:
                if own_length[bin_] > 0:
                    meter[rows], bins[rows] = meters[place], bin_
                    length[rows], volume[rows] = own_length[bin_], own_volume[bin_]
                    own_length[bin_] = own_volume[bin_] = 0
                    rows += 1
                bin_ = max(bin_ + 1, lowest)
            lowest, highest = BINS, 0
    return Histogram(meter[:rows], bins[:rows], length[:rows], volume[:rows])

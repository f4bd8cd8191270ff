"""Steps of a unit become its intervals, hours, day, peaks, pressure, quality counts and flow histogram."""

from typing import NamedTuple

import numpy as np

from assets.kernel.steps import Steps, steps_of
from assets.kernel.unit import (
    HOUR_US,
    MISSING,
    NL_PER_M3,
    NL_PER_UL,
    PER_M3,
    UNCLEAN,
    Changes,
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
)

PEAK_RESOLUTION = 0.1
"""A peak needs resolution ÷ length of its interval up to this share of Q3: a wheel that has just turned is no flow."""

BINS_PER_DECADE = 100
"""Classes of the flow histogram: each is 2.3 % wide, fine enough for any Q1 to Q4."""

LOWEST_M3H = 1e-4


def bin_of(flow_m3h: Floats) -> Indices:
    """Class of a flow: 0 for none (or reverse), else 1 + the hundredths of decades above 10⁻⁴ m³/h; see `bin_edges`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.floor(np.log10(flow_m3h / LOWEST_M3H) * BINS_PER_DECADE + 1e-9)
    return np.where(flow_m3h > 0, np.clip(place, 0, 20 * BINS_PER_DECADE) + 1, 0).astype(np.int32)


def bin_edges(bins: Indices) -> tuple[Floats, Floats]:
    """Lowest flow (m³/h, included) and highest (excluded) of classes; class 0 is no flow."""
    low = LOWEST_M3H * 10 ** ((bins - 1) / BINS_PER_DECADE)
    return np.where(bins > 0, low, 0.0), np.where(bins > 0, low * 10 ** (1 / BINS_PER_DECADE), 0.0)


def compute(readings: Readings, facts: Facts, changes: Changes, day: Day, hole_us: int) -> Result:
    """All figures of a unit. `hole_us`: the longest hole that the register curve crosses."""
    steps, refused = steps_of(readings, facts, changes, hole_us)
    is_hole = (steps.flags & int(Flag.HOLE)) > 0
    curve = _Curve(steps, is_hole)
    pieces = _pieces(steps, is_hole, day)
    own = np.flatnonzero((readings.at_us > day.start_us) & (readings.at_us <= day.end_us))
    hours, start, end = _hours(curve, facts, day)
    return Result(
        _intervals(readings, own, refused, pieces, day),
        hours,
        _days(readings, own, refused, facts, pieces, curve, start, end, day),
        _histogram(pieces),
    )


class _Pieces(NamedTuple):
    """Steps that the day shows, each clipped to it; `flow_m3h`: mean of the whole step, NaN where it is a hole or not known."""

    steps: Steps
    start_us: Ints
    end_us: Ints
    volume_nl: Ints
    reverse_nl: Ints
    flow_m3h: Floats


def _pieces(steps: Steps, is_hole: Mask, day: Day) -> _Pieces:
    """A hole that crosses an edge of the day belongs to no day."""
    is_inside = (steps.end_us > day.start_us) & (steps.start_us < day.end_us)
    holes = np.flatnonzero(is_hole & is_inside)
    is_inside[holes[(steps.start_us[holes] < day.start_us) | (steps.end_us[holes] > day.end_us)]] = False
    shown = np.flatnonzero(is_inside)
    steps = Steps._make(column[shown] for column in steps)
    start, end = np.maximum(steps.start_us, day.start_us), np.minimum(steps.end_us, day.end_us)
    cut = np.flatnonzero((start != steps.start_us) | (end != steps.end_us))
    length = steps.end_us - steps.start_us
    early, late = (start[cut] - steps.start_us[cut]) / length[cut], (end[cut] - steps.start_us[cut]) / length[cut]

    def clipped(values_nl: Ints) -> Ints:
        """The share of the day, as a difference of the curve at its edges, each rounded once."""
        inner, whole = values_nl.copy(), values_nl[cut]
        part = (np.rint(whole * late) - np.rint(whole * early)).astype(np.int64)
        inner[cut] = np.where(whole == MISSING, MISSING, part)
        return inner

    # The quotient comes first, so that equal flows of steps of several lengths are equal bit for bit.
    flow = steps.volume_nl / length * (HOUR_US / NL_PER_M3)
    flow[(steps.volume_nl == MISSING) | is_hole[shown]] = np.nan
    return _Pieces(steps, start, end, clipped(steps.volume_nl), clipped(steps.reverse_nl), flow)


class _Curve:
    """What moved up to any instant, as sums over the steps of each meter; linear within a step."""

    def __init__(self, steps: Steps, is_hole: Mask) -> None:
        self.steps = steps
        is_unknown = steps.volume_nl == MISSING
        lacks_reverse = steps.reverse_nl == MISSING
        self._drawn = ~(is_unknown | is_hole)
        all_drawn = bool(self._drawn.all())
        self._volume = _sums(steps.volume_nl if all_drawn else np.where(is_unknown, 0, steps.volume_nl))
        self._drawn_volume = self._volume if all_drawn else _sums(np.where(self._drawn, steps.volume_nl, 0))
        length = steps.end_us - steps.start_us
        self._drawn_us = _sums(length if all_drawn else np.where(self._drawn, length, 0))
        self._reverse = _sums(np.where(lacks_reverse, 0, steps.reverse_nl)) if not lacks_reverse.all() else _no_sums(len(length))
        self._lacks_reverse = _counts(lacks_reverse)
        self._unknown = _counts(is_unknown)
        self._holes = _counts(is_hole)
        self._unclean = _counts((steps.flags & int(UNCLEAN)) > 0)
        # One sorted key for all meters, so that one search finds a place in any meter's steps.
        self._origin = int(steps.start_us.min()) - 1 if len(steps.meter) else 0
        self._span = int(steps.end_us.max()) - self._origin + 2 if len(steps.meter) else 1
        offset = steps.meter.astype(np.int64) * self._span - self._origin
        self._starts, self._ends = offset + steps.start_us, offset + steps.end_us

    def _key(self, meter: Indices, instant_us: Ints) -> Ints:
        return meter.astype(np.int64) * self._span + np.clip(instant_us - self._origin, 0, self._span - 1)

    def at(self, meter: Indices, instant_us: Ints) -> "_Point":
        """The curve of meters at instants (arrays of one shape)."""
        key = self._key(meter, instant_us)
        begun, ended = np.searchsorted(self._starts, key, "left"), np.searchsorted(self._ends, key, "right")
        if not len(self.steps.meter):
            nothing = np.zeros(key.shape, np.int64)
            return _Point(begun, ended, nothing > 0, nothing, nothing, nothing, nothing)
        steps = self.steps
        last, following = np.maximum(begun - 1, 0), np.minimum(ended, len(self._starts) - 1)
        is_own = (begun > 0) & (steps.meter[last] == meter)
        end_us = steps.end_us[last]
        is_at_end = is_own & (end_us == instant_us)
        is_at_start = (ended < len(self._starts)) & (steps.meter[following] == meter) & (steps.start_us[following] == instant_us)
        # Only instants within a step need its share; elsewhere the sums up to there are the curve.
        within = np.flatnonzero(is_own & (end_us > instant_us))
        place, instant = last.ravel()[within], np.broadcast_to(instant_us, key.shape).ravel()[within]
        passed = instant - steps.start_us[place]
        share = passed / (steps.end_us[place] - steps.start_us[place])

        def up_to(sums: Ints, values: Ints, counted: Mask) -> Ints:
            found = sums[begun]
            part = np.rint(np.where(counted, values, 0) * share).astype(np.int64)
            found.ravel()[within] = sums[place] + part
            return found

        is_drawn = self._drawn[place]
        drawn_us = self._drawn_us[begun]
        drawn_us.ravel()[within] = self._drawn_us[place] + np.where(is_drawn, passed, 0)
        is_defined = is_at_end | is_at_start
        is_defined.ravel()[within] |= is_drawn
        volume, reverse = steps.volume_nl[place], steps.reverse_nl[place]
        volume_nl = up_to(self._volume, volume, volume != MISSING)
        return _Point(
            begun,
            ended,
            is_defined,
            volume_nl,
            up_to(self._reverse, reverse, reverse != MISSING),
            drawn_us,
            volume_nl if self._drawn_volume is self._volume else up_to(self._drawn_volume, volume, is_drawn),
        )

    def between(self, first: "_Point", last: "_Point") -> "_Span":
        """What lies between two instants of each meter."""
        low, high = first.ended, np.maximum(last.begun, first.ended)
        counts = (sums[high] - sums[low] for sums in (self._unknown, self._holes, self._unclean, self._lacks_reverse))
        return _Span(
            last.volume_nl - first.volume_nl,
            last.reverse_nl - first.reverse_nl,
            last.drawn_us - first.drawn_us,
            last.drawn_volume_nl - first.drawn_volume_nl,
            *counts,
        )


class _Point(NamedTuple):
    """The curve at instants: steps begun before and ended by then, whether it is defined, and sums since the first step."""

    begun: Ints
    ended: Ints
    is_defined: Mask
    volume_nl: Ints
    reverse_nl: Ints
    drawn_us: Ints
    drawn_volume_nl: Ints


class _Span(NamedTuple):
    """Between two instants: sums, and the numbers of steps that are unknown, holes, unclean, or without reverse volume."""

    volume_nl: Ints
    reverse_nl: Ints
    drawn_us: Ints
    drawn_volume_nl: Ints
    unknown: Ints
    holes: Ints
    unclean: Ints
    lacks_reverse: Ints


def _sums(values: Ints) -> Ints:
    """Sums before each place, and the whole at the end. They may wrap: differences of them do not."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _counts(mask: Mask) -> Indices:
    """How many are set before each place, and of all at the end."""
    if not mask.any():
        return _no_sums(len(mask), np.int32)
    counts = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=counts[1:])
    return counts


def _no_sums(count: int, dtype: type = np.int64) -> np.ndarray:
    """Sums of nothing but zeros, without their memory."""
    return np.broadcast_to(np.zeros(1, dtype), count + 1)


def _intervals(readings: Readings, own: Ints, refused: Mask, pieces: _Pieces, day: Day) -> Intervals:
    steps = pieces.steps
    after = steps.after
    goes_on = np.flatnonzero(steps.end_us > day.end_us)  # its reading belongs to the next day

    def of_reading(column: np.ndarray, nothing: float) -> np.ndarray:
        values = column[after]
        values[goes_on] = nothing
        return values

    shown = Intervals(
        steps.meter,
        pieces.end_us,
        pieces.end_us - pieces.start_us,
        pieces.volume_nl,
        pieces.reverse_nl,
        pieces.flow_m3h,
        of_reading(readings.forward_ul, MISSING),
        of_reading(readings.pressure_pa, MISSING),
        of_reading(readings.flow_m3h, np.nan),
        steps.flags,
    )
    ends_none = np.ones(len(readings.meter), bool)
    ends_none[after] = False
    ends_none[after[goes_on]] = True
    alone = own[ends_none[own]]
    count = len(alone)
    if not count:
        return shown
    no_volume = np.full(count, MISSING)
    others = Intervals(
        readings.meter[alone],
        readings.at_us[alone],
        np.zeros(count, np.int64),
        no_volume,
        no_volume,
        np.full(count, np.nan),
        np.where(refused[alone], MISSING, readings.forward_ul[alone]),
        readings.pressure_pa[alone],
        readings.flow_m3h[alone],
        readings.flags[alone] | np.where(refused[alone], int(Flag.REFUSED), 0).astype(np.int32),
    )
    joined = Intervals(*(np.concatenate([one, two]) for one, two in zip(shown, others, strict=True)))
    order = np.lexsort((-joined.length_us, joined.end_us, joined.meter))
    return Intervals._make(column[order] for column in joined)


def _hours(curve: _Curve, facts: Facts, day: Day) -> tuple[Hours, "_Point", "_Point"]:
    """The hours, and the curve of every meter at the start and the end of the day."""
    meters, hours = len(facts.q4_m3h), len(day.edges_us) - 1
    meter = np.repeat(np.arange(meters, dtype=np.int32), hours + 1).reshape(meters, hours + 1)
    points = curve.at(meter, np.broadcast_to(day.edges_us, meter.shape))
    first, last = (_Point._make(column[:, place] for column in points) for place in (slice(0, -1), slice(1, None)))
    start, end = (_Point._make(column[:, place] for column in points) for place in (0, -1))
    span = curve.between(first, last)
    is_whole = first.is_defined & last.is_defined & (span.holes == 0) & (span.drawn_us == np.diff(day.edges_us))
    is_known = (span.unknown == 0) & (facts.reads_flow[:, None] | is_whole)
    shown = np.flatnonzero((span.drawn_us > 0) | (span.unknown > 0))
    where_meter, where_hour = np.divmod(shown, hours)
    has_reverse = is_known & (span.lacks_reverse == 0)
    found = Hours(
        where_meter.astype(np.int32),
        where_hour.astype(np.int32),
        np.where(is_known, span.volume_nl, MISSING).ravel()[shown],
        np.where(has_reverse, span.reverse_nl, MISSING).ravel()[shown],
        span.drawn_us.ravel()[shown],
        (span.unclean == 0).ravel()[shown],
    )
    return found, start, end


OF_READINGS = int(Flag.OFF_GRID | Flag.CONFLICT | Flag.PRESSURE_RANGE)
"""Flags of a reading, counted whether a step ends there or not; the others are counted once a step."""


def _flag_counts(readings: Readings, own: Ints, refused: Ints, steps: Steps, meters: int) -> Indices:
    """How often each flag is set, by meter and bit; `refused`: readings of the day that are refused."""
    counts = np.zeros((meters, len(Flag)), np.int32)
    reading_flags = readings.flags[own]
    marked = np.flatnonzero(reading_flags & OF_READINGS)
    flagged = np.flatnonzero(steps.flags & ~(OF_READINGS | int(Flag.REFUSED)))
    for meter, flags in (
        (readings.meter[own[marked]], reading_flags[marked] & OF_READINGS),
        (steps.meter[flagged], steps.flags[flagged]),
    ):
        for bit in range(len(Flag)):
            is_set = (flags & (1 << bit)) > 0
            if is_set.any() and (1 << bit) != Flag.REFUSED:
                counts[:, bit] += np.bincount(meter[is_set], minlength=meters).astype(np.int32)
    counts[:, Flag.REFUSED.bit_length() - 1] = np.bincount(readings.meter[refused], minlength=meters)
    return counts


def _days(
    readings: Readings,
    own: Ints,
    refused: Mask,
    facts: Facts,
    pieces: _Pieces,
    curve: _Curve,
    start: "_Point",
    end: "_Point",
    day: Day,
) -> Days:
    meters, steps = len(facts.q4_m3h), pieces.steps
    span = curve.between(start, end)
    is_known = (span.unknown == 0) & np.where(facts.reads_flow, span.drawn_us > 0, start.is_defined & end.is_defined)
    reading_meter = readings.meter[own]
    is_refused = refused[own]
    is_measured = (readings.forward_ul[own] != MISSING) | ~np.isnan(readings.flow_m3h[own]) | is_refused
    counts = _flag_counts(readings, own, own[is_refused], steps, meters)
    pressures = readings.pressure_pa[own]
    has_pressure = np.flatnonzero(pressures != MISSING)
    pressures, pressure_meter = pressures[has_pressure], reading_meter[has_pressure]
    pressure = _extremes(pressure_meter, readings.at_us, own[has_pressure], pressures, meters)
    # The register resolves a step whose length is at least this; a meter that reports flow resolves every one.
    shortest_h = np.where(facts.reads_flow, 0.0, facts.resolution_ul / PER_M3 / (PEAK_RESOLUTION * facts.q3_m3h))
    is_resolved = (steps.end_us - steps.start_us) >= np.floor(shortest_h * HOUR_US)[steps.meter]
    peaks = np.flatnonzero(is_resolved & ~np.isnan(pieces.flow_m3h))
    peak = _extremes(steps.meter[peaks], pieces.end_us, peaks, pieces.flow_m3h[peaks], meters)
    known = _known_ends(readings, refused, facts, steps, curve, day)
    present = np.zeros(meters, bool)
    present[reading_meter] = True
    present[steps.meter] = True
    rows = np.flatnonzero(present)
    columns = Days(
        np.arange(meters, dtype=np.int32),
        np.where(is_known, span.volume_nl, MISSING),
        np.where(is_known & (span.lacks_reverse == 0), span.reverse_nl, MISSING),
        span.drawn_us,
        span.drawn_volume_nl,
        (span.unclean == 0) & (counts[:, Flag.REFUSED.bit_length() - 1] == 0),
        peak.highest,
        peak.highest_at,
        peak.lowest,
        peak.lowest_at,
        pressure.highest,
        pressure.highest_at,
        pressure.lowest,
        pressure.lowest_at,
        _totals(pressure_meter, pressures, meters),
        np.bincount(pressure_meter, minlength=meters),
        np.bincount(reading_meter[is_measured], minlength=meters),
        counts,
        *known,
    )
    return Days._make(column[rows] for column in columns)


def _begins(ascending: Indices) -> Ints:
    """Where each run of equal values begins."""
    if not len(ascending):
        return np.empty(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(ascending[1:] != ascending[:-1]) + 1])


def _totals(meter: Indices, values: Ints, meters: int) -> Ints:
    """Sums by meter; `meter` ascends."""
    totals, begins = np.zeros(meters, np.int64), _begins(meter)
    if len(begins):
        totals[meter[begins]] = np.add.reduceat(values, begins)
    return totals


class _Extremes(NamedTuple):
    """Highest and lowest value of each meter, and the first time of each; MISSING or NaN where there is none."""

    highest: np.ndarray
    highest_at: Ints
    lowest: np.ndarray
    lowest_at: Ints


def _extremes(meter: Indices, at_us: Ints, places: Ints, values: np.ndarray, meters: int) -> _Extremes:
    """`meter` and `values`: of `places`, which ascend by meter and time; `at_us`: of all places."""
    nothing = np.nan if values.dtype.kind == "f" else MISSING
    found = _Extremes(
        np.full(meters, nothing, values.dtype),
        np.full(meters, MISSING),
        np.full(meters, nothing, values.dtype),
        np.full(meters, MISSING),
    )
    begins = _begins(meter)
    if not len(begins):
        return found
    sizes = np.diff(np.append(begins, len(meter)))
    for ufunc, into, into_at in ((np.maximum, found.highest, found.highest_at), (np.minimum, found.lowest, found.lowest_at)):
        best = ufunc.reduceat(values, begins)
        is_best = np.flatnonzero(values == np.repeat(best, sizes))
        first = is_best[_begins(meter[is_best])]
        into[meter[begins]] = best
        into_at[meter[first]] = at_us[places[first]]
    return found


def _known_ends(
    readings: Readings, refused: Mask, facts: Facts, steps: Steps, curve: _Curve, day: Day
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Of register meters: where the curve is known first and last in the day, the register there, the volume between."""
    meters = len(facts.q4_m3h)
    first_at, first_ul, last_at, last_ul, between = (np.full(meters, MISSING) for _ in range(5))
    # All steps of a meter have registers, or none: it reads its register, or reports flow only.
    begins = _begins(steps.meter)
    ends = np.append(begins[1:], len(steps.meter)) - 1 if len(begins) else begins
    has_register = steps.start_ul[begins] != MISSING
    head, tail = begins[has_register], ends[has_register]
    if len(head):
        meter = steps.meter[head]

        def part(place: Ints, instant_us: Ints) -> Ints:
            length = steps.end_us[place] - steps.start_us[place]
            moved = np.where(steps.volume_nl[place] == MISSING, 0, steps.volume_nl[place])
            share = (instant_us - steps.start_us[place]) / length
            return np.asarray(np.rint(moved * share / NL_PER_UL), np.int64)

        first, last = np.maximum(steps.start_us[head], day.start_us), np.minimum(steps.end_us[tail], day.end_us)
        first_at[meter], last_at[meter] = first, last
        # At an edge inside a step the register follows from the reading on the day's own side: a change within does not matter.
        inner = first > steps.start_us[head]
        whole = np.where(steps.volume_nl[head] == MISSING, 0, steps.volume_nl[head] // NL_PER_UL)
        first_ul[meter] = np.where(inner, steps.end_ul[head] - (whole - part(head, first)), steps.start_ul[head])
        outer = last < steps.end_us[tail]
        last_ul[meter] = np.where(outer, steps.start_ul[tail] + part(tail, last), steps.end_ul[tail])
        span = curve.between(curve.at(meter, first), curve.at(meter, last))
        between[meter] = np.where(span.unknown == 0, span.volume_nl, MISSING)
    lacks = ~facts.reads_flow & (first_at == MISSING)
    if lacks.any():
        alone = np.flatnonzero(
            lacks[readings.meter]
            & (readings.forward_ul != MISSING)
            & ~refused
            & (readings.at_us >= day.start_us)
            & (readings.at_us <= day.end_us)
        )
        only = alone[_begins(readings.meter[alone])]
        meter = readings.meter[only]
        first_at[meter] = last_at[meter] = readings.at_us[only]
        first_ul[meter] = last_ul[meter] = readings.forward_ul[only]
        between[meter] = 0
    return first_at, first_ul, last_at, last_ul, between


def _histogram(pieces: _Pieces) -> Histogram:
    counted = np.flatnonzero(~np.isnan(pieces.flow_m3h))
    bins = bin_of(pieces.flow_m3h[counted])
    meter = pieces.steps.meter[counted]
    # By meter and class: two stable sorts of 16-bit keys, which numpy counts instead of compares.
    by_bin = np.argsort(bins.astype(np.uint16), kind="stable")
    narrow = np.min_scalar_type(int(meter.max(initial=0)))
    order = by_bin[np.argsort(meter[by_bin].astype(narrow), kind="stable")]
    meter, bins, counted = meter[order], bins[order], counted[order]
    begins = _begins(meter.astype(np.int64) * (20 * BINS_PER_DECADE + 2) + bins)
    if not len(begins):
        nothing = np.empty(0, np.int64)
        return Histogram(nothing.astype(np.int32), nothing.astype(np.int32), nothing, nothing)
    length = np.add.reduceat((pieces.end_us - pieces.start_us)[counted], begins)
    return Histogram(meter[begins], bins[begins], length, np.add.reduceat(pieces.volume_nl[counted], begins))

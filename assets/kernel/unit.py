"""What goes into a unit and what comes out: arrays, with their units and sentinels."""

from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Indices = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MISSING = np.iinfo(np.int64).min
"""An integer that was not measured or is not known; never 0."""

PER_M3 = 1_000_000_000
"""Registers count microlitres (10⁻⁹ m³)."""

NL_PER_UL = 1_000
NL_PER_M3 = PER_M3 * NL_PER_UL
"""Volumes count nanolitres (10⁻¹² m³), so that the coefficients of a meter that passes a litre a day are exact to 10⁻⁶."""

HOUR_US = 3_600_000_000


class Flag(IntFlag):
    """What is to be known of an interval, or of a reading that the curve does not use."""

    HOLE = 1
    FALL = 2
    IMPOSSIBLE_RISE = 4
    BRIDGED = 8
    ROLLOVER = 16
    REPLACED = 32
    REVERSE = 64
    RESET = 128
    OFF_GRID = 256
    CONFLICT = 512
    PRESSURE_RANGE = 1024
    REFUSED = 2048


UNCLEAN = Flag.FALL | Flag.IMPOSSIBLE_RISE | Flag.BRIDGED | Flag.RESET | Flag.REFUSED
"""An interval with one of these is not clean: its volume is not beyond doubt."""


class Facts(NamedTuple):
    """Facts of a unit's meters on its day, by meter index.

    `reads_flow`: the meter reports flow only. `q1_m3h` to `q4_m3h`: minimum, transitional, permanent and overload flow (infinite
    where not known). `modulus_ul`, `resolution_ul`: of the register (µL). `step_us`: expected time between readings.
    `pressure_low_pa`: lower limit of service pressure.
    """

    reads_flow: Mask
    q1_m3h: Floats
    q2_m3h: Floats
    q3_m3h: Floats
    q4_m3h: Floats
    modulus_ul: Ints
    resolution_ul: Ints
    step_us: Ints
    pressure_low_pa: Ints


class Changes(NamedTuple):
    """Replacements of meters by (meter, time): the old register's last and the new one's first value (µL).

    A change of which only the day is known has `until_us` at that day's end; else `until_us` equals `at_us`.
    """

    meter: Indices
    at_us: Ints
    until_us: Ints
    old_final_ul: Ints
    new_initial_ul: Ints


class Readings(NamedTuple):
    """Readings by (meter, time), one a (meter, time): those of the day and of the longest hole to either side.

    `forward_ul`, `reverse_ul`: registers (µL, `MISSING`). `flow_m3h`: flow that the device reports (NaN: none). `pressure_pa`:
    10⁻⁶ MPa, `MISSING` where not measured or refused. `flags`: of the reading itself (`Flag`).
    """

    meter: Indices
    at_us: Ints
    forward_ul: Ints
    reverse_ul: Ints
    flow_m3h: Floats
    pressure_pa: Ints
    flags: Indices


def bounds_of(meter: Indices, meters: int) -> Ints:
    """Where the readings of each meter begin, and their end."""
    return np.searchsorted(meter, np.arange(meters + 1, dtype=np.int32))


class Day(NamedTuple):
    """A local day: its edges (µs since 1970 UTC): the day's start, the starts of its other local clock hours, its end."""

    edges_us: Ints

    @property
    def start_us(self) -> int:
        return int(self.edges_us[0])

    @property
    def end_us(self) -> int:
        return int(self.edges_us[-1])


class Criteria(NamedTuple):
    """What a day is judged by: the night window (µs since 1970 UTC; empty where it does not end after it starts), and the rise of
    flow (share of Q4) and fall of pressure from one reading to the next that count as a drop.
    """

    night_start_us: int
    night_end_us: int
    drop_share: float
    drop_pa: int


class Intervals(NamedTuple):
    """Intervals by (meter, end): steps clipped to the day, and readings that end no step (length 0, no volume).

    `end_us`, `length_us`; `volume_nl`, `reverse_nl`, `register_ul`, `pressure_pa`: `MISSING` where not known; `flow_m3h`: mean of
    the whole step (NaN in a hole); `device_flow_m3h`: NaN where not reported; `flags`.
    """

    meter: Indices
    end_us: Ints
    length_us: Ints
    volume_nl: Ints
    reverse_nl: Ints
    flow_m3h: Floats
    register_ul: Ints
    pressure_pa: Ints
    device_flow_m3h: Floats
    flags: Indices


class Hours(NamedTuple):
    """Hours with any known time or pressure. `hour` indexes `Day.edges_us`; volumes `MISSING` where the curve is not known
    throughout. `has_curve`: a step touches the hour. `pressure_min_pa`: `MISSING` where none was measured.
    """

    meter: Indices
    hour: Indices
    volume_nl: Ints
    reverse_nl: Ints
    known_us: Ints
    clean: Mask
    has_curve: Mask
    pressure_sum_pa: Ints
    pressure_count: Ints
    pressure_min_pa: Ints


class Days(NamedTuple):
    """A row a meter with any reading or step in the day; see `Result`."""

    meter: Indices
    volume_nl: Ints
    reverse_nl: Ints
    known_us: Ints
    known_volume_nl: Ints
    clean: Mask
    flow_max_m3h: Floats
    flow_max_at_us: Ints
    flow_min_m3h: Floats
    flow_min_at_us: Ints
    pressure_max_pa: Ints
    pressure_max_at_us: Ints
    pressure_min_pa: Ints
    pressure_min_at_us: Ints
    pressure_sum_pa: Ints
    pressure_count: Ints
    pressure_low_count: Ints
    """Pressures below the meter's limit."""
    night_min_nlh: Ints
    night_known_us: Ints
    """Lowest mean of an hour in the night window (nL/h; `MISSING` where less than three quarters of it are known), and how much
    of the window is known beyond doubt."""
    fit_n: Ints
    fit_p_sum: Floats
    fit_p2_sum: Floats
    fit_q2_sum: Floats
    fit_q4_sum: Floats
    fit_pq2_sum: Floats
    """Sums over the intervals with a flow that the register resolves and a pressure: P (MPa), P², Q² (m³/h)², Q⁴, P·Q²."""
    drop_count: Ints
    """Intervals in which the flow rises and the pressure falls as `Criteria` has it."""
    readings: Ints
    counts: NDArray[np.int32]
    """(meters, 12): steps or readings with each flag, bit 0 first; a flag counts once a step, however many hours it crosses."""
    first_at_us: Ints
    first_ul: Ints
    last_at_us: Ints
    last_ul: Ints
    between_nl: Ints
    """Where the curve of a register meter is known first and last in the day, the register there, and the volume between."""
    last: Ints
    last_pressure: Ints
    """Places of the last reading in the day, and of the last whose pressure can be believed; `MISSING`: there is none."""


class Histogram(NamedTuple):
    """Time and volume by flow class of each meter: `bin` of `aggregate.bin_of`; only classes that occur."""

    meter: Indices
    bin: Indices
    length_us: Ints
    volume_nl: Ints


class Reversals(NamedTuple):
    """Intervals in which water flowed backwards, by (meter, end).

    `pressure_before_pa`, `pressure_pa`, `pressure_after_pa`: the last at or before the interval's start, the one at its end, the
    first after it; `MISSING` where none is within the longest hole.
    """

    meter: Indices
    start_us: Ints
    end_us: Ints
    reverse_nl: Ints
    pressure_before_pa: Ints
    pressure_pa: Ints
    pressure_after_pa: Ints


class Zones(NamedTuple):
    """(meters, `zones.ZONES`): time and volume of the day by zone of flow."""

    length_us: Ints
    volume_nl: Ints


class Result(NamedTuple):
    """Everything that needs the resolution of intervals, of one unit."""

    intervals: Intervals
    hours: Hours
    days: Days
    histogram: Histogram
    reversals: Reversals
    zones: Zones
    """A row a row of `days`."""

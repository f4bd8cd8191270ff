"""Raw readings of a unit: their integers, what one reading alone tells, and which meters need a look at earlier readings."""

from typing import NamedTuple

import numpy as np

from assets.kernel import chain
from assets.kernel.compiled import compiled
from assets.kernel.unit import HOUR_US, MISSING, PER_M3, Facts, Flag, Floats, Indices, Ints, Mask, Readings

PRESSURE_MPA = (-0.05, 1.6)
"""Pressures outside are refused (docs/domain.md#validation-rules, V14)."""

REGISTER_M3 = 2e9
"""Registers beyond (either sign) are refused: no meter has one, and differences of them would not fit into 64 bits."""

OFF_GRID_US = 60_000_000
MILLION = 1_000_000

LONE_RISE, LEAST_RESOLUTIONS = 5.0, 10
"""A great rise is one that is impossible, or so many times as fast as any other of its day and of so many resolutions."""

FEW_RISES = 3
"""With more great rises in a day a limit is wrong, or water burst out: no fall came to its end."""

_LOWEST_MPA, _HIGHEST_MPA = PRESSURE_MPA
_OFF_GRID, _OUT_OF_RANGE = int(Flag.OFF_GRID), int(Flag.PRESSURE_RANGE)
_REFUSED, _CONFLICT = int(Flag.REFUSED), int(Flag.CONFLICT)


class Raw(NamedTuple):
    """Raw readings by (meter, time), one a (meter, time), of a longer time than a unit's: device times (µs since 1970 UTC),
    values as the device gave them (NaN where not measured), and whether a later arrival contradicted one."""

    at_us: Ints
    forward_m3: Floats
    reverse_m3: Floats
    flow_m3h: Floats
    pressure_mpa: Floats
    contradicted: Mask


class Clock(NamedTuple):
    """What the local clock is ahead of UTC: `ahead_us[n]` from `from_us[n]` on."""

    from_us: Ints
    ahead_us: Ints


@compiled
def is_sorted(meter: Indices, at_us: Ints) -> bool:
    """Whether readings are of a meter each, by (meter, time), one a (meter, time)."""
    for place in range(len(meter)):
        if meter[place] < 0:
            return False
        if place > 0 and (
            meter[place] < meter[place - 1] or (meter[place] == meter[place - 1] and at_us[place] <= at_us[place - 1])
        ):
            return False
    return True


@compiled
def _microlitres(register_m3: float) -> int:
    if not abs(register_m3) <= REGISTER_M3:
        return MISSING
    return int(np.rint(register_m3 * MILLION)) * (PER_M3 // MILLION)


class Window(NamedTuple):
    """Where the readings of each meter in a span of time begin and end among those of a longer time."""

    begins: Ints
    ends: Ints


def window(at_us: Ints, bounds: Ints, first_us: int, last_us: int) -> Window:
    """The readings of each meter between two instants, both included. `bounds`: see `bounds_of`."""
    found = Window(np.empty(len(bounds) - 1, np.int64), np.empty(len(bounds) - 1, np.int64))
    _find(bounds, at_us, first_us, last_us, found)
    return found


@compiled
def _find(bounds: Ints, at_us: Ints, first_us: int, last_us: int, found: Window) -> None:
    for meter in range(len(bounds) - 1):
        own = at_us[bounds[meter] : bounds[meter + 1]]
        found.begins[meter] = bounds[meter] + np.searchsorted(own, first_us, "left")
        found.ends[meter] = bounds[meter] + np.searchsorted(own, last_us, "right")


def taken(raw: Raw, within: Window, facts: Facts, clock: Clock) -> tuple[Readings, Ints]:
    """The readings of a window, and the place of each among the raw ones.

    Each has its own flags: off the grid of its meter in local time, pressure or register out of range, contradicted. A register
    is taken in millionths of a m³: they are exact in binary, so that differences of large registers are, too.
    """
    count = int((within.ends - within.begins).sum())
    kinds = (np.int32, np.int64, np.int64, np.int64, np.float64, np.int64, np.int32)
    found = Readings._make(np.empty(count, kind) for kind in kinds)
    places = np.empty(count, np.int64)
    grids_us = np.where(facts.step_us % HOUR_US == 0, HOUR_US, facts.step_us)
    _take(raw, within, grids_us, clock, found, places)
    return found, places


@compiled
def _take(raw: Raw, within: Window, grids_us: Ints, clock: Clock, found: Readings, places: Ints) -> None:
    row = 0
    for meter in range(len(within.begins)):
        grid, part = grids_us[meter], 0
        half = grid // 2
        for place in range(within.begins[meter], within.ends[meter]):
            at = raw.at_us[place]
            while part + 1 < len(clock.from_us) and clock.from_us[part + 1] <= at:
                part += 1
            flags = _OFF_GRID if abs((at + clock.ahead_us[part] + half) % grid - half) > OFF_GRID_US else 0
            pressure, pressure_pa = raw.pressure_mpa[place], np.int64(MISSING)
            if pressure < _LOWEST_MPA or pressure > _HIGHEST_MPA:
                flags |= _OUT_OF_RANGE
            elif not np.isnan(pressure):
                pressure_pa = np.int64(np.rint(pressure * MILLION))
            forward, reverse = raw.forward_m3[place], raw.reverse_m3[place]
            if abs(forward) > REGISTER_M3 or abs(reverse) > REGISTER_M3:
                flags |= _REFUSED
            if raw.contradicted[place]:
                flags |= _CONFLICT
            places[row] = place
            found.meter[row] = meter
            found.at_us[row] = at
            found.forward_ul[row], found.reverse_ul[row] = _microlitres(forward), _microlitres(reverse)
            found.flow_m3h[row] = raw.flow_m3h[place]
            found.pressure_pa[row] = pressure_pa
            found.flags[row] = flags
            row += 1


def doubtful(raw: Raw, within: Window, facts: Facts) -> tuple[Ints, Ints]:
    """Meters whose first register is exactly 0, and meters with few great rises of which one is not taken back at once."""
    begins_at_zero, rises = np.zeros(len(within.begins), bool), np.zeros(len(within.begins), bool)
    least_ul = LEAST_RESOLUTIONS * facts.resolution_ul
    _doubt(within, raw.at_us, raw.forward_m3, chain.rate(facts.q4_m3h), least_ul, begins_at_zero, rises)
    return np.flatnonzero(begins_at_zero), np.flatnonzero(rises)


@compiled
def _doubt(
    within: Window, at_us: Ints, forward_m3: Floats, limit_ul_us: Floats, least_ul: Ints, begins_at_zero: Mask, rises: Mask
) -> None:
    most = 0
    for meter in range(len(within.begins)):
        most = max(most, within.ends[meter] - within.begins[meter])
    times_us, registers_ul, rates = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float64)
    for meter in range(len(within.begins)):
        count, fastest = 0, -np.inf
        for place in range(within.begins[meter], within.ends[meter]):
            register = _microlitres(forward_m3[place])
            if register == MISSING:
                continue
            times_us[count], registers_ul[count] = at_us[place], register
            if count > 0:
                rates[count] = (register - registers_ul[count - 1]) / (times_us[count] - times_us[count - 1])
                fastest = max(fastest, rates[count])
            count += 1
        begins_at_zero[meter] = count > 0 and registers_ul[0] == 0
        if count < 2 or fastest <= 0:
            continue
        fast = 0
        for number in range(1, count):
            fast += rates[number] * LONE_RISE > fastest
        great = min(limit_ul_us[meter], fastest / LONE_RISE) if fast == 1 else limit_ul_us[meter]
        if fastest <= great:
            continue
        great_rises, taken_back = 0, 0
        for number in range(1, count):
            if rates[number] > great and registers_ul[number] - registers_ul[number - 1] > least_ul[meter]:
                great_rises += 1
                taken_back += number + 1 < count and registers_ul[number + 1] < registers_ul[number]
        rises[meter] = taken_back < great_rises <= FEW_RISES

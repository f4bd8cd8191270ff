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
_OFF_GRID, _OUT_OF_RANGE, _REFUSED = int(Flag.OFF_GRID), int(Flag.PRESSURE_RANGE), int(Flag.REFUSED)


def readings_of(
    meter: Indices,
    at_us: Ints,
    local_us: Ints,
    forward_m3: Floats,
    reverse_m3: Floats,
    flow_m3h: Floats,
    pressure_mpa: Floats,
    facts: Facts,
) -> Readings:
    """Readings with their own flags: off the grid of their meter in local time (`local_us`), pressure or register out of range.

    Columns by (meter, time), NaN where not measured. A register is taken in millionths of a m³: they are exact in binary, so that
    differences of large registers are, too.
    """
    count = len(at_us)
    forward_ul, reverse_ul, pressure_pa = (np.empty(count, np.int64) for _ in range(3))
    found = Readings(meter, at_us, forward_ul, reverse_ul, flow_m3h, pressure_pa, np.empty(count, np.int32))
    grids = np.where(facts.step_us % HOUR_US == 0, HOUR_US, facts.step_us)
    _read(local_us, forward_m3, reverse_m3, pressure_mpa, grids, found)
    return found


@compiled
def _read(local_us: Ints, forward_m3: Floats, reverse_m3: Floats, pressure_mpa: Floats, grids_us: Ints, found: Readings) -> None:
    for place in range(len(local_us)):
        grid = grids_us[found.meter[place]]
        half = grid // 2
        flags = _OFF_GRID if abs((local_us[place] + half) % grid - half) > OFF_GRID_US else 0
        pressure = pressure_mpa[place]
        found.pressure_pa[place] = MISSING
        if pressure < _LOWEST_MPA or pressure > _HIGHEST_MPA:
            flags |= _OUT_OF_RANGE
        elif not np.isnan(pressure):
            found.pressure_pa[place] = np.int64(np.rint(pressure * MILLION))
        forward, reverse = forward_m3[place], reverse_m3[place]
        found.forward_ul[place], found.reverse_ul[place] = _microlitres(forward), _microlitres(reverse)
        if abs(forward) > REGISTER_M3 or abs(reverse) > REGISTER_M3:
            flags |= _REFUSED
        found.flags[place] = flags


@compiled
def _microlitres(register_m3: float) -> int:
    if not abs(register_m3) <= REGISTER_M3:
        return MISSING
    return int(np.rint(register_m3 * MILLION)) * (PER_M3 // MILLION)


class Window(NamedTuple):
    """Where the readings of each meter in a span of time begin and end among those of a longer time."""

    begins: Ints
    ends: Ints


def window(readings: Readings, bounds: Ints, first_us: int, last_us: int) -> Window:
    """The readings of each meter between two instants, both included. `bounds`: see `bounds_of`."""
    found = Window(np.empty(len(bounds) - 1, np.int64), np.empty(len(bounds) - 1, np.int64))
    _find(bounds, readings.at_us, first_us, last_us, found)
    return found


@compiled
def _find(bounds: Ints, at_us: Ints, first_us: int, last_us: int, found: Window) -> None:
    for meter in range(len(bounds) - 1):
        own = at_us[bounds[meter] : bounds[meter + 1]]
        found.begins[meter] = bounds[meter] + np.searchsorted(own, first_us, "left")
        found.ends[meter] = bounds[meter] + np.searchsorted(own, last_us, "right")


def taken(readings: Readings, within: Window) -> tuple[Readings, Ints]:
    """The readings of a window, and the place of each among `readings`."""
    count = int((within.ends - within.begins).sum())
    found = Readings._make(np.empty(count, column.dtype) for column in readings)
    places = np.empty(count, np.int64)
    _take(readings, within, found, places)
    return found, places


@compiled
def _take(readings: Readings, within: Window, found: Readings, places: Ints) -> None:
    row = 0
    for meter in range(len(within.begins)):
        for place in range(within.begins[meter], within.ends[meter]):
            places[row] = place
            found.meter[row] = meter
            found.at_us[row] = readings.at_us[place]
            found.forward_ul[row] = readings.forward_ul[place]
            found.reverse_ul[row] = readings.reverse_ul[place]
            found.flow_m3h[row] = readings.flow_m3h[place]
            found.pressure_pa[row] = readings.pressure_pa[place]
            found.flags[row] = readings.flags[place]
            row += 1


def doubtful(readings: Readings, within: Window, facts: Facts) -> tuple[Ints, Ints]:
    """Meters whose first register is exactly 0, and meters with few great rises of which one is not taken back at once."""
    begins_at_zero, rises = np.zeros(len(within.begins), bool), np.zeros(len(within.begins), bool)
    least_ul = LEAST_RESOLUTIONS * facts.resolution_ul
    _doubt(within, readings.at_us, readings.forward_ul, chain.rate(facts.q4_m3h), least_ul, begins_at_zero, rises)
    return np.flatnonzero(begins_at_zero), np.flatnonzero(rises)


@compiled
def _doubt(
    within: Window, at_us: Ints, forward_ul: Ints, limit_ul_us: Floats, least_ul: Ints, begins_at_zero: Mask, rises: Mask
) -> None:
    shown = np.empty(len(at_us), np.int64)
    for meter in range(len(within.begins)):
        count = 0
        for place in range(within.begins[meter], within.ends[meter]):
            if forward_ul[place] != MISSING:
                shown[count] = place
                count += 1
        begins_at_zero[meter] = count > 0 and forward_ul[shown[0]] == 0
        fastest, fast = -np.inf, 0
        for number in range(1, count):
            fastest = max(fastest, _rise(shown, number, forward_ul) / _rise(shown, number, at_us))
        for number in range(1, count):
            fast += _rise(shown, number, forward_ul) / _rise(shown, number, at_us) * LONE_RISE > fastest
        great = min(limit_ul_us[meter], fastest / LONE_RISE) if fast == 1 else limit_ul_us[meter]
        if count < 2 or fastest <= great:
            continue
        great_rises, taken_back = 0, 0
        for number in range(1, count):
            rise = _rise(shown, number, forward_ul)
            if rise / _rise(shown, number, at_us) > great and rise > least_ul[meter]:
                great_rises += 1
                taken_back += number + 1 < count and forward_ul[shown[number + 1]] < forward_ul[shown[number]]
        rises[meter] = taken_back < great_rises <= FEW_RISES


@compiled
def _rise(shown: Ints, number: int, values: Ints) -> int:
    return int(values[shown[number]] - values[shown[number - 1]])

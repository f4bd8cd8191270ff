"""Raw readings of a unit: their integers, what one reading alone tells, and which meters need a look at earlier readings."""

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


def doubtful(meter: Indices, at_us: Ints, forward_m3: Floats, facts: Facts) -> tuple[Ints, Ints]:
    """Meters whose first register is exactly 0, and meters with few great rises of which one is not taken back at once."""
    meters = len(facts.q4_m3h)
    bounds = np.searchsorted(meter, np.arange(meters + 1))
    begins_at_zero, rises = np.zeros(meters, bool), np.zeros(meters, bool)
    limit = chain.RISE_FACTOR * facts.q4_m3h / HOUR_US
    _doubt(bounds, at_us, forward_m3, limit, LEAST_RESOLUTIONS * facts.resolution_ul / PER_M3, begins_at_zero, rises)
    return np.flatnonzero(begins_at_zero), np.flatnonzero(rises)


@compiled
def _doubt(
    bounds: Ints, at_us: Ints, forward_m3: Floats, limit_m3us: Floats, least_m3: Floats, begins_at_zero: Mask, rises: Mask
) -> None:
    shown = np.empty(len(at_us), np.int64)
    for meter in range(len(bounds) - 1):
        count = 0
        for place in range(bounds[meter], bounds[meter + 1]):
            if not np.isnan(forward_m3[place]):
                shown[count] = place
                count += 1
        begins_at_zero[meter] = count > 0 and forward_m3[shown[0]] == 0.0
        fastest, fast = -np.inf, 0
        for number in range(1, count):
            fastest = max(fastest, _rise(shown, number, forward_m3) / _rise(shown, number, at_us))
        for number in range(1, count):
            fast += _rise(shown, number, forward_m3) / _rise(shown, number, at_us) * LONE_RISE > fastest
        great = min(limit_m3us[meter], fastest / LONE_RISE) if fast == 1 else limit_m3us[meter]
        if count < 2 or fastest <= great:
            continue
        great_rises, taken_back = 0, 0
        for number in range(1, count):
            rise = _rise(shown, number, forward_m3)
            if rise / _rise(shown, number, at_us) > great and rise > least_m3[meter]:
                great_rises += 1
                taken_back += number + 1 < count and forward_m3[shown[number + 1]] < forward_m3[shown[number]]
        rises[meter] = taken_back < great_rises <= FEW_RISES


@compiled
def _rise(shown: Ints, number: int, values: Ints | Floats) -> float:
    return float(values[shown[number]] - values[shown[number - 1]])

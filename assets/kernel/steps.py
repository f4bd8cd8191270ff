"""Steps of the register curve of all meters of a unit: two believed readings and what moved between them.

Nearly all meters take the fast path: differences of neighbours. A meter with a fall, an impossible rise or a replacement goes
through `chain.py`. Both give the same for readings that agree with each other.
"""

from typing import NamedTuple

import numpy as np

from assets.kernel import chain
from assets.kernel.chain import Change, Limits
from assets.kernel.compiled import compiled
from assets.kernel.unit import HOUR_US, MISSING, NL_PER_M3, NL_PER_UL, Changes, Facts, Flag, Floats, Indices, Ints, Mask, Readings

MOST_UL = np.iinfo(np.int64).max // NL_PER_UL
"""A step of more (9 223 372 m³) is not known: its nanolitres would not fit into 64 bits."""

_HOLE, _RISE, _REVERSE, _REFUSED = (int(flag) for flag in (Flag.HOLE, Flag.IMPOSSIBLE_RISE, Flag.REVERSE, Flag.REFUSED))


class Steps(NamedTuple):
    """Of each reading the step that ends at it; steps of a meter never overlap.

    `start_us`: the reading's own time where no step ends. `start_ul`: the register there (`MISSING` of flow meters). `volume_nl`,
    `reverse_nl`: `MISSING` where not known. `flags`: of the step and the reading; HOLE where nothing is known of the time within.
    """

    start_us: Ints
    start_ul: Ints
    volume_nl: Ints
    reverse_nl: Ints
    flags: Indices


def steps_of(readings: Readings, bounds: Ints, facts: Facts, changes: Changes, hole_us: int) -> tuple[Steps, Mask]:
    """Steps of every meter, and which readings were refused. `bounds`: where the readings of each meter begin, and their end."""
    nothing = np.full(len(readings.at_us), MISSING)
    steps = Steps(readings.at_us.copy(), nothing, nothing.copy(), nothing.copy(), readings.flags.copy())
    refused = (readings.flags & _REFUSED) > 0
    exact = np.zeros(len(facts.q4_m3h), bool)
    exact[changes.meter] = True
    ul_per_us = chain.rate(facts.q4_m3h)
    _registers(readings, bounds, facts, ul_per_us, steps, exact)
    if facts.reads_flow.any():
        most = chain.RISE_FACTOR * facts.q4_m3h
        _flows(readings, bounds, facts, most, chain.BURST_FACTOR, steps, refused)
    for meter in np.flatnonzero(exact & ~facts.reads_flow):
        _exact(int(meter), readings, bounds, facts, changes, hole_us, steps, refused)
    steps.flags[readings.at_us - steps.start_us > hole_us] |= _HOLE
    return steps, refused


@compiled
def _registers(readings: Readings, bounds: Ints, facts: Facts, ul_per_us: Floats, steps: Steps, exact: Mask) -> None:
    """Every reading is believed; sets `exact` of a meter with a step that falls, is impossible or may hold a replacement."""
    for meter in range(len(bounds) - 1):
        if facts.reads_flow[meter] or exact[meter]:
            continue
        before = -1
        for place in range(bounds[meter], bounds[meter + 1]):
            register = readings.forward_ul[place]
            if register == MISSING:
                continue
            if before >= 0:
                length = readings.at_us[place] - readings.at_us[before]
                most = min(ul_per_us[meter] * length + facts.resolution_ul[meter], np.float64(MOST_UL))
                rise = register - readings.forward_ul[before]
                if rise < 0 or rise > most:
                    exact[meter] = True
                    break
                steps.start_us[place] = readings.at_us[before]
                steps.start_ul[place] = readings.forward_ul[before]
                steps.volume_nl[place] = rise * NL_PER_UL
                if readings.reverse_ul[place] != MISSING and readings.reverse_ul[before] != MISSING:
                    # Not known where the reverse register fell or rose by more than the meter can pass.
                    reverse = readings.reverse_ul[place] - readings.reverse_ul[before]
                    if 0 <= reverse <= most:
                        steps.reverse_nl[place] = reverse * NL_PER_UL
                        if reverse > 0:
                            steps.flags[place] |= _REVERSE
            before = place


@compiled
def _flows(
    readings: Readings, bounds: Ints, facts: Facts, most_m3h: Floats, burst_factor: float, steps: Steps, refused: Mask
) -> None:
    """Meters that only report flow: the mean flow of the step that ends at the reading, never overlapping the one before."""
    for meter in range(len(bounds) - 1):
        if not facts.reads_flow[meter]:
            continue
        before = -1
        for place in range(bounds[meter], bounds[meter + 1]):
            flow = readings.flow_m3h[place]
            if np.isnan(flow):
                continue
            if not abs(flow) <= burst_factor * most_m3h[meter]:
                refused[place] = True
                continue
            end = readings.at_us[place]
            start = end - facts.step_us[meter]
            if before >= 0:
                start = max(start, readings.at_us[before])
            volume = np.rint(flow * (end - start) * (NL_PER_M3 / HOUR_US))
            steps.start_us[place] = start
            steps.volume_nl[place] = np.int64(max(volume, 0.0))
            steps.reverse_nl[place] = np.int64(max(-volume, 0.0))
            if volume < 0:
                steps.flags[place] |= _REVERSE
            if abs(flow) > most_m3h[meter]:
                steps.flags[place] |= _RISE
            before = place


def _exact(
    meter: int, readings: Readings, bounds: Ints, facts: Facts, changes: Changes, hole_us: int, steps: Steps, refused: Mask
) -> None:
    """The steps of a meter whose readings contradict each other; marks refused readings."""
    whole = slice(int(bounds[meter]), int(bounds[meter + 1]))
    steps.start_us[whole], steps.flags[whole] = readings.at_us[whole], readings.flags[whole]
    for column in (steps.start_ul, steps.volume_nl, steps.reverse_nl):
        column[whole] = MISSING
    own = whole.start + np.flatnonzero(readings.forward_ul[whole] != MISSING)
    if not len(own):
        return
    limits = Limits(float(chain.rate(facts.q4_m3h[meter])), int(facts.modulus_ul[meter]), int(facts.resolution_ul[meter]))
    columns = (changes.at_us, changes.until_us, changes.old_final_ul, changes.new_initial_ul)
    listed = [Change(*(int(column[place]) for column in columns)) for place in np.flatnonzero(changes.meter == meter)]
    found = chain.believed_steps(readings.at_us[own], readings.forward_ul[own], readings.reverse_ul[own], limits, listed, hole_us)
    refused[own[found.refused]] = True
    before, after = own[found.before], own[found.after]
    is_too_much = found.volume_ul > MOST_UL
    steps.start_us[after], steps.start_ul[after] = readings.at_us[before], readings.forward_ul[before]
    steps.volume_nl[after] = _nanolitres(np.where(is_too_much, MISSING, found.volume_ul))
    steps.reverse_nl[after] = _nanolitres(np.where(found.reverse_ul > MOST_UL, MISSING, found.reverse_ul))
    steps.flags[after] |= np.where(is_too_much, int(Flag.RESET), found.flags).astype(np.int32)


def _nanolitres(values_ul: Ints) -> Ints:
    return np.where(values_ul == MISSING, MISSING, values_ul * NL_PER_UL)

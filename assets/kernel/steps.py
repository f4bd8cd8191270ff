"""Steps of the register curve of all meters of a unit: two believed readings and what moved between them.

Nearly all meters take the fast path: differences in columns. A meter with a fall, an impossible rise or a replacement goes
through `chain.py`. Both give the same for readings that agree with each other.
"""

from typing import NamedTuple

import numpy as np

from assets.kernel import chain
from assets.kernel.chain import Change, Limits
from assets.kernel.unit import HOUR_US, MISSING, NL_PER_M3, NL_PER_UL, Changes, Facts, Flag, Floats, Indices, Ints, Mask, Readings

MOST_UL = np.iinfo(np.int64).max // NL_PER_UL
"""A step of more (9 223 372 m³) is not known: its nanolitres would not fit into 64 bits."""


class Steps(NamedTuple):
    """Steps by (meter, time), never overlapping.

    `after`: the reading that ends the step. `start_us`, `end_us`. `start_ul`, `end_ul`: registers there (`MISSING` of flow
    meters). `volume_nl`, `reverse_nl`: `MISSING` where not known. `flags`: HOLE where nothing is known of the time within.
    """

    meter: Indices
    after: Ints
    start_us: Ints
    end_us: Ints
    start_ul: Ints
    end_ul: Ints
    volume_nl: Ints
    reverse_nl: Ints
    flags: Indices


def steps_of(readings: Readings, facts: Facts, changes: Changes, hole_us: int) -> tuple[Steps, Mask]:
    """The steps of every meter, and which readings were refused."""
    refused = (readings.flags & int(Flag.REFUSED)) > 0
    is_flow = facts.reads_flow[readings.meter]
    registers = np.flatnonzero(~is_flow & (readings.forward_ul != MISSING))
    before, after = _pairs(readings, registers)
    exact = _contradicted(readings, before, after, facts, changes)
    if exact.any():
        is_plain = ~exact[readings.meter[after]]
        before, after = before[is_plain], after[is_plain]
        registers = registers[exact[readings.meter[registers]]]
    parts = [_plain(readings, before, after, facts)]
    if exact.any() and len(registers):
        parts.append(_exact(readings, registers, facts, changes, hole_us, refused))
    if is_flow.any():
        flows = np.flatnonzero(is_flow & ~np.isnan(readings.flow_m3h))
        most = chain.RISE_FACTOR * chain.BURST_FACTOR * facts.q4_m3h[readings.meter[flows]]
        is_possible = np.abs(readings.flow_m3h[flows]) <= most
        refused[flows[~is_possible]] = True
        parts.append(_integrated(readings, flows[is_possible], facts))
    steps = parts[0] if len(parts) == 1 else _merged(parts)
    steps.flags[steps.end_us - steps.start_us > hole_us] |= int(Flag.HOLE)
    return steps, refused


def _pairs(readings: Readings, index: Ints) -> tuple[Ints, Ints]:
    """Consecutive readings of one meter."""
    same = readings.meter[index[1:]] == readings.meter[index[:-1]]
    return index[:-1][same], index[1:][same]


def _contradicted(readings: Readings, before: Ints, after: Ints, facts: Facts, changes: Changes) -> Mask:
    """By meter: whether a step falls, is impossible or may hold a replacement."""
    rise = readings.forward_ul[after] - readings.forward_ul[before]
    odd = np.flatnonzero((rise < 0) | (rise > np.minimum(_possible(readings, before, after, facts), MOST_UL)))
    found = np.zeros(len(facts.q4_m3h), bool)
    found[readings.meter[after[odd]]] = True
    found[changes.meter] = True
    return found


def _plain(readings: Readings, before: Ints, after: Ints, facts: Facts) -> Steps:
    """Every reading is believed: differences of neighbours."""
    start_ul, end_ul = readings.forward_ul[before], readings.forward_ul[after]
    reverse = _reverse(readings, before, after, facts)
    return Steps(
        readings.meter[after],
        after,
        readings.at_us[before],
        readings.at_us[after],
        start_ul,
        end_ul,
        (end_ul - start_ul) * NL_PER_UL,
        reverse,
        readings.flags[after] | np.where(reverse > 0, int(Flag.REVERSE), 0).astype(np.int32),
    )


def _reverse(readings: Readings, before: Ints, after: Ints, facts: Facts) -> Ints:
    """Rises of the reverse register (nl), MISSING where it was not read, fell or rose by more than the meter can pass."""
    reverse = np.full(len(after), MISSING)
    has_reverse = np.flatnonzero((readings.reverse_ul[before] != MISSING) & (readings.reverse_ul[after] != MISSING))
    if len(has_reverse):
        before, after = before[has_reverse], after[has_reverse]
        rise = readings.reverse_ul[after] - readings.reverse_ul[before]
        most = np.minimum(_possible(readings, before, after, facts), MOST_UL)
        reverse[has_reverse] = np.where((rise >= 0) & (rise <= most), rise * NL_PER_UL, MISSING)
    return reverse


def _possible(readings: Readings, before: Ints, after: Ints, facts: Facts) -> Floats:
    """The greatest rises (µL) that the meters can pass between readings."""
    meter = readings.meter[after]
    length = readings.at_us[after] - readings.at_us[before]
    return np.asarray(chain.rate(facts.q4_m3h)[meter] * length + facts.resolution_ul[meter])


def _exact(readings: Readings, index: Ints, facts: Facts, changes: Changes, hole_us: int, refused: Mask) -> Steps:
    """Meter by meter; marks refused readings."""
    bounds = np.flatnonzero(np.diff(readings.meter[index], prepend=-1))
    parts = []
    ul_per_us = chain.rate(facts.q4_m3h)
    for own in np.split(index, bounds[1:]):
        meter = int(readings.meter[own[0]])
        limits = Limits(float(ul_per_us[meter]), int(facts.modulus_ul[meter]), int(facts.resolution_ul[meter]))
        listed = np.flatnonzero(changes.meter == meter)
        own_changes = [
            Change(
                *(
                    int(column[place])
                    for column in (changes.at_us, changes.until_us, changes.old_final_ul, changes.new_initial_ul)
                )
            )
            for place in listed
        ]
        found = chain.believed_steps(
            readings.at_us[own], readings.forward_ul[own], readings.reverse_ul[own], limits, own_changes, hole_us
        )
        refused[own[found.refused]] = True
        before, after = own[found.before], own[found.after]
        is_too_much = found.volume_ul > MOST_UL
        parts.append(
            Steps(
                readings.meter[after],
                after,
                readings.at_us[before],
                readings.at_us[after],
                readings.forward_ul[before],
                readings.forward_ul[after],
                _nanolitres(np.where(is_too_much, MISSING, found.volume_ul)),
                _nanolitres(np.where(found.reverse_ul > MOST_UL, MISSING, found.reverse_ul)),
                np.where(is_too_much, int(Flag.RESET), found.flags).astype(np.int32) | readings.flags[after],
            )
        )
    return Steps._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _nanolitres(values_ul: Ints) -> Ints:
    return np.where(values_ul == MISSING, MISSING, values_ul * NL_PER_UL)


def _integrated(readings: Readings, index: Ints, facts: Facts) -> Steps:
    """Meters that only report flow: the mean flow of the step that ends at the reading, never overlapping the one before."""
    meter, end = readings.meter[index], readings.at_us[index]
    start = end - facts.step_us[meter]
    follows = np.diff(meter, prepend=-1) == 0
    start = np.where(follows, np.maximum(start, np.concatenate([end[:1], end[:-1]])), start)
    volume: Floats = np.rint(readings.flow_m3h[index] * (end - start) * (NL_PER_M3 / HOUR_US))
    nothing = np.full(len(index), MISSING)
    is_beyond = np.abs(readings.flow_m3h[index]) > chain.RISE_FACTOR * facts.q4_m3h[meter]
    flags = readings.flags[index] | np.where(volume < 0, int(Flag.REVERSE), 0).astype(np.int32)
    flags |= np.where(is_beyond, int(Flag.IMPOSSIBLE_RISE), 0).astype(np.int32)
    forward, reverse = (np.maximum(sign * volume, 0.0).astype(np.int64) for sign in (1, -1))
    return Steps(meter, index, start, end, nothing, nothing, forward, reverse, flags)


def _merged(parts: list[Steps]) -> Steps:
    joined = Steps._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((joined.end_us, joined.meter))
    return Steps._make(column[order] for column in joined)

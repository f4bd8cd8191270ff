"""Which readings of one meter can be believed, and what moved between them. Only for meters whose readings contradict each other.

Rules: docs/domain.md#register-falls. A chain is a sequence of readings in which every step is believable; of all chains the one
that stands for the most time is kept. Readings inside it that do not fit are refused; what lies before and after it makes chains
of its own, with an unknown step (RESET) between.
"""

from typing import NamedTuple

import numpy as np

from assets.kernel.unit import HOUR_US, MISSING, PER_M3, Flag, Floats, Indices, Ints, Mask

RISE_FACTOR = 1.2
"""A flow above 1.2 Q4 is impossible (docs/domain.md#validation-rules, V08)."""

BURST_FACTOR = 20.0
"""An impossible rise up to this many times the limit is believed and flagged where later readings confirm it: a burst, or a limit
typed wrong. Beyond it the register was changed."""

BURST_COST = 0.5
"""Of its own time a step that is impossible, but believed, costs this share: so a spike is refused and a spell is believed."""

FALL_RESOLUTIONS = 3
"""A fall of up to this many resolutions is followed and flagged: a wheel that swings, or water that runs back a little."""

ROLLOVER_FROM = 0.9
"""A roll-over starts above this share of the modulus (docs/domain.md#register-falls, rule 2)."""


class Limits(NamedTuple):
    """What one meter can do (or many, as arrays): `ul_per_us` at 1.2 Q4, modulus and resolution (µL)."""

    ul_per_us: float | Floats
    modulus_ul: int | Ints
    resolution_ul: int | Ints


class Change(NamedTuple):
    """A replacement at `at_us`; `until_us` equals it, or is the day's end where only the day is known."""

    at_us: int
    until_us: int
    old_final_ul: int
    new_initial_ul: int


class Movement(NamedTuple):
    """Between pairs of readings: volume and reverse volume (µL, `MISSING`: not believable), flags, and cost (µs)."""

    volume_ul: Ints
    reverse_ul: Ints
    flags: Indices
    cost_us: Floats


class Steps(NamedTuple):
    """Steps between believed readings (indices `before`, `after`) with what moved; `refused`: readings in no chain."""

    before: Ints
    after: Ints
    volume_ul: Ints
    reverse_ul: Ints
    flags: Indices
    refused: Mask


def rate(q4_m3h: Floats) -> Floats:
    """µL a µs at 1.2 Q4."""
    return RISE_FACTOR * q4_m3h * PER_M3 / HOUR_US


def movement(
    length_us: Ints, forward0_ul: Ints, forward1_ul: Ints, reverse0_ul: Ints, reverse1_ul: Ints, limits: Limits, moved: "Moved"
) -> Movement:
    """What moved between pairs of readings; arrays broadcast. `moved`: what replacements within each pair contribute."""
    possible = limits.ul_per_us * length_us + limits.resolution_ul
    rise = forward1_ul - forward0_ul
    has_reverse = (reverse0_ul != MISSING) & (reverse1_ul != MISSING)
    reverse = np.where(has_reverse, reverse1_ul - reverse0_ul, MISSING)
    reverse = np.where(has_reverse & ((reverse < 0) | (reverse > possible)), MISSING, reverse)
    is_changed = moved.changes > 0
    changed = rise + moved.offset_ul
    changed = np.where(changed < 0, changed + limits.modulus_ul, changed)  # the new register began just below its modulus
    rolled = rise + limits.modulus_ul
    small = FALL_RESOLUTIONS * limits.resolution_ul

    conditions = [
        is_changed & (changed <= possible),
        is_changed,
        (rise >= 0) & (rise <= possible),
        (rise >= 0) & (rise <= BURST_FACTOR * possible),
        rise >= 0,
        (forward0_ul > ROLLOVER_FROM * limits.modulus_ul) & (rolled >= 0) & (rolled <= possible),
        (reverse != MISSING) & (reverse > 0) & (-rise <= possible) & (reverse >= -rise - 2 * limits.resolution_ul),
        -rise <= small,
    ]
    nothing, no_flag = np.full_like(rise, MISSING), np.zeros(rise.shape, np.int32)
    volumes = [changed, nothing, rise, rise, nothing, rolled, np.zeros_like(rise), rise]
    flags = [
        no_flag + Flag.REPLACED,
        no_flag + Flag.RESET,
        no_flag,
        no_flag + Flag.IMPOSSIBLE_RISE,
        no_flag + Flag.RESET,
        no_flag + Flag.ROLLOVER,
        no_flag + Flag.REVERSE,
        no_flag + Flag.FALL,
    ]
    volume = np.select(conditions, volumes, MISSING)
    found = np.select(conditions, flags, int(Flag.RESET)).astype(np.int32)
    found |= np.where((reverse != MISSING) & (reverse > 0), int(Flag.REVERSE), 0).astype(np.int32)
    cost = np.where(found & int(Flag.IMPOSSIBLE_RISE) > 0, BURST_COST * length_us, 0.0)
    return Movement(volume, np.where(is_changed, MISSING, reverse), found, cost)


class Moved(NamedTuple):
    """What replacements within pairs contribute: Σ (old final − new initial), and how many changes there are."""

    offset_ul: Ints
    changes: Ints


def moved_between(start_us: Ints, end_us: Ints, changes: list[Change]) -> Moved:
    """The replacements within start < at <= end of each pair."""
    shape = np.broadcast(start_us, end_us).shape
    offset, count = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for change in changes:
        inside = (start_us < change.at_us) & (change.at_us <= end_us)
        offset += np.where(inside, change.old_final_ul - change.new_initial_ul, 0)
        count += inside
    return Moved(offset, count)


def believed_steps(at_us: Ints, forward_ul: Ints, reverse_ul: Ints, limits: Limits, changes: list[Change], hole_us: int) -> Steps:
    """The believed steps of one meter's readings, by time. `hole_us`: the longest hole."""
    changes = _timed(at_us, forward_ul, changes, limits)
    usable = ~_false_zeros(forward_ul, at_us, changes)
    index = np.flatnonzero(usable)
    weight = _weights(at_us[index], hole_us)
    chains = _chains(at_us[index], forward_ul[index], reverse_ul[index], weight, limits, changes)
    kept = index[np.concatenate(chains)] if chains else np.empty(0, np.int64)
    refused = np.ones(len(at_us), bool)
    refused[kept] = False
    before, after = kept[:-1], kept[1:]
    step = movement(
        at_us[after] - at_us[before],
        forward_ul[before],
        forward_ul[after],
        reverse_ul[before],
        reverse_ul[after],
        limits,
        moved_between(at_us[before], at_us[after], changes),
    )
    flags = np.where(after - before > 1, step.flags | int(Flag.BRIDGED), step.flags).astype(np.int32)
    return Steps(before, after, step.volume_ul, step.reverse_ul, flags, refused)


def _timed(at_us: Ints, forward_ul: Ints, changes: list[Change], limits: Limits) -> list[Change]:
    """Changes of which only the day is known get the end of the step that shows them; one that no step shows is left out.

    That is the first step of the day that falls or is impossible without the change, and possible with it. Where every step is
    possible without it and the readings cover the whole day, it is the step with the greatest rise that is possible with it.
    Else the change lies in a silence before or after the readings.
    """
    timed: list[Change] = []
    length, rise = np.diff(at_us), np.diff(forward_ul)
    possible = limits.ul_per_us * length + limits.resolution_ul
    for change in changes:
        if change.until_us == change.at_us:
            timed.append(change)
            continue
        earliest = max([change.at_us, *(other.at_us + 1 for other in timed)])
        volume = rise + change.old_final_ul - change.new_initial_ul
        volume = np.where(volume < 0, volume + limits.modulus_ul, volume)
        fits = (at_us[1:] > earliest) & (at_us[:-1] < change.until_us) & (volume <= possible)
        shows = np.flatnonzero(fits & ((rise < 0) | (rise > possible)))
        if not len(shows) and len(at_us) and at_us[0] <= change.at_us and at_us[-1] >= change.until_us:
            inner = np.flatnonzero(fits & (at_us[1:] <= change.until_us))
            shows = inner[np.argsort(-rise[inner], kind="stable")]
        if len(shows):
            moment = int(min(at_us[1:][shows[0]], change.until_us))
            timed.append(change._replace(at_us=moment, until_us=moment))
    return sorted(timed)


def _false_zeros(forward_ul: Ints, at_us: Ints, changes: list[Change]) -> Mask:
    """Readings of exactly 0 although the register showed more and no new one was put in: a device that lost its value."""
    false, shown = np.zeros(len(at_us), bool), False
    pending = list(changes)
    for place in range(len(at_us)):
        while pending and pending[0].at_us <= at_us[place]:
            shown = pending.pop(0).new_initial_ul != 0
        if forward_ul[place] == 0:
            false[place] = shown
        else:
            shown = True
    return false


def _weights(at_us: Ints, hole_us: int) -> Floats:
    """The time that each reading stands for: half the way to its neighbours, a hole counted as its longest allowed."""
    gaps = np.minimum(np.diff(at_us), hole_us) / 2
    first, last = (gaps[:1], gaps[-1:]) if len(gaps) else (np.ones(1), np.ones(1))
    return np.asarray(np.concatenate([first, gaps]) + np.concatenate([gaps, last]), np.float64)


def _chains(at_us: Ints, forward_ul: Ints, reverse_ul: Ints, weight: Floats, limits: Limits, changes: list[Change]) -> list[Ints]:
    """The heaviest chain, with the chains of what lies before and after it, by time."""
    chains: list[Ints] = []

    def best_ends(begin: int, end: int) -> tuple[Floats, Ints]:
        """Weight of the heaviest chain of the section that ends at each reading, and the reading before it (-1: none)."""
        score, previous = weight[begin:end].copy(), np.full(end - begin, -1)
        for place in range(begin + 1, end):
            earlier = slice(begin, place)
            step = movement(
                at_us[place] - at_us[earlier],
                forward_ul[earlier],
                forward_ul[place],
                reverse_ul[earlier],
                reverse_ul[place],
                limits,
                moved_between(at_us[earlier], at_us[place], changes),
            )
            worth = np.where(step.volume_ul != MISSING, score[: place - begin] - step.cost_us, -np.inf)
            best = len(worth) - 1 - int(np.argmax(worth[::-1]))
            if worth[best] > 0:
                score[place - begin] += worth[best]
                previous[place - begin] = best
        return score, previous

    sections: list[tuple[int, int, tuple[Floats, Ints] | None]] = [(0, len(at_us), None)]
    while sections:
        begin, end, ends = sections.pop()
        if begin == end:
            continue
        # What lies before a chain begins where its section begins: the ends that were found hold for it, too.
        score, previous = ends or best_ends(begin, end)
        chain = [end - begin - 1 - int(np.argmax(score[: end - begin][::-1]))]
        while previous[chain[-1]] >= 0:
            chain.append(int(previous[chain[-1]]))
        kept = begin + np.array(chain[::-1], np.int64)
        chains.append(kept)
        sections.append((begin, int(kept[0]), (score, previous)))
        sections.append((int(kept[-1]) + 1, end, None))
    return sorted(chains, key=lambda kept: int(kept[0]))

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
"""An impossible rise up to this many times the limit is believed and flagged where later readings confirm it, and the register
had not been there before: a burst, or a limit typed wrong. Beyond it the register was changed."""

BURST_COST = 0.5
"""Of its own time a step that is impossible, but believed, costs this share: so a spike is refused and a spell is believed."""

FALL_RESOLUTIONS = 3
"""A fall of up to this many resolutions is followed and flagged: a wheel that swings, or water that runs back a little."""

DEEP_RESOLUTIONS, DEEP_HOURS = 10, 0.01
"""A fall is deep beyond so many resolutions and what so much of an hour passes at the limit: ordinary use makes up the others."""

ROLLOVER_FROM = 0.9
"""A roll-over starts above this share of the modulus (docs/domain.md#register-falls, rule 2)."""

PAIRS = 100_000
"""So many pairs of readings are weighed at a time: bounds the memory of a meter with many readings."""


class Limits(NamedTuple):
    """What one meter can do (or many, as arrays): `ul_per_us` at 1.2 Q4, modulus and resolution (µL)."""

    ul_per_us: float | Floats
    modulus_ul: int | Ints
    resolution_ul: int | Ints

    def possible_ul(self, length_us: Ints) -> Floats:
        """The greatest rises in these times."""
        return np.asarray(self.ul_per_us * length_us + self.resolution_ul, np.float64)


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


def sizes_ul(digits: Ints, resolution_m3: Floats) -> tuple[Ints, Ints]:
    """Modulus (10^digits × resolution) and resolution of registers, µL."""
    resolution: Ints = np.maximum(np.rint(resolution_m3 * PER_M3), 1).astype(np.int64)
    return np.minimum(10.0**digits * resolution, 4e18).astype(np.int64), resolution


def movement(
    length_us: Ints, forward0_ul: Ints, forward1_ul: Ints, reverse0_ul: Ints, reverse1_ul: Ints, limits: Limits, moved: "Moved"
) -> Movement:
    """What moved between pairs of readings; arrays broadcast. `moved`: what replacements within each pair contribute."""
    possible = limits.possible_ul(length_us)
    rise = forward1_ul - forward0_ul
    has_reverse = (reverse0_ul != MISSING) & (reverse1_ul != MISSING)
    reverse = np.where(has_reverse, reverse1_ul - reverse0_ul, MISSING)
    reverse = np.where(has_reverse & ((reverse < 0) | (reverse > possible)), MISSING, reverse)
    is_changed = moved.changes > 0
    rolled = rise + limits.modulus_ul
    small = FALL_RESOLUTIONS * limits.resolution_ul
    changed = _over_change(rise + moved.offset_ul, possible, limits)

    conditions = [
        is_changed & (changed <= possible),
        is_changed,
        (rise >= 0) & (rise <= possible),
        (rise >= 0) & (rise <= BURST_FACTOR * possible),
        rise >= 0,
        _rolled_over(forward0_ul, forward1_ul, possible, limits),
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


def _rolled_over(forward0_ul: Ints, forward1_ul: Ints, possible: Floats, limits: Limits) -> Mask:
    """Whether registers near their modulus passed it."""
    rolled = forward1_ul - forward0_ul + limits.modulus_ul
    return np.asarray((forward0_ul > ROLLOVER_FROM * limits.modulus_ul) & (rolled >= 0) & (rolled <= possible))


def _over_change(volume_ul: Ints, possible: Floats, limits: Limits) -> Ints:
    """What moved over a replacement where the new register began just below its modulus, or was written down as below 0.

    A little less than nothing is a final value that was rounded.
    """
    is_low, is_high = volume_ul < -FALL_RESOLUTIONS * limits.resolution_ul, volume_ul > np.maximum(possible, limits.modulus_ul)
    return np.asarray(volume_ul + np.where(is_low, limits.modulus_ul, 0) - np.where(is_high, limits.modulus_ul, 0))


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


class _Register(NamedTuple):
    """The readings of one meter by time, and what it can do."""

    at_us: Ints
    forward_ul: Ints
    reverse_ul: Ints
    limits: Limits
    changes: list[Change]

    def at(self, index: Ints) -> "_Register":
        """Some of the readings."""
        return self._replace(at_us=self.at_us[index], forward_ul=self.forward_ul[index], reverse_ul=self.reverse_ul[index])

    def moved(self, before: Ints | slice, after: Ints | slice) -> Movement:
        """What moved between pairs of readings; indices broadcast."""
        return movement(
            self.at_us[after] - self.at_us[before],
            self.forward_ul[before],
            self.forward_ul[after],
            self.reverse_ul[before],
            self.reverse_ul[after],
            self.limits,
            moved_between(self.at_us[before], self.at_us[after], self.changes),
        )


def believed_steps(at_us: Ints, forward_ul: Ints, reverse_ul: Ints, limits: Limits, changes: list[Change], hole_us: int) -> Steps:
    """The believed steps of one meter's readings, by time. `hole_us`: the longest hole."""
    register = _Register(at_us, forward_ul, reverse_ul, limits, _timed(at_us, forward_ul, changes, limits))
    index = np.flatnonzero(~_false_zeros(register))
    found = [index[kept] for kept in _chains(register.at(index), hole_us)]
    chains = [_confirmed(kept, register, hole_us) for kept in found]
    kept = np.concatenate(chains) if chains else np.empty(0, np.int64)
    refused = np.ones(len(at_us), bool)
    refused[kept] = False
    before, after = kept[:-1], kept[1:]
    step = register.moved(before, after)
    flags = np.where(after - before > 1, step.flags | int(Flag.BRIDGED), step.flags).astype(np.int32)
    return Steps(before, after, step.volume_ul, step.reverse_ul, flags, refused)


def _confirmed(kept: Ints, register: _Register, hole_us: int) -> Ints:
    """The chain without a last reading that rises impossibly after one that does not: no reading confirms it yet.

    A step longer than a hole is left: what could confirm it lies beyond the unit.
    """
    last = register.at(kept[-3:])
    length, rise = np.diff(last.at_us), np.diff(last.forward_ul)
    if len(kept) < 3 or length[-1] > hole_us:
        return kept
    offset = moved_between(last.at_us[:-1], last.at_us[1:], last.changes)
    is_burst = (offset.changes == 0) & (rise > last.limits.possible_ul(length))
    return kept[:-1] if is_burst[1] and not is_burst[0] else kept


def _timed(at_us: Ints, forward_ul: Ints, changes: list[Change], limits: Limits) -> list[Change]:
    """Changes of which only the day is known get the end of the step that shows them; one that no step shows is left out.

    That is the first step of the day that falls or is impossible without the change, and possible with it, or with all that are
    left of that day. Where every step is possible without it and the readings cover the whole day, it is the step with the
    greatest rise that is possible with it. Else the change lies in a silence before or after the readings.
    """
    timed = [change for change in changes if change.until_us == change.at_us]
    possible = limits.possible_ul(np.diff(at_us))
    rise = np.diff(forward_ul) + moved_between(at_us[:-1], at_us[1:], timed).offset_ul

    def show(together: list[Change], *, by_rise: bool = False) -> bool:
        """Time these changes of one day where one step shows them; `by_rise`: where it is the greatest rise."""
        first = together[0]
        offset = sum(change.old_final_ul - change.new_initial_ul for change in together)
        is_near = (at_us[1:] > first.at_us) & (at_us[:-1] < first.until_us)
        fits = is_near & (_over_change(rise + offset, possible, limits) <= possible)
        places = np.flatnonzero(fits & ((rise < 0) | (rise > possible)))
        if by_rise:
            covers = len(at_us) > 0 and at_us[0] <= first.at_us and at_us[-1] >= first.until_us
            inner = np.flatnonzero(fits & (at_us[1:] <= first.until_us) & covers)
            places = inner[np.argsort(-rise[inner], kind="stable")]
        if len(places):
            moment = int(min(at_us[1:][places[0]], first.until_us))
            timed.extend(change._replace(at_us=moment, until_us=moment) for change in together)
            rise[places[0]] += offset
        return bool(len(places))

    left = [change for change in changes if change.until_us != change.at_us and not show([change])]
    for day in dict.fromkeys(change.until_us for change in left):
        together = [change for change in left if change.until_us == day]
        if not show(together):
            for change in together:
                show([change], by_rise=True)
    return sorted(timed)


def _false_zeros(register: _Register) -> Mask:
    """Readings of exactly 0 although the register showed more, did not roll over and no new one was put in: a device that lost
    its value."""
    at_us, forward_ul, _, limits, changes = register
    false, shown, last = np.zeros(len(at_us), bool), False, 0
    pending = list(changes)
    for place in range(len(at_us)):
        while pending and pending[0].at_us <= at_us[place]:
            shown = pending.pop(0).new_initial_ul != 0
        if forward_ul[place] == 0:
            possible = limits.possible_ul(at_us[place] - at_us[last])
            shown = shown and not _rolled_over(forward_ul[last], forward_ul[place], possible, limits)
            false[place] = shown
        else:
            shown, last = True, place
    return false


class _Falls:
    """Deep falls between neighbours that nothing explains. A rise that makes up for one is no water: the fall was not real."""

    def __init__(self, register: _Register) -> None:
        forward_ul, limits = register.forward_ul, register.limits
        before, after = slice(None, -1), slice(1, None)
        step = register.moved(before, after)
        depth = forward_ul[before] - forward_ul[after]
        deep = max(DEEP_RESOLUTIONS * float(limits.resolution_ul), DEEP_HOURS * HOUR_US * float(limits.ul_per_us))
        is_fall = (step.volume_ul == MISSING) & (depth > deep)
        self._forward_ul = forward_ul
        self._from_ul = np.where(is_fall, forward_ul[before], MISSING)
        self._half_ul = np.where(is_fall, forward_ul[before] - np.maximum(depth // 2, 1), MISSING)
        self._any = bool(is_fall.any())

    def comes_back(self, earlier: slice, place: int) -> Mask:
        """Of each earlier reading: whether it lies in the lower half of a fall before it that the reading at `place` makes up."""
        count = place - earlier.start
        found = np.zeros(count, bool)
        if self._any and count > 1:
            falls = slice(earlier.start, place - 1)
            made_up = np.where(self._from_ul[falls] <= self._forward_ul[place], self._half_ul[falls], MISSING)
            found[1:] = np.maximum.accumulate(made_up) >= self._forward_ul[earlier][1:]
        return found


def _weights(at_us: Ints, hole_us: int) -> Floats:
    """The time that each reading stands for: half the way to its neighbours, a hole counted as its longest allowed."""
    gaps = np.minimum(np.diff(at_us), hole_us) / 2
    first, last = (gaps[:1], gaps[-1:]) if len(gaps) else (np.ones(1), np.ones(1))
    return np.asarray(np.concatenate([first, gaps]) + np.concatenate([gaps, last]), np.float64)


def _chains(register: _Register, hole_us: int) -> list[Ints]:
    """The heaviest chain, with the chains of what lies before and after it, by time."""
    chains: list[Ints] = []
    falls = _Falls(register)
    weight = _weights(register.at_us, hole_us)

    def best_ends(begin: int, end: int) -> tuple[Floats, Ints]:
        """Weight of the heaviest chain of the section that ends at each reading, and the reading before it (-1: none)."""
        score, previous = weight[begin:end].copy(), np.full(end - begin, -1)
        rows = max(1, PAIRS // (end - begin))
        for first in range(begin + 1, end, rows):
            # All pairs of some readings with every earlier one at once: a call for each reading would cost a hundred times more.
            later, earlier = np.arange(first, min(first + rows, end))[:, None], np.arange(begin, min(first + rows, end) - 1)
            step = register.moved(earlier, later)
            is_believable = step.volume_ul != MISSING
            for place in range(first, first + len(later)):
                own = place - first, slice(0, place - begin)
                is_usable = is_believable[own] & ~falls.comes_back(slice(begin, place), place)
                worth = np.where(is_usable, score[: place - begin] - step.cost_us[own], -np.inf)
                best = len(worth) - 1 - int(np.argmax(worth[::-1]))
                if worth[best] > 0:
                    score[place - begin] += worth[best]
                    previous[place - begin] = best
        return score, previous

    sections: list[tuple[int, int, tuple[Floats, Ints] | None]] = [(0, len(weight), None)]
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

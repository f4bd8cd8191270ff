"""The register curve: what moved between readings of a meter, and which readings it could have shown.

Pure numpy on columns; no frames, no files. The rules: docs/domain.md#register-falls and docs/domain.md#register-curve.
"""

from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Flag(IntFlag):
    """What is to be known of an interval."""

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


UNCLEAN = Flag.FALL | Flag.IMPOSSIBLE_RISE | Flag.BRIDGED | Flag.RESET
"""An interval with one of these is not clean: its volume is not beyond doubt."""

RISE_FACTOR = 1.2
"""A flow above 1.2 Q4 is impossible (docs/domain.md#validation-rules, V08)."""

ROLLOVER_FROM = 0.9
"""A roll-over starts above this share of the modulus (docs/domain.md#register-falls, rule 2)."""

BREAK_COST = 2.5
"""Readings that a second, later register must show before a break is believed rather than the readings dropped."""


class Points(NamedTuple):
    """Readings of one or many meters as columns: time (s), forward and reverse register (m³; NaN: not measured)."""

    at_s: Floats
    forward_m3: Floats
    reverse_m3: Floats

    def take(self, index: Ints | slice) -> "Points":
        """The readings at these places."""
        return Points(self.at_s[index], self.forward_m3[index], self.reverse_m3[index])


class Limits(NamedTuple):
    """What the meter can do: overload flow Q4 (m³/h), modulus and resolution of the register (m³). Arrays or scalars."""

    q4_m3h: Floats
    modulus_m3: Floats
    resolution_m3: Floats


class Replacement(NamedTuple):
    """A meter change between two readings (m³); NaN where there was none."""

    old_final_m3: Floats
    new_initial_m3: Floats


class Movement(NamedTuple):
    """What moved: forward and reverse volume (m³, NaN: not known) and flags. IMPOSSIBLE_RISE and RESET are violations."""

    volume_m3: Floats
    reverse_m3: Floats
    flags: Ints


def movement(before: Points, after: Points, limits: Limits, replaced: Replacement) -> Movement:
    """The volume between pairs of readings (docs/domain.md#register-falls, in that order); everything broadcasts."""
    hours = (after.at_s - before.at_s) / 3600.0
    possible = RISE_FACTOR * limits.q4_m3h * hours + limits.resolution_m3
    half_step = limits.resolution_m3 / 2
    rise = after.forward_m3 - before.forward_m3
    reverse = after.reverse_m3 - before.reverse_m3
    reverse = np.where(reverse >= -half_step, np.maximum(reverse, 0.0), np.nan)

    changed = (replaced.old_final_m3 - before.forward_m3) + (after.forward_m3 - replaced.new_initial_m3)
    is_changed = ~np.isnan(replaced.old_final_m3)
    rolled = rise + limits.modulus_m3
    fell = rise < -half_step

    cases: list[tuple[NDArray[np.bool_], Floats, int]] = [
        (is_changed & (changed >= -half_step) & (changed <= possible), np.maximum(changed, 0.0), Flag.REPLACED),
        (is_changed, np.full_like(rise, np.nan), Flag.RESET),
        (~fell & (rise <= possible), np.maximum(rise, 0.0), 0),
        (~fell, np.full_like(rise, np.nan), Flag.IMPOSSIBLE_RISE),
        ((before.forward_m3 > ROLLOVER_FROM * limits.modulus_m3) & (rolled <= possible), rolled, Flag.ROLLOVER),
        ((-rise <= possible) & (reverse >= -rise - 2 * limits.resolution_m3), np.zeros_like(rise), Flag.REVERSE),
        # A meter without a reverse register shows reverse flow as a small fall: the curve follows it, marked as not clean.
        ((-rise <= possible) & np.isnan(reverse), rise, Flag.FALL),
    ]
    conditions = [case[0] for case in cases]
    volume = np.select(conditions, [case[1] for case in cases], np.nan)
    flags = np.select(conditions, [np.full(rise.shape, int(case[2])) for case in cases], int(Flag.RESET))
    flags = flags | np.where(reverse > 0, int(Flag.REVERSE), 0)
    return Movement(volume, np.where(is_changed, np.nan, reverse), flags.astype(np.int64))


class Chain(NamedTuple):
    """The readings a meter could have shown, and the movement between each kept one and the next (one shorter)."""

    kept: Ints
    moved: Movement


def longest_chain(points: Points, limits: Limits, replaced: "Replacements") -> Chain:
    """The longest chain of one meter's readings in which every step is possible.

    A reading that fits neither side is dropped, and the step over it is marked BRIDGED. Where the register goes on for good at
    another place, the chain breaks instead (RESET, volume not known): a break costs as much as `BREAK_COST` readings.
    The answer depends on the readings alone, not on where a scan began. Quadratic: for the few days that have a violation.
    """
    count = len(points.at_s)
    score, previous = np.ones(count), np.full(count, -1)
    broken = np.zeros(count, dtype=bool)
    for j in range(1, count):
        earlier, here = points.take(slice(0, j)), points.take(slice(j, j + 1))
        moved = movement(earlier, here, limits, replaced.between(earlier.at_s, here.at_s))
        possible = ~np.isnan(moved.volume_m3)
        worth = np.where(possible, score[:j], score[:j] - BREAK_COST)
        best = j - 1 - int(np.argmax(worth[::-1]))
        if worth[best] > 0:
            score[j], previous[j], broken[j] = worth[best] + 1, best, not possible[best]
    last = count - 1 - int(np.argmax(score[::-1]))
    chain = [last]
    while previous[chain[-1]] >= 0:
        chain.append(int(previous[chain[-1]]))
    kept = np.array(chain[::-1], dtype=np.int64)
    before, after = points.take(kept[:-1]), points.take(kept[1:])
    moved = movement(before, after, limits, replaced.between(before.at_s, after.at_s))
    flags = np.where(np.diff(kept) > 1, moved.flags | int(Flag.BRIDGED), moved.flags)
    flags = np.where(broken[kept[1:]], flags | int(Flag.RESET), flags)
    return Chain(kept, Movement(moved.volume_m3, moved.reverse_m3, flags))


class Replacements(NamedTuple):
    """One meter's changes, by time: when (s), the old register's last and the new one's first value (m³)."""

    at_s: Floats
    old_final_m3: Floats
    new_initial_m3: Floats

    def between(self, start_s: Floats, end_s: Floats) -> Replacement:
        """The change within start < at <= end, NaN where there is none."""
        old = np.full(np.broadcast(start_s, end_s).shape, np.nan)
        new = old.copy()
        for at, final, initial in zip(self.at_s, self.old_final_m3, self.new_initial_m3, strict=True):
            inside = (start_s < at) & (at <= end_s)
            old, new = np.where(inside, final, old), np.where(inside, initial, new)
        return Replacement(old, new)

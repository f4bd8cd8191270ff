"""Belief: which readings of one meter count, and what moved between them."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.kernel import MISSING, PER_M3, UNCLEAN, Flag, chain
from assets.kernel.chain import Change, Limits, Moved, Movement, Steps

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
HOLE_US = 2 * HOUR_US


def limits(q4: float = 125.0, modulus: float = 1_000_000.0, resolution: float = 0.1) -> Limits:
    return Limits(float(chain.rate(np.array(q4))), round(modulus * PER_M3), round(resolution * PER_M3))


def ul(values: list[float] | None, count: int = 0) -> "np.ndarray":
    return np.full(count, MISSING) if values is None else np.rint(np.array(values) * PER_M3).astype(np.int64)


def change(minute: float, old_final: float, new_initial: float, until: float | None = None) -> Change:
    begin = round(minute * MINUTE_US)
    return Change(
        begin, begin if until is None else round(until * MINUTE_US), *(int(value) for value in ul([old_final, new_initial]))
    )


def believed(
    forward: list[float],
    *,
    minutes: list[float] | float = 15.0,
    reverse: list[float] | None = None,
    changes: list[Change] | None = None,
    of: Limits | None = None,
) -> Steps:
    """The believed steps of a register read at these minutes, or every so many minutes."""
    at = np.arange(len(forward)) * minutes if isinstance(minutes, float | int) else np.array(minutes)
    return chain.believed_steps(
        np.rint(at * MINUTE_US).astype(np.int64), ul(forward), ul(reverse, len(forward)), of or limits(), changes or [], HOLE_US
    )


def volumes(steps: Steps) -> list[float | None]:
    return [None if volume == MISSING else round(volume / PER_M3, 9) for volume in steps.volume_ul.tolist()]


def kept(steps: Steps) -> list[int]:
    return np.flatnonzero(~steps.refused).tolist()


class Vector(NamedTuple):
    """Readings a quarter of an hour apart, and what is to come out of them."""

    forward: list[float]
    volume: float | None
    flags: int
    kept: list[int]
    reverse: list[float] | None = None
    reverse_volume: float | None = None
    changes: tuple[Change, ...] = ()


VECTORS = {
    "plain use": Vector([100.0, 101.5, 104.0], 4.0, 0, [0, 1, 2]),
    "no use is 0 and not missing": Vector([100.0, 100.0], 0.0, 0, [0, 1]),
    "roll-over 999 998.4 to 1.2": Vector([999_998.4, 1.2], 2.8, Flag.ROLLOVER, [0, 1]),
    "a zero between is passed over, never booked whole": Vector([45_210.3, 0.0, 45_210.9], 0.6, Flag.BRIDGED, [0, 2]),
    "replacement 8123.4, final 8124.0, initial 0.3, 1.1": Vector(
        [8_123.4, 1.1], 1.4, Flag.REPLACED, [0, 1], changes=(change(7, 8_124.0, 0.3),)
    ),
    "a replacement at the later reading's own time counts": Vector(
        [8_123.4, 0.3], 0.6, Flag.REPLACED, [0, 1], changes=(change(15, 8_124.0, 0.3),)
    ),
    "a replacement at the earlier reading's own time does not": Vector(
        [8_123.4, 8_123.8], 0.4, 0, [0, 1], changes=(change(0, 8_124.0, 0.3),)
    ),
    "two replacements between two readings": Vector(
        [8_123.4, 1.1], 2.9, Flag.REPLACED, [0, 1], changes=(change(5, 8_124.0, 700.0), change(10, 701.5, 0.3))
    ),
    "a new meter that begins just below its modulus": Vector(
        [8_123.4, 0.3], 1.9, Flag.REPLACED, [0, 1], changes=(change(7, 8_124.0, 999_999.0),)
    ),
    "reverse flow of a bidirectional register": Vector(
        [500.0, 498.8, 499.0], 0.2, Flag.REVERSE, [0, 1, 2], reverse=[20.0, 21.2, 21.2], reverse_volume=1.2
    ),
    "both registers rise": Vector([500.0, 501.0], 1.0, Flag.REVERSE, [0, 1], reverse=[20.0, 20.5], reverse_volume=0.5),
    "a fall of few resolutions is followed but not clean": Vector([500.0, 499.8], -0.2, Flag.FALL, [0, 1]),
    "a wheel that swings counts nothing twice": Vector([500.0, 499.9, 500.0, 499.9, 500.0], 0.0, Flag.FALL, [0, 1, 2, 3, 4]),
    "a wheel that swings while the reverse register stands counts nothing twice": Vector(
        [500.0, 499.9, 500.0], 0.0, Flag.FALL, [0, 1, 2], reverse=[20.0, 20.0, 20.0], reverse_volume=0.0
    ),
    "a rise beyond 1.2 Q4 that does not last is refused": Vector([500.0, 900.0, 501.0], 1.0, Flag.BRIDGED, [0, 2]),
    "a spell beyond 1.2 Q4 that later readings confirm is believed": Vector(
        [500.0, 501.0, 601.0, 701.0, 702.0, 703.0], 203.0, Flag.IMPOSSIBLE_RISE, [0, 1, 2, 3, 4, 5]
    ),
    "a deep fall without a reverse register is a reset": Vector([500.0, 498.0], None, Flag.RESET, [0, 1]),
    "a fall while the reverse register stands is a reset": Vector([500.0, 498.0], None, Flag.RESET, [0, 1], reverse=[20.0, 20.0]),
    "a fall from below 90 % of the modulus is no roll-over": Vector([899_999.0, 1.0], None, Flag.RESET, [0, 1]),
    "a roll-over that 1.2 Q4 cannot explain is a reset": Vector([999_900.0, 1.2], None, Flag.RESET, [0, 1]),
    "a register that goes on near 0 for good breaks the curve": Vector(
        [45_210.3, 45_210.6, 45_210.9, 0.1, 0.3, 0.6, 0.9], None, Flag.RESET, [0, 1, 2, 3, 4, 5, 6]
    ),
    "a replacement that nobody wrote down to a higher register breaks the curve": Vector(
        [100.0, 101.0, 102.0, 45_000.0, 45_001.0, 45_002.0], None, Flag.RESET, [0, 1, 2, 3, 4, 5]
    ),
    "an implausible replacement record gives no volume": Vector(
        [8_123.4, 1.1], None, Flag.RESET, [0, 1], changes=(change(7, 7_000.0, 0.3),)
    ),
}


@pytest.mark.parametrize("vector", [pytest.param(vector, id=name) for name, vector in VECTORS.items()])
def test_the_vectors_of_the_rules_come_out(vector: Vector) -> None:
    steps = believed(vector.forward, reverse=vector.reverse, changes=list(vector.changes))
    assert kept(steps) == vector.kept
    assert np.bitwise_or.reduce(steps.flags) == vector.flags
    found = volumes(steps)
    assert (None in found) == (vector.volume is None)
    if vector.volume is not None:
        assert sum(volume for volume in found if volume is not None) == pytest.approx(vector.volume, abs=1e-9)
    if vector.reverse_volume is not None:
        assert int(steps.reverse_ul.sum()) == pytest.approx(vector.reverse_volume * PER_M3)


def pair(before: float, after: float, of: Limits) -> Movement:
    nothing = np.array([MISSING])
    return chain.movement(
        np.array([15 * MINUTE_US]),
        ul([before]),
        ul([after]),
        nothing,
        nothing,
        of,
        Moved(np.zeros(1, np.int64), np.zeros(1, np.int64)),
    )


@pytest.mark.parametrize(("before", "volume"), [(95.0, 6.0), (90.1, 10.9), (90.0, None), (80.0, None)])
def test_a_roll_over_starts_above_90_percent_of_the_modulus_even_where_1_2_q4_would_explain_more(
    before: float, volume: float | None
) -> None:
    moved = pair(before, 1.0, limits(modulus=100.0))
    assert moved.flags[0] == (Flag.RESET if volume is None else Flag.ROLLOVER)
    assert moved.volume_ul[0] == (MISSING if volume is None else ul([volume])[0])


def test_which_flags_make_an_interval_unclean() -> None:
    assert int(UNCLEAN) == 2 + 4 + 8 + 128 + 2048


STEPS_MIN = [1.0, 5.0, 7.0, 15.0, 60.0, 240.0, 1440.0]


@pytest.mark.parametrize("minutes", STEPS_MIN)
@pytest.mark.parametrize("depth", [0.9, 3.0, 140.0, 40_000.0])
def test_a_deep_fall_that_comes_back_is_refused_at_any_step(minutes: float, depth: float) -> None:
    register = [50_000.0 + 0.2 * place for place in range(12)]
    spoilt = [*register[:6], register[6] - depth, *register[7:]]
    steps = believed(spoilt, minutes=minutes)
    assert kept(steps) == [place for place in range(12) if place != 6]
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(11 * 0.2)
    assert steps.flags[5] == Flag.BRIDGED


@pytest.mark.parametrize("minutes", STEPS_MIN)
def test_a_deep_fall_for_good_is_a_reset_at_any_step(minutes: float) -> None:
    register = [50_000.0 + 0.2 * place for place in range(8)]
    after = [49_000.0 + 0.2 * place for place in range(8)]
    steps = believed([*register, *after], minutes=minutes)
    assert not steps.refused.any()
    assert volumes(steps) == [*[0.2] * 7, None, *[0.2] * 7]
    assert np.flatnonzero(steps.flags).tolist() == [7]
    assert steps.flags[7] == Flag.RESET


@pytest.mark.parametrize("minutes", STEPS_MIN)
@pytest.mark.parametrize("zeros", [1, 2, 5, 40])
def test_zeros_after_a_restart_are_refused_at_any_step_and_length(minutes: float, zeros: int) -> None:
    before = [45_210.0 + 0.2 * place for place in range(4)]
    after = [before[-1] + 0.2 * (zeros + 1 + place) for place in range(4)]
    steps = believed([*before, *[0.0] * zeros, *after], minutes=minutes)
    assert kept(steps) == [0, 1, 2, 3, *range(4 + zeros, 8 + zeros)]
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(after[-1] - before[0])
    assert steps.flags[3] == Flag.BRIDGED


def test_a_new_meter_that_stands_at_zero_is_believed() -> None:
    steps = believed([8_123.4, 8_123.6, 0.0, 0.0, 0.0, 0.2], changes=[change(20, 8_123.6, 0.0)])
    assert volumes(steps) == [0.2, 0.0, 0.0, 0.0, 0.2]
    assert not steps.refused.any()


@pytest.mark.parametrize("minutes", [5.0, 15.0, 60.0, 1440.0])
@pytest.mark.parametrize("shown_by", [1, 3, 6])
def test_a_replacement_known_by_its_date_counts_where_the_register_falls(minutes: float, shown_by: int) -> None:
    old = [8_000.0 + 0.2 * place for place in range(shown_by)]
    new = [0.5 + 0.2 * place for place in range(8 - shown_by)]
    day = [change(0, old[-1] + 0.1, 0.4, until=minutes * 7)]
    steps = believed([*old, *new], minutes=minutes, changes=day)
    assert [volume or -1.0 for volume in volumes(steps)] == pytest.approx([0.2] * 7)
    assert np.flatnonzero(steps.flags).tolist() == [shown_by - 1]
    assert steps.flags[shown_by - 1] == Flag.REPLACED


def test_a_replacement_known_by_its_date_before_the_first_reading_of_the_day_changes_nothing() -> None:
    steps = believed([0.5, 0.7, 0.9], minutes=[600, 615, 630], changes=[change(0, 8_000.0, 0.4, until=1440)])
    assert volumes(steps) == [0.2, 0.2]
    assert not steps.flags.any()


def test_a_replacement_by_a_meter_that_shows_more_counts_where_the_register_rises_most() -> None:
    """The step to the new meter is possible without the change, too: but not all that it shows is water."""
    steps = believed(
        [100.0, 101.0, 102.0, 112.0, 113.0, 114.0], minutes=[0, 15, 30, 45, 60, 75], changes=[change(0, 102.5, 111.5, until=75)]
    )
    assert volumes(steps) == [1.0, 1.0, 1.0, 1.0, 1.0]
    assert steps.flags.tolist() == [0, 0, Flag.REPLACED, 0, 0]


@pytest.mark.parametrize("minutes", STEPS_MIN)
def test_a_limit_typed_ten_times_too_small_loses_no_water(minutes: float) -> None:
    """Every step is beyond 1.2 Q4, and later readings confirm every one: believed, and marked."""
    per_step = 60.0 * minutes / 60
    register = [5_000.0 + per_step * place for place in range(20)]
    steps = believed(register, minutes=minutes, of=limits(q4=12.5, modulus=1e9))
    assert not steps.refused.any()
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(19 * per_step)
    assert set(steps.flags.tolist()) == {int(Flag.IMPOSSIBLE_RISE)}


@pytest.mark.parametrize("minutes", STEPS_MIN)
def test_a_limit_typed_ten_times_too_large_still_refuses_spikes(minutes: float) -> None:
    register = [5_000.0 + 1.0 * place for place in range(20)]
    spoilt = [*register[:9], register[9] + 1e6, *register[10:]]
    steps = believed(spoilt, minutes=minutes, of=limits(q4=1_250.0, modulus=1e9))
    assert np.flatnonzero(steps.refused).tolist() == [9]
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(19.0)


def test_readings_a_second_apart_are_believed() -> None:
    steps = believed([100.0, 101.0, 101.1, 102.0], minutes=[0, 15, 15 + 1 / 60, 30])
    assert volumes(steps) == [1.0, 0.1, 0.9]
    assert not steps.refused.any()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_plateau_that_goes_back_is_refused_whole(width: int) -> None:
    register = [100.0 + place for place in range(12)]
    spoilt = [*register[:5], *[40_000.0] * width, *register[5 + width :]]
    steps = believed(spoilt)
    assert np.flatnonzero(steps.refused).tolist() == list(range(5, 5 + width))
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(11.0)


def test_a_burst_of_readings_weighs_no_more_than_its_time() -> None:
    """Twenty wrong readings within twenty seconds do not outvote an hour of right ones."""
    wrong = [30 + place / 60 for place in range(1, 21)]
    right = [0.0, 15.0, 30.0, 45.0, 60.0]
    minutes = sorted([*right, *wrong])
    register = [7.0 if minute in wrong else 500.0 + minute / 15 for minute in minutes]
    steps = believed(register, minutes=minutes)
    assert [minutes[place] for place in kept(steps)] == right


Register = tuple[list[float], list[float]]


@st.composite
def true_registers(draw: st.DrawFn) -> Register:
    """Minutes (odd steps from 5 min to an hour) and a register that rises as one of Q4 125 m³/h can, in steps of 0.1 m³."""
    steps = draw(st.lists(st.tuples(st.integers(5, 60), st.floats(0.0, 1.0)), min_size=6, max_size=40))
    at, forward = [0.0], [draw(st.integers(1_000_000, 3_000_000)) / 10]
    for minutes, share in steps:
        at.append(at[-1] + minutes)
        forward.append(forward[-1] + float(np.floor(share * 125.0 * minutes / 6)) / 10)
    return at, [round(value, 1) for value in forward]


@settings(max_examples=150, deadline=None)
@given(true_registers(), st.data())
def test_true_readings_stay_and_glitches_go(register: Register, data: st.DataObject) -> None:
    at, forward = register
    places = sorted(data.draw(st.lists(st.integers(1, len(at) - 2), max_size=4, unique=True)))
    rows = [(minute, value, True) for minute, value in zip(at, forward, strict=True)]
    for number, place in enumerate(places):
        # Each glitch far from the register and from every other glitch: no two of them support each other.
        offset = data.draw(st.sampled_from([-1, 1])) * (20_000.0 + 11_000.0 * number)
        rows.append((at[place] + 1.0, forward[place] + offset, False))
    rows.sort()
    steps = believed([row[1] for row in rows], minutes=[row[0] for row in rows])
    assert kept(steps) == [index for index, row in enumerate(rows) if row[2]]
    assert sum(volume or 0.0 for volume in volumes(steps)) == pytest.approx(forward[-1] - forward[0], abs=1e-6)
    over_a_glitch = np.diff(kept(steps)) > 1
    assert list((steps.flags & Flag.BRIDGED) > 0) == list(over_a_glitch)


@settings(max_examples=60, deadline=None)
@given(true_registers(), st.integers(1, 6))
def test_what_goes_on_elsewhere_for_good_breaks_the_curve_and_no_reading_is_lost(register: Register, shown: int) -> None:
    at, forward = register
    later = [at[-1] + 15.0 * (number + 1) for number in range(shown)]
    steps = believed([*forward, *[50.0 + 0.1 * number for number in range(shown)]], minutes=[*at, *later])
    assert not steps.refused.any()
    assert volumes(steps).count(None) == 1
    assert steps.flags[len(at) - 1] == Flag.RESET


def test_a_register_that_falls_all_day_gives_no_volume_and_loses_no_reading() -> None:
    """A meter built in backwards and read each minute: every step is a reset, and none of them holds the others up."""
    steps = believed([90_000.0 - 3 * place for place in range(1_700)], minutes=1)
    assert not steps.refused.any()
    assert set(volumes(steps)) == {None}
    assert set(steps.flags.tolist()) == {int(Flag.RESET)}


def test_a_register_that_rolls_over_to_exactly_zero_is_believed() -> None:
    steps = believed([999_999.6, 999_999.8, 0.0, 0.0, 0.2, 0.4])
    assert kept(steps) == [0, 1, 2, 3, 4, 5]
    assert int(steps.flags[1]) & Flag.ROLLOVER
    assert steps.volume_ul.sum() == pytest.approx(0.8 * 1e9)


def test_zeros_after_a_restart_are_refused_where_the_register_is_beyond_its_modulus() -> None:
    beyond = limits()._replace(modulus_ul=1_000 * 10**9)  # digits typed too small
    steps = believed([45_210.0, 45_210.2, *[0.0] * 40, 45_218.4, 45_218.6], of=beyond)
    assert kept(steps) == [0, 1, 42, 43]

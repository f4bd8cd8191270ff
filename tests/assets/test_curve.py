"""The register curve: the vectors of the rules (roll-over, replacement, reverse, reset) and what must hold for any register."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.curve import UNCLEAN, Chain, Flag, Limits, Movement, Points, Replacements, longest_chain, movement

NONE = Replacements(np.empty(0), np.empty(0), np.empty(0))
STEP_S = 900.0
NAN = float("nan")


def limits(q4: float = 125.0, modulus: float = 1_000_000.0, resolution: float = 0.1) -> Limits:
    return Limits(np.array([q4]), np.array([modulus]), np.array([resolution]))


def points(forward: list[float], reverse: list[float] | None = None, at: list[float] | None = None) -> Points:
    times = [STEP_S * number for number in range(len(forward))] if at is None else at
    return Points(np.array(times, float), np.array(forward), np.full(len(forward), NAN) if reverse is None else np.array(reverse))


class Vector(NamedTuple):
    """Readings a quarter of an hour apart, and what is to come out of them."""

    forward: list[float]
    volume: float | None
    flags: int
    kept: list[int]
    reverse: list[float] | None = None
    reverse_volume: float | None = None
    replaced: tuple[float, float, float] | None = None


VECTORS = {
    "plain use": Vector([100.0, 101.5, 104.0], 4.0, 0, [0, 1, 2]),
    "no use is 0 and not missing": Vector([100.0, 100.0], 0.0, 0, [0, 1]),
    "roll-over 999 998.4 to 1.2": Vector([999_998.4, 1.2], 2.8, Flag.ROLLOVER, [0, 1]),
    "a zero between is passed over, never booked whole": Vector([45_210.3, 0.0, 45_210.9], 0.6, Flag.BRIDGED, [0, 2]),
    "replacement 8123.4, final 8124.0, initial 0.3, 1.1": Vector(
        [8_123.4, 1.1], 1.4, Flag.REPLACED, [0, 1], replaced=(450.0, 8_124.0, 0.3)
    ),
    "a replacement at the later reading's own time counts": Vector(
        [8_123.4, 0.3], 0.6, Flag.REPLACED, [0, 1], replaced=(900.0, 8_124.0, 0.3)
    ),
    "reverse flow of a bidirectional register": Vector(
        [500.0, 498.8, 499.0], 0.2, Flag.REVERSE, [0, 1, 2], reverse=[20.0, 21.2, 21.2], reverse_volume=1.2
    ),
    "both registers rise": Vector([500.0, 501.0], 1.0, Flag.REVERSE, [0, 1], reverse=[20.0, 20.5], reverse_volume=0.5),
    "a small fall without a reverse register is followed but not clean": Vector([500.0, 499.0], -1.0, Flag.FALL, [0, 1]),
    "a fall within the resolution is no fall": Vector([500.00, 499.96], 0.0, 0, [0, 1]),
    "a rise beyond 1.2 Q4 is passed over": Vector([500.0, 900.0, 501.0], 1.0, Flag.BRIDGED, [0, 2]),
    "a fall while the reverse register stands is a reset": Vector([500.0, 498.0], None, Flag.RESET, [0], reverse=[20.0, 20.0]),
    "a register that goes on from 0 for good breaks the curve": Vector(
        [45_210.3, 45_210.6, 45_210.9, 0.0, 0.3, 0.6, 0.9], None, Flag.RESET, [0, 1, 2, 3, 4, 5, 6]
    ),
    "a fall from below 90 % of the modulus is no roll-over": Vector([899_999.0, 1.0], None, Flag.RESET, [0]),
    "a roll-over that 1.2 Q4 cannot explain is a reset": Vector([999_900.0, 1.2], None, Flag.RESET, [0]),
}


def replacements(change: tuple[float, float, float] | None) -> Replacements:
    return Replacements(*(np.array([value]) for value in change)) if change else NONE


@pytest.mark.parametrize("vector", [pytest.param(vector, id=name) for name, vector in VECTORS.items()])
def test_the_vectors_of_the_rules_come_out(vector: Vector) -> None:
    chain = longest_chain(points(vector.forward, vector.reverse), limits(), replacements(vector.replaced))
    if len(vector.kept) > 1:
        assert list(chain.kept) == vector.kept
        assert np.bitwise_or.reduce(chain.moved.flags) == vector.flags
    else:
        moved = pairwise(points(vector.forward, vector.reverse), replacements(vector.replaced))
        assert moved.flags[0] == vector.flags
        assert np.isnan(moved.volume_m3[0])
        assert len(chain.kept) == 1
    total = float(np.sum(chain.moved.volume_m3)) if len(vector.kept) > 1 else NAN
    assert np.isnan(total) if vector.volume is None else total == pytest.approx(vector.volume, abs=1e-9)
    if vector.reverse_volume is not None:
        assert float(np.sum(chain.moved.reverse_m3)) == pytest.approx(vector.reverse_volume, abs=1e-9)


def pairwise(register: Points, changes: Replacements = NONE) -> Movement:
    before, after = register.take(slice(0, -1)), register.take(slice(1, None))
    return movement(before, after, limits(), changes.between(before.at_s, after.at_s))


@pytest.mark.parametrize(("before", "volume"), [(95.0, 6.0), (90.1, 10.9), (90.0, None), (80.0, None)])
def test_a_roll_over_starts_above_90_percent_of_the_modulus_even_where_1_2_q4_would_explain_more(
    before: float, volume: float | None
) -> None:
    first, second = points([before]), points([1.0], at=[STEP_S])
    moved = movement(first, second, limits(modulus=100.0), NONE.between(first.at_s, second.at_s))
    assert moved.flags[0] == (Flag.RESET if volume is None else Flag.ROLLOVER)
    assert np.isnan(moved.volume_m3[0]) if volume is None else moved.volume_m3[0] == pytest.approx(volume)


def test_an_implausible_replacement_record_gives_no_volume() -> None:
    moved = pairwise(points([8_123.4, 1.1]), replacements((450.0, 7_000.0, 0.3)))
    assert np.isnan(moved.volume_m3[0])
    assert moved.flags[0] == Flag.RESET


def test_a_replacement_outside_of_the_step_does_not_count() -> None:
    before_and_after = Replacements(np.array([0.0, 901.0]), np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    assert pairwise(points([10.0, 11.0]), before_and_after).volume_m3[0] == pytest.approx(1.0)


def test_which_flags_make_an_interval_unclean() -> None:
    assert int(UNCLEAN) == 2 + 4 + 8 + 128


Register = tuple[list[float], list[float]]


@st.composite
def true_registers(draw: st.DrawFn) -> Register:
    """Times (s, odd steps from 5 min to an hour) and a register that rises as one of Q4 125 m³/h can, in steps of 0.1 m³."""
    steps = draw(st.lists(st.tuples(st.integers(300, 3600), st.floats(0.0, 1.0)), min_size=6, max_size=40))
    at, forward = [0.0], [draw(st.integers(1_000_000, 3_000_000)) / 10]
    for seconds, share in steps:
        at.append(at[-1] + seconds)
        forward.append(forward[-1] + np.floor(share * 125.0 * seconds / 360) / 10)
    return at, [round(value, 1) for value in forward]


@st.composite
def with_glitches(draw: st.DrawFn) -> tuple[Register, Register, list[int]]:
    """A true register, the same with impossible readings put in, and the places of the true ones among them."""
    at, forward = draw(true_registers())
    places = draw(st.lists(st.integers(0, len(at) - 1), max_size=4, unique=True))
    rows = [(t, value, True) for t, value in zip(at, forward, strict=True)]
    for number, place in enumerate(sorted(places)):
        # Each glitch far from the register and from every other glitch: no two of them support each other.
        offset = draw(st.sampled_from([-1, 1])) * (20_000.0 + 11_000.0 * number) + draw(st.integers(0, 1000)) / 10
        rows.append((at[place] + 100.0, forward[place] + offset, False))
    rows.sort()
    spoilt = [row[0] for row in rows], [row[1] for row in rows]
    return (at, forward), spoilt, [index for index, row in enumerate(rows) if row[2]]


def chain_of(register: Register) -> Chain:
    return longest_chain(points(register[1], at=register[0]), limits(), NONE)


@settings(max_examples=150, deadline=None)
@given(with_glitches())
def test_true_readings_stay_and_glitches_go(case: tuple[Register, Register, list[int]]) -> None:
    (_, forward), spoilt, true_places = case
    chain = chain_of(spoilt)
    assert list(chain.kept) == true_places
    assert float(np.sum(chain.moved.volume_m3)) == pytest.approx(forward[-1] - forward[0], abs=1e-6)
    over_a_glitch = np.diff(true_places) > 1
    assert list((chain.moved.flags & Flag.BRIDGED) != 0) == list(over_a_glitch)


@settings(max_examples=100, deadline=None)
@given(with_glitches(), st.data())
def test_the_kept_readings_do_not_depend_on_where_the_scan_starts(
    case: tuple[Register, Register, list[int]], data: st.DataObject
) -> None:
    _, (at, forward), true_places = case
    start = data.draw(st.integers(0, len(at) - 4))
    remaining = [place for place in true_places if place >= start]
    assume(len(remaining) >= 4)
    part = chain_of((at[start:], forward[start:]))
    assert [start + int(place) for place in part.kept] == remaining


@settings(max_examples=100, deadline=None)
@given(true_registers(), st.data())
def test_volumes_telescope_over_any_split(register: Register, data: st.DataObject) -> None:
    at, forward = register
    cuts = sorted(data.draw(st.sets(st.integers(1, len(at) - 2), max_size=6)))
    edges = np.array([0, *cuts, len(at) - 1])
    whole = points(forward, at=at)
    moved = movement(
        whole.take(edges[:-1]), whole.take(edges[1:]), limits(), NONE.between(whole.at_s[edges[:-1]], whole.at_s[edges[1:]])
    )
    assert not moved.flags.any()
    assert float(np.sum(moved.volume_m3)) == pytest.approx(forward[-1] - forward[0], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(true_registers(), st.integers(1, 4))
def test_a_break_is_believed_once_the_new_register_has_shown_enough_readings(register: Register, shown: int) -> None:
    at, forward = register
    later = [at[-1] + 900.0 * (number + 1) for number in range(shown)]
    chain = chain_of((at + later, forward + [50.0 + 0.1 * number for number in range(shown)]))
    believed = shown >= 3
    assert len(chain.kept) == len(at) + (shown if believed else 0)
    assert bool(np.any(chain.moved.flags & Flag.RESET)) is believed
    assert bool(np.any(np.isnan(chain.moved.volume_m3))) is believed

"""Units: what intervals, hours and days add up to, what a hole costs, and that a day depends on its own readings alone."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets import calendar, units
from assets.kernel import NL_PER_M3, Flag
from ingest_daemon.stores.points import merge
from tests.figures import HOLE, NO_CONFLICTS, Figures, figures, readings, terminals, unit_tables

SHANGHAI, ROME = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Rome")
DAY = date(2025, 6, 2)


def local(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def clean(
    rows: pl.DataFrame,
    days: list[date],
    zone: ZoneInfo = SHANGHAI,
    registry: pl.DataFrame | None = None,
    changes: Sequence[dict[str, Any]] = (),
    conflicts: pl.DataFrame = NO_CONFLICTS,
) -> Figures:
    return figures(unit_tables(rows, days, zone, registry=registry, changes=changes, conflicts=conflicts))


def steady(start: datetime, end: datetime, minutes: int, m3_per_hour: float = 6.0, first: float = 1000.0) -> pl.DataFrame:
    """A register that rises evenly, read every so many minutes from start to end, both included."""
    count = int((end - start) / timedelta(minutes=minutes))
    at = [start + timedelta(minutes=minutes * step) for step in range(count + 1)]
    return readings(at, forward_m3=[first + m3_per_hour * minutes / 60 * step for step in range(count + 1)])


def without(rows: pl.DataFrame, after: str, before: str) -> pl.DataFrame:
    """The rows without those between two local times, both kept."""
    return rows.filter(~((pl.col("ts") > local(after)) & (pl.col("ts") < local(before))))


def known_volume(found: Figures, day: date) -> float | None:
    """Volume of a day (m³), None where it is not known."""
    (volume,) = found.days.filter(pl.col("day") == day)["volume_nl"].to_list() or [None]
    return None if volume is None else volume / NL_PER_M3


class TrueRegister:
    """Readings (s, m³) and the curve that they define, told in a second way: interpolation where two are at most 2 h apart."""

    def __init__(self, at: list[float], register: list[float]) -> None:
        self.at, self.register = np.array(at), np.array(register)

    def curve(self, instant: datetime) -> float | None:
        t = instant.timestamp()
        place = int(np.searchsorted(self.at, t))
        if place < len(self.at) and self.at[place] == t:
            return float(self.register[place])
        if place in (0, len(self.at)) or self.at[place] - self.at[place - 1] > HOLE.total_seconds():
            return None
        return float(np.interp(t, self.at, self.register))

    def volume(self, start: datetime, end: datetime) -> float | None:
        first, last = self.curve(start), self.curve(end)
        return None if first is None or last is None else last - first

    def frame(self) -> pl.DataFrame:
        return readings([datetime.fromtimestamp(t, UTC) for t in self.at], forward_m3=self.register.tolist())


@st.composite
def odd_registers(
    draw: st.DrawFn, days: int, zone: ZoneInfo, first_day: date, minutes: st.SearchStrategy[int], gaps: int
) -> TrueRegister:
    """From four hours before the days to four hours after: mixed steps, a clock that is off, holes of up to 30 h."""
    start = calendar.midnight(first_day, zone).timestamp() - 4 * 3600
    end = calendar.midnight(first_day + timedelta(days=days), zone).timestamp() + 4 * 3600
    offset = draw(st.sampled_from([0, 0, 7, 137, 451, 899]))
    step = draw(minutes)
    count = int((end - start) / 60 / step)
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    lengths = random.choice([step, step, step, 5, 15, 60], size=count) * 60.0
    jitter = draw(st.booleans()) * random.integers(-100, 100, size=count)
    for place in draw(st.lists(st.integers(0, count - 1), max_size=gaps)):
        lengths[place] = draw(st.integers(30, 30 * 60)) * 60.0
    at = start + offset + np.cumsum(lengths) + np.maximum.accumulate(jitter)
    at = np.unique(at[at <= end])
    flow = random.uniform(0, 100, size=len(at))
    register = 5000 + np.cumsum(np.diff(at, prepend=at[0]) / 3600 * flow)
    return TrueRegister(at.tolist(), np.round(register, 1).tolist())


STEPS = st.sampled_from([5, 15, 60])


@settings(max_examples=40, deadline=None)
@given(odd_registers(3, SHANGHAI, DAY, STEPS, 3))
def test_hours_and_days_are_differences_of_the_curve_and_hours_add_up_to_days(register: TrueRegister) -> None:
    days = calendar.days_between(DAY, DAY + timedelta(days=2))
    found = clean(register.frame(), days)
    for day in days:
        start, end = calendar.midnight(day, SHANGHAI), calendar.midnight(day + timedelta(days=1), SHANGHAI)
        expected, volume = register.volume(start, end), known_volume(found, day)
        assert (volume is None) == (expected is None), (day, volume, expected)
        if expected is not None:
            assert volume == pytest.approx(expected, abs=1e-6)
        hours = found.hours.filter(pl.col("day") == day)
        for begin, hour_nl, coverage in hours.select("hour_start", "volume_nl", "coverage").iter_rows():
            if coverage == 1:
                assert hour_nl / NL_PER_M3 == pytest.approx(register.volume(begin, begin + timedelta(hours=1)), abs=1e-6)
            else:
                assert hour_nl is None
        if hours.height == 24 and hours["volume_nl"].null_count() == 0:
            assert hours["volume_nl"].sum() == found.days.filter(pl.col("day") == day)["volume_nl"].item()


@settings(max_examples=20, deadline=None)
@given(odd_registers(3, ROME, date(2025, 10, 25), STEPS, 3))
def test_a_day_computed_alone_is_the_day_of_a_range(register: TrueRegister) -> None:
    days = calendar.days_between(date(2025, 10, 25), date(2025, 10, 27))
    rows = register.frame()
    together = clean(rows, days, ROME)
    for day in days:
        start, end = calendar.midnight(day, ROME), calendar.midnight(day + timedelta(days=1), ROME)
        alone = clean(rows.filter(pl.col("ts").is_between(start - HOLE, end + HOLE)), [day], ROME)
        for name in Figures._fields:
            assert_frame_equal(getattr(alone, name), getattr(together, name).filter(pl.col("day") == day), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(odd_registers(2, SHANGHAI, DAY, STEPS, 2), st.data())
def test_one_more_reading_changes_only_the_days_that_it_touches(register: TrueRegister, data: st.DataObject) -> None:
    days = calendar.days_between(DAY - timedelta(days=1), DAY + timedelta(days=2))
    place = data.draw(st.integers(0, len(register.at) - 1))
    value = register.register[place] + data.draw(st.sampled_from([0.0, 5.0, -30_000.0, 70_000.0]))
    rows = register.frame()
    others = rows.filter(pl.int_range(pl.len()) != place)
    changed = pl.concat([others, rows[place].with_columns(forward_m3=pl.lit(value))]).sort("ts")
    before, after = clean(others, days), clean(changed, days)
    at = rows["ts"][place]
    touched = calendar.days_touched(at, at, HOLE, SHANGHAI)
    for name in Figures._fields:
        elsewhere = ~pl.col("day").is_in(touched)
        assert_frame_equal(getattr(before, name).filter(elsewhere), getattr(after, name).filter(elsewhere), check_exact=True)


def test_recomputing_a_day_gives_the_same_bytes_whatever_the_order_of_the_readings() -> None:
    one = steady(local("2025-06-01T20:00"), local("2025-06-03T04:00"), 7)
    two = steady(local("2025-06-01T20:00"), local("2025-06-03T04:00"), 15, 11.3).with_columns(terminal=pl.lit("0010000002"))
    rows = pl.concat([one, two])
    registry = terminals({}, {"terminal": "0010000002", "meter": "M2"})
    first = clean(rows, [DAY], registry=registry)
    again = clean(rows.sample(fraction=1.0, shuffle=True, seed=1), [DAY], registry=registry.reverse())
    for name in Figures._fields:
        assert getattr(first, name).write_json() == getattr(again, name).write_json()


@pytest.mark.parametrize("offset_s", [0, 300, 451])
def test_a_5_minute_and_a_15_minute_logger_give_the_same_daily_volume(offset_s: int) -> None:
    shift = timedelta(seconds=offset_s)
    volumes = [
        known_volume(clean(steady(local("2025-06-01T22:00") + shift, local("2025-06-03T02:00") + shift, minutes), [DAY]), DAY)
        for minutes in (5, 15)
    ]
    assert volumes == [pytest.approx(144.0), pytest.approx(144.0)]


@pytest.mark.parametrize(("day", "hours"), [(date(2025, 3, 30), 23), (date(2025, 10, 26), 25), (date(2025, 7, 1), 24)])
def test_a_day_of_a_changing_clock_has_its_hours_and_their_water(day: date, hours: int) -> None:
    start, end = calendar.midnight(day, ROME), calendar.midnight(day + timedelta(days=1), ROME)
    cleaned = clean(steady(start - HOLE, end + HOLE, 15), [day], ROME)
    assert known_volume(cleaned, day) == pytest.approx(6.0 * hours)
    assert cleaned.intervals.height == 4 * hours
    assert cleaned.intervals["seconds"].sum() == 3600 * hours


EVEN = (local("2025-05-31T20:00"), local("2025-06-05T04:00"), 15)


def test_a_hole_inside_a_day_keeps_the_days_volume() -> None:
    cleaned = clean(without(steady(*EVEN), "2025-06-02T08:00", "2025-06-02T14:00"), [DAY])
    hole = cleaned.intervals.filter(pl.col("flags") & int(Flag.HOLE) != 0)
    assert hole.select("interval_start", "interval_end", "volume_m3", "flow_m3h").rows() == [
        (local("2025-06-02T08:00"), local("2025-06-02T14:00"), pytest.approx(36.0), None)
    ]
    assert known_volume(cleaned, DAY) == pytest.approx(144.0)


def test_a_hole_over_midnight_loses_the_volume_of_both_days() -> None:
    days = [DAY, DAY + timedelta(days=1)]
    found = clean(without(steady(*EVEN), "2025-06-02T22:00", "2025-06-03T01:00"), days)
    assert [known_volume(found, day) for day in days] == [None, None]
    assert found.days["known_us"].to_list() == [22 * 3_600_000_000, 23 * 3_600_000_000]
    assert found.intervals.filter(pl.col("day") == DAY)["interval_end"].max() == local("2025-06-02T22:00")
    assert found.days["first_at"].to_list() == [local("2025-06-02T00:00"), local("2025-06-03T01:00")]


def test_a_step_of_exactly_the_longest_hole_is_drawn() -> None:
    cleaned = clean(without(steady(*EVEN), "2025-06-02T23:00", "2025-06-03T01:00"), [DAY, DAY + timedelta(days=1)])
    assert [known_volume(cleaned, day) for day in (DAY, DAY + timedelta(days=1))] == [pytest.approx(144.0), pytest.approx(144.0)]


def test_a_replacement_within_a_day_counts_the_water_of_both_registers() -> None:
    at = [local("2025-06-02T00:00") + timedelta(hours=hour) for hour in range(25)]
    register = [8_100.0 + hour for hour in range(12)] + [2.0 + hour for hour in range(13)]
    changes = [{"meter": "M1", "replaced_at": local("2025-06-02T11:30"), "old_final_m3": 8_111.4, "new_initial_m3": 0.7}]
    cleaned = clean(readings(at, forward_m3=register), [DAY], changes=changes)
    assert known_volume(cleaned, DAY) == pytest.approx(11 + 0.4 + 1.3 + 12)
    changed = cleaned.intervals.filter(pl.col("flags") & int(Flag.REPLACED) != 0)
    assert changed["interval_end"].to_list() == [local("2025-06-02T12:00")]


def test_a_replacement_at_the_time_of_a_reading_counts_once() -> None:
    """The reading at that time already shows the new register: the step that ends there crosses the change, the next does not."""
    at = [local("2025-06-02T08:00"), local("2025-06-02T09:00"), local("2025-06-02T10:00")]
    changes = [{"meter": "M1", "replaced_at": at[1], "old_final_m3": 8_112.0, "new_initial_m3": 0.5}]
    cleaned = clean(readings(at, forward_m3=[8_111.0, 0.5, 1.7]), [DAY], changes=changes)
    assert cleaned.intervals["volume_m3"].drop_nulls().to_list() == [pytest.approx(1.0), pytest.approx(1.2)]
    assert [flags & Flag.REPLACED > 0 for flags in cleaned.intervals["flags"]][-2:] == [True, False]


def test_a_flow_meter_integrates_the_mean_of_each_step_and_nothing_else() -> None:
    at = [local("2025-06-02T00:00") + timedelta(minutes=15 * step) for step in range(97) if not 40 < step <= 60]
    registry = terminals({"reads": "flow"})
    cleaned = clean(readings(at, flow_m3h=[8.0] * len(at)), [DAY], registry=registry)
    own = cleaned.intervals
    assert own["volume_m3"].sum() == pytest.approx(8.0 * 19)
    assert own["seconds"].sum() == 19 * 3600
    assert own["register_m3"].null_count() == own.height
    assert cleaned.days.select("first_at", "first_ul", "between_nl").row(0) == (None, None, None)


def test_a_flow_meter_that_reports_twice_within_a_step_counts_no_time_twice() -> None:
    at = [local("2025-06-02T00:00") + timedelta(minutes=5 * step) for step in range(13)]
    cleaned = clean(readings(at, flow_m3h=[12.0] * 13), [DAY], registry=terminals({"reads": "flow"}))
    assert cleaned.intervals.filter(pl.col("interval_start") >= local("2025-06-02T00:00"))["volume_m3"].sum() == pytest.approx(
        12.0
    )
    assert cleaned.intervals["seconds"].sum() == 3600


def test_reverse_flow_of_a_flow_meter_is_reverse_volume() -> None:
    at = [local("2025-06-02T08:00"), local("2025-06-02T08:15")]
    cleaned = clean(readings(at, flow_m3h=[4.0, -2.0]), [DAY], registry=terminals({"reads": "flow"}))
    assert cleaned.intervals.select("volume_m3", "reverse_m3").rows() == [(pytest.approx(1.0), 0.0), (0.0, pytest.approx(0.5))]
    assert [flags & Flag.REVERSE > 0 for flags in cleaned.intervals["flags"]] == [False, True]


def test_a_reading_of_pressure_alone_is_kept_and_is_no_water() -> None:
    rows = readings([local("2025-06-02T08:00"), local("2025-06-02T08:15")], pressure_mpa=[0.31, 0.32])
    cleaned = clean(rows, [DAY])
    assert cleaned.intervals.select("interval_end", "pressure_mpa", "volume_m3", "seconds").rows() == [
        (local("2025-06-02T08:00"), 0.31, None, 0.0),
        (local("2025-06-02T08:15"), 0.32, None, 0.0),
    ]
    assert known_volume(cleaned, DAY) is None


def test_pressure_between_two_register_readings_is_kept() -> None:
    at = [local("2025-06-02T08:00"), local("2025-06-02T08:07"), local("2025-06-02T08:15")]
    cleaned = clean(readings(at, forward_m3=[100.0, None, 101.0], pressure_mpa=[0.30, 0.25, 0.31]), [DAY])
    assert sorted(cleaned.intervals["pressure_mpa"].drop_nulls()) == [0.25, 0.30, 0.31]
    assert cleaned.intervals["volume_m3"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("pressure", "kept"), [(-0.06, False), (-0.05, True), (0.0, True), (1.6, True), (1.61, False)])
def test_a_pressure_out_of_range_is_refused_and_says_so(pressure: float, kept: bool) -> None:
    at = [local("2025-06-02T08:00"), local("2025-06-02T08:15")]
    last = clean(readings(at, forward_m3=[100.0, 101.0], pressure_mpa=[0.3, pressure]), [DAY]).intervals[-1]
    assert last["pressure_mpa"].to_list() == [pressure if kept else None]
    assert (last["flags"][0] & Flag.PRESSURE_RANGE > 0) is not kept
    assert last["volume_m3"][0] == pytest.approx(1.0)


def test_a_refused_readings_register_is_not_shown_but_its_pressure_is() -> None:
    at = [local("2025-06-02T08:00") + timedelta(minutes=15 * step) for step in range(5)]
    rows = readings(at, forward_m3=[45_210.3, 45_210.5, 0.0, 45_210.9, 45_211.0], pressure_mpa=[0.3, 0.3, 0.29, 0.3, 0.3])
    cleaned = clean(rows, [DAY])
    assert 0.0 not in cleaned.intervals["register_m3"].to_list()
    assert cleaned.intervals.filter(pl.col("interval_end") == at[2])["pressure_mpa"].to_list() == [0.29]
    assert cleaned.intervals["volume_m3"].sum() == pytest.approx(0.7)
    bridged = cleaned.intervals.filter(pl.col("flags") & int(Flag.BRIDGED) != 0)
    assert bridged["interval_end"].to_list() == [at[3]]


def test_a_clock_off_the_grid_is_flagged_and_its_water_is_not_moved() -> None:
    at = [local("2025-06-02T08:00"), local("2025-06-02T08:17"), local("2025-06-02T08:30:59")]
    intervals = clean(readings(at, forward_m3=[100.0, 101.7, 103.1]), [DAY]).intervals
    assert [
        (end, flags & Flag.OFF_GRID > 0) for end, flags in intervals.select("interval_end", "flags").iter_rows() if end in at[1:]
    ] == [
        (at[1], True),
        (at[2], False),
    ]
    assert intervals["volume_m3"].to_list()[1] == pytest.approx(1.7)


def test_a_drifting_clock_loses_no_water() -> None:
    """Each step a minute too long by the true clock: the steps are what the device says, and the day is still the curve's."""
    at = list(accumulate(range(110), lambda before, _: before + timedelta(minutes=16), initial=local("2025-06-01T22:00")))
    rows = readings(at, forward_m3=[1000.0 + 1.6 * step for step in range(len(at))])
    assert known_volume(clean(rows, [DAY]), DAY) == pytest.approx(144.0)


def test_a_reading_dated_in_another_day_changes_nothing_here() -> None:
    rows = steady(local("2025-06-01T20:00"), local("2025-06-03T04:00"), 15)
    future = readings([local("2031-01-01T00:00")], forward_m3=[1.0])
    assert_frame_equal(clean(pl.concat([rows, future]), [DAY]).intervals, clean(rows, [DAY]).intervals)


def test_an_exact_duplicate_is_one_reading_and_a_conflicting_one_is_flagged() -> None:
    at = [local("2025-06-02T08:00") + timedelta(minutes=15 * step) for step in range(3)]
    rows = readings(at, forward_m3=[100.0, 101.0, 102.0])
    later = readings([at[1]], forward_m3=[101.5]).with_columns(pl.col("received_at") + timedelta(hours=1))
    assert_frame_equal(clean(merge(pl.concat([rows, rows])), [DAY]).intervals, clean(rows, [DAY]).intervals)
    told = NO_CONFLICTS.clear(1).with_columns(terminal=pl.lit("0010000001"), ts=pl.lit(at[1], pl.Datetime("us", "UTC")))
    intervals = clean(merge(pl.concat([rows, later])), [DAY], conflicts=pl.concat([told, told])).intervals
    assert intervals["register_m3"].to_list() == [100.0, 101.5, 102.0]
    assert [flags & Flag.CONFLICT > 0 for flags in intervals["flags"]] == [False, True, False]


def test_a_terminal_that_the_registry_does_not_know_gives_no_figure() -> None:
    rows = steady(*EVEN).with_columns(terminal=pl.lit("9999999999"))
    assert [frame.height for frame in clean(rows, [DAY])] == [0, 0, 0, 0]


def test_no_readings_give_empty_tables_with_their_columns() -> None:
    for found, empty in zip(unit_tables(readings([]), [DAY], SHANGHAI), units.EMPTY, strict=True):
        assert found.num_rows == 0
        assert found.schema == empty.schema


def test_the_midnight_reading_closes_the_day_before() -> None:
    cleaned = clean(
        readings([local("2025-06-02T23:45"), local("2025-06-03T00:00")], forward_m3=[10.0, 11.0]), [DAY, DAY + timedelta(days=1)]
    )
    assert cleaned.intervals.filter(pl.col("interval_end") == local("2025-06-03T00:00"))["day"].to_list() == [DAY]


def assigned(*rows: tuple[str, str, str | None, str | None]) -> pl.DataFrame:
    """Facts: terminal, meter, and the local times from and until (excluded) which the one measures the other."""
    bounds = pl.DataFrame(
        [(local(begin) if begin else None, local(end) if end else None) for *_, begin, end in rows],
        schema={"terminal_from": pl.Datetime("us", "UTC"), "terminal_to": pl.Datetime("us", "UTC")},
        orient="row",
    )
    return terminals(*({"terminal": terminal, "meter": meter} for terminal, meter, *_ in rows)).hstack(bounds)


def test_a_terminal_that_was_given_to_another_meter_counts_for_each_in_its_time() -> None:
    facts = assigned(("0010000001", "OLD", None, "2025-06-02T12:00"), ("0010000001", "NEW", "2025-06-02T12:00", None))
    days = clean(steady(*EVEN), [DAY], registry=facts).days
    assert dict(zip(days["meter"], days["readings"], strict=True)) == {"NEW": 49, "OLD": 47}
    assert dict(zip(days["meter"], days["known_volume_nl"], strict=True)) == {"NEW": 72 * NL_PER_M3, "OLD": 70.5 * NL_PER_M3}


def test_a_meter_whose_terminal_was_swapped_goes_on() -> None:
    facts = assigned(("0010000001", "M1", None, "2025-06-02T12:00"), ("0010000002", "M1", "2025-06-02T12:00", None))
    rows = steady(*EVEN)
    both = pl.concat([rows, rows.with_columns(terminal=pl.lit("0010000002"))])
    (day,) = clean(both, [DAY], registry=facts).days.to_dicts()
    assert (day["volume_nl"], day["readings"], day["clean"]) == (144 * NL_PER_M3, 96, True)


def test_readings_before_a_meter_was_installed_and_after_it_was_removed_do_not_count() -> None:
    facts = assigned(("0010000001", "M1", "2025-06-02T06:00", "2025-06-02T18:00"))
    (day,) = clean(steady(*EVEN), [DAY], registry=facts).days.to_dicts()
    assert (day["volume_nl"], day["known_us"]) == (None, (12 * 60 - 15) * 60_000_000)

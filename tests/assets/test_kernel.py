"""The kernel as a whole: one answer whichever path and cut, sums that add up whatever the readings, no silent refusal."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from assets import calendar, periods
from assets.kernel import Flag, aggregate, steps
from assets.units import Tables
from tests.figures import Figures, figures, readings, terminals, typed, unit_tables

SHANGHAI, ROME = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Rome")
DAY = date(2025, 6, 2)
DAYS = calendar.days_between(DAY, DAY + timedelta(days=2))
STEPS_MIN = (1, 5, 7, 15, 60, 240, 1440)
Floats = NDArray[np.float64]


def local(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def even(
    minutes: float, zone: ZoneInfo = SHANGHAI, days: Sequence[date] = DAYS, offset_min: float = 0.0, m3_per_hour: float = 6.0
) -> pl.DataFrame:
    """A register that rises evenly, from four hours before the days to four hours after (a step, where that is longer)."""
    reach = max(240.0, minutes)
    start = calendar.midnight(days[0], zone) - timedelta(minutes=reach // minutes * minutes - offset_min)
    end = calendar.midnight(days[-1] + timedelta(days=1), zone) + timedelta(minutes=reach)
    count = int((end - start) / timedelta(minutes=minutes)) + 1
    at = [start + timedelta(minutes=minutes) * step for step in range(count)]
    return readings(at, forward_m3=[1000.0 + m3_per_hour * minutes / 60 * step for step in range(count)])


def fleet(seed: int, meters: int, *, garbage: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Readings of meters with odd steps, holes and pressures, some of flow only, and their registry; with garbage on demand."""
    random = np.random.default_rng(seed)
    start, end = (calendar.midnight(day, SHANGHAI).timestamp() for day in (DAYS[0], DAYS[-1] + timedelta(days=1)))
    parts, rows = [], []
    for number in range(meters):
        step = int(random.choice(STEPS_MIN[1:5]))
        at = np.arange(start - 4 * 3600, end + 4 * 3600, step * 60.0) + random.choice([0, 0, 137])
        at = at[random.random(len(at)) > random.choice([0.0, 0.02, 0.4])]
        register = 5000 + np.cumsum(random.uniform(0, 100, len(at)) * np.diff(at, prepend=at[0]) / 3600)
        reverse = np.cumsum(random.random(len(at)) < 0.05) * 0.5 if random.random() < 0.5 else np.full(len(at), np.nan)
        register = np.round(register, 1)
        flow = random.uniform(0, 100, len(at))
        if garbage:
            register, flow = _spoilt(random, register), _spoilt(random, flow)
        is_flow = random.random() < 0.2
        if garbage:
            twice = np.flatnonzero(random.random(len(at)) < random.choice([0.0, 0.05]))
            at, register, reverse, flow = (np.insert(column, twice, column[twice]) for column in (at, register, reverse, flow))
            at[twice + np.arange(len(twice))] -= random.integers(1, 3, len(twice))  # readings a second or two before another
        columns = {
            "forward_m3": np.full(len(at), np.nan) if is_flow else register,
            "reverse_m3": reverse,
            "flow_m3h": flow if is_flow or random.random() < 0.5 else np.full(len(at), np.nan),
            "pressure_mpa": random.uniform(-0.1, 1.7, len(at)),
        }
        name = f"{number:010}"
        times = [datetime.fromtimestamp(t, UTC) for t in at]
        part = readings(
            times, terminal=name, **{key: pl.Series(values).fill_nan(None).to_list() for key, values in columns.items()}
        )
        parts.append(part)
        rows.append({"terminal": name, "meter": f"M{number}", "step_min": step, "reads": "flow" if is_flow else "register"})
    return pl.concat(parts), terminals(*rows)


def _spoilt(random: np.random.Generator, values: Floats) -> Floats:
    """The values with some of: zeros, spikes, steps to elsewhere, swings, plateaus, noise, absurd numbers, roll-overs."""
    spoilt, count = values.copy(), len(values)
    for _ in range(random.integers(1, 5)):
        first = int(random.integers(0, count))
        width = int(random.choice([1, 1, 2, 5, 50, count]))
        part = slice(first, min(first + width, count))
        kind = random.integers(0, 9)
        if kind == 0:
            spoilt[part] = 0.0
        elif kind == 1:
            spoilt[part] += random.choice([-1, 1]) * 10.0 ** random.integers(-1, 8)
        elif kind == 2:
            spoilt[first:] += random.choice([-1, 1]) * 10.0 ** random.integers(-1, 6)
        elif kind == 3:
            spoilt[part] -= random.uniform(0, 5, part.stop - part.start)
        elif kind == 4:
            spoilt[part] = spoilt[first]
        elif kind == 5:
            spoilt[part] = random.uniform(-1e6, 1e7, part.stop - part.start)
        elif kind == 6:
            spoilt[first] = random.choice([1e12, -1e12, 1e18, 1e300, 4_294_967_295.0])
        elif kind == 7:
            spoilt[part] = spoilt[part] % 1000.0
        else:
            spoilt = (spoilt - spoilt[first] + 1e6) % 1e6  # rolls over at `first`
    return spoilt


def assert_same(first: Tables, second: Tables) -> None:
    for name, one, two in zip(Tables._fields, first, second, strict=True):
        keys = [(key, "ascending") for key in ("meter", "day", "hour_start", "started_at") if key in one.column_names]
        assert one.sort_by(keys).combine_chunks().equals(two.sort_by(keys).combine_chunks()), name


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_path_gives_what_the_fast_path_gives_of_a_fleet_without_a_violation(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, registry = fleet(seed, 12, garbage=False)
    fast = unit_tables(rows, DAYS, SHANGHAI, registry=registry)
    assert not fast.unit_day["refused_count"].to_numpy().any()
    monkeypatch.setattr(steps, "_registers", lambda _readings, _bounds, _facts, _rates, _steps, exact: exact.fill(True))
    assert_same(fast, unit_tables(rows, DAYS, SHANGHAI, registry=registry))


@pytest.mark.parametrize("seed", range(3))
def test_figures_do_not_depend_on_how_units_are_cut_or_on_the_order_of_days(seed: int) -> None:
    rows, registry = fleet(seed, 15, garbage=True)
    whole = unit_tables(rows, DAYS, SHANGHAI, registry=registry)
    parts = [
        unit_tables(rows, [day], SHANGHAI, registry=bucket)
        for bucket in registry.sample(fraction=1.0, shuffle=True, seed=seed).iter_slices(4)
        for day in reversed(DAYS)
    ]
    assert_same(whole, Tables._make(pa.concat_tables(tables) for tables in zip(*parts, strict=True)))


def assert_adds_up(found: Figures, registry: pl.DataFrame) -> None:
    """Hours add up to days and days to periods, to the last digit."""
    hours = found.hours.group_by("meter", "day").agg(
        total=pl.col("volume_nl").sum(), all=(pl.len() == 24) & (pl.col("volume_nl").null_count() == 0)
    )
    both = found.days.join(hours.filter("all"), on=["meter", "day"]).filter(pl.col("known_us") == 24 * 3_600_000_000)
    assert both["volume_nl"].to_list() == both["total"].to_list()
    wanted = registry.select(key=pl.lit("P"), meter="meter", first=pl.lit(DAYS[0]), end=pl.lit(DAYS[-1] + timedelta(days=1)))
    totals = periods.volumes(found.days, wanted, registry, typed("replacements", []), SHANGHAI)
    days = (
        found.days.filter(pl.col("first_at").is_not_null())
        .group_by("meter")
        .agg(total=pl.col("volume_nl").sum(), all=(pl.len() == len(DAYS)) & (pl.col("volume_nl").null_count() == 0))
    )
    periods_and_days = totals.join(days.filter("all"), on="meter")
    assert periods_and_days["volume_nl"].to_list() == periods_and_days["total"].to_list()


def assert_nothing_is_refused_in_silence(found: Figures) -> None:
    days = found.days
    assert days.filter((pl.col("refused_count") > 0) & pl.col("clean")).is_empty()
    flagged = found.intervals.filter(pl.col("flags") & int(Flag.REFUSED) != 0).group_by("meter", "day").len()
    counted = days.filter(pl.col("refused_count") > 0).select("meter", "day", len="refused_count")
    assert dict(zip(zip(flagged["meter"], flagged["day"], strict=True), flagged["len"], strict=True)) == dict(
        zip(zip(counted["meter"], counted["day"], strict=True), counted["len"], strict=True)
    )


@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_readings_hours_add_up_to_days_and_days_to_periods(seed: int) -> None:
    """Thirty meters with garbage in each of ten fleets."""
    rows, registry = fleet(1000 + seed, 30, garbage=True)
    found = figures(unit_tables(rows, DAYS, SHANGHAI, registry=registry))
    assert_adds_up(found, registry)
    assert_nothing_is_refused_in_silence(found)
    possible = 24 * 1.2 * 125.0 * 20 + 1
    assert found.days.filter((pl.col("volume_nl") / 1e12 > possible) | (pl.col("volume_nl") / 1e12 < -possible)).is_empty()


@pytest.mark.parametrize("minutes", STEPS_MIN)
def test_a_day_of_zeros_after_a_restart_books_no_water_at_any_step(minutes: int) -> None:
    rows = even(minutes)
    middle = calendar.midnight(DAYS[1], SHANGHAI), calendar.midnight(DAYS[2], SHANGHAI)
    is_zero = pl.col("ts").is_between(*middle, closed="both")
    rows = rows.with_columns(forward_m3=pl.when(is_zero).then(0.0).otherwise("forward_m3"))
    found = figures(unit_tables(rows, DAYS, SHANGHAI, registry=terminals({"step_min": minutes})))
    known = found.days["volume_nl"].drop_nulls() / 1e12
    assert ((known >= 0) & (known <= 145)).all()
    assert found.days.filter(pl.col("day") == DAYS[1])["clean"].to_list() == [False]
    assert found.days["refused_count"].sum() >= is_zero_count(rows)
    assert found.days["flow_max_m3h"].drop_nulls().to_list() == pytest.approx(
        [6.0] * found.days["flow_max_m3h"].drop_nulls().len()
    )


def is_zero_count(rows: pl.DataFrame) -> int:
    return rows.filter(pl.col("forward_m3") == 0.0).height


@pytest.mark.parametrize(
    ("zone", "day", "offset_min"),
    [
        ("Asia/Kolkata", DAY, 0.0),
        ("Asia/Kathmandu", DAY, 0.0),
        ("Australia/Lord_Howe", date(2025, 10, 5), 0.0),
        ("Australia/Lord_Howe", date(2025, 4, 6), 0.0),
        ("America/St_Johns", date(2025, 3, 9), 0.0),
        ("America/Sao_Paulo", date(2018, 11, 4), 0.0),
    ],
)
@pytest.mark.parametrize("minutes", [15, 60])
def test_hours_are_those_of_the_local_clock_in_any_zone(zone: str, day: date, offset_min: float, minutes: int) -> None:
    there = ZoneInfo(zone)
    length_h = (calendar.midnight(day + timedelta(days=1), there) - calendar.midnight(day, there)) / timedelta(hours=1)
    rows = even(minutes / 2 if "Lord" in zone else minutes, there, [day], offset_min)
    found = figures(unit_tables(rows, [day], there, registry=terminals({"step_min": minutes})))
    (volume,) = found.days["volume_nl"].to_list()
    assert volume / 1e12 == pytest.approx(6.0 * length_h)
    assert found.hours["volume_nl"].sum() == volume
    assert found.hours["volume_nl"].null_count() == 0
    assert found.days["clean"].to_list() == [True]
    if "Lord" not in zone:
        assert found.days["off_grid_count"].to_list() == [0]


@pytest.mark.parametrize("hour", [0, 1, 6, 13, 23])
def test_a_daily_meter_may_report_at_any_hour(hour: int) -> None:
    rows = even(1440, offset_min=60 * hour)
    found = figures(unit_tables(rows, DAYS, SHANGHAI, registry=terminals({"step_min": 1440})))
    assert found.days["off_grid_count"].sum() == 0
    assert found.days["refused_count"].sum() == 0
    assert found.days["readings"].to_list() == [1, 1, 1]


def test_peaks_come_from_intervals_that_the_register_can_resolve() -> None:
    """A litre-a-second use read each quarter of an hour, and one more reading a second after the wheel turned."""
    at = [local("2025-06-02T00:00") + timedelta(minutes=15 * step) for step in range(97)]
    register = [100.0 + round(0.9 * step, 1) for step in range(97)]
    rows = readings([*at, at[40] + timedelta(seconds=1)], forward_m3=[*register, register[40] + 0.1]).sort("ts")
    (day,) = figures(unit_tables(rows, [DAY], SHANGHAI, registry=terminals({"q3_m3h": 100.0}))).days.to_dicts()
    assert day["flow_max_m3h"] == pytest.approx(3.6, rel=0.02)
    assert day["volume_nl"] == pytest.approx(86.4e12)
    assert day["refused_count"] == 0


@pytest.mark.parametrize("flow", [151.0, -151.0, 2_999.0])
def test_a_flow_beyond_1_2_q4_is_believed_and_marked(flow: float) -> None:
    (day,) = _day_of_flows([6.0, flow, 6.0])
    assert day["impossible_rise_count"] == 1
    assert not day["clean"]
    assert day["known_volume_nl"] == pytest.approx((12 + max(flow, 0)) * 0.25e12)


@pytest.mark.parametrize("flow", [3_001.0, -3_001.0, 1e12, 1e300])
def test_a_flow_that_no_meter_could_pass_is_refused_and_counted(flow: float) -> None:
    (day,) = _day_of_flows([6.0, flow, 6.0])
    assert day["refused_count"] == 1
    assert not day["clean"]
    assert day["known_volume_nl"] == pytest.approx(3.0e12)
    assert day["known_us"] == 1_800_000_000
    assert day["flow_max_m3h"] == pytest.approx(6.0)


def _day_of_flows(flows: list[float]) -> list[dict[str, Any]]:
    at = [local("2025-06-02T08:00") + timedelta(minutes=15 * step) for step in range(len(flows))]
    return figures(
        unit_tables(readings(at, flow_m3h=flows), [DAY], SHANGHAI, registry=terminals({"reads": "flow"}))
    ).days.to_dicts()


@pytest.mark.parametrize("register", [1e10, 1e12, -1e12, 1e300])
def test_a_register_out_of_all_bounds_is_refused_and_counted(register: float) -> None:
    at = [local("2025-06-02T08:00") + timedelta(minutes=15 * step) for step in range(4)]
    found = figures(unit_tables(readings(at, forward_m3=[100.0, 101.0, register, 103.0]), [DAY], SHANGHAI))
    assert found.days.select("refused_count", "clean", "known_volume_nl").row(0) == (1, False, 3_000_000_000_000)
    assert found.days["readings"].to_list() == [4]


def test_the_bins_of_flows_are_their_classes() -> None:
    flows = np.array([0.0, -3.0, 1e-5, 1e-4, 0.625, 1.0, 6.3, 250.0, 312.5, 7_875.0])
    low, high = aggregate.bin_edges(np.array([aggregate.bin_of(flow) for flow in flows], np.int32))
    positive = flows > 1e-4
    assert (low[positive] <= flows[positive] * (1 + 1e-9)).all()
    assert (flows[positive] < high[positive] * (1 + 1e-9)).all()
    assert [aggregate.bin_of(flow) for flow in flows[:2]] == [0, 0]


def test_the_flow_histogram_has_the_time_and_volume_of_the_day() -> None:
    rows, registry = fleet(7, 12, garbage=False)
    found = figures(unit_tables(rows, DAYS, SHANGHAI, registry=registry))
    spread = (
        found.histogram.explode("bin", "seconds", "volume_nl").group_by("meter", "day").agg(pl.col("seconds", "volume_nl").sum())
    )
    both = found.days.join(spread, on=["meter", "day"])
    assert both["seconds"].to_list() == pytest.approx((both["known_us"] / 1e6).to_list())
    assert both.filter((pl.col("known_volume_nl") - pl.col("volume_nl_right")).abs() > 200).is_empty()

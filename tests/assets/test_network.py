"""The network's figures from readings on: pressure against independent results, nights with leaks, reverse flow and its cause."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from assets import calendar, marts, night_levels, units, warehouse
from assets.kernel import NL_PER_M3
from assets.partitions import Partitions
from tests.chain import shared
from tests.figures import CRITERIA, empty_warehouse, figures, readings, terminals, typed, unit_tables

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2025, 6, 2)
QUARTER = timedelta(minutes=15)
Floats = NDArray[np.float64]


def quarters(days: Sequence[date]) -> list[datetime]:
    """Every quarter of an hour of the days, from midnight to midnight."""
    start = calendar.midnight(days[0], ZONE)
    return [start + QUARTER * number for number in range(96 * len(days) + 1)]


def metered(
    meter: str,
    days: Sequence[date],
    flow_m3h: Floats,
    *,
    reverse_m3h: Floats | None = None,
    pressure_mpa: Floats | None = None,
    decimals: int = 3,
) -> pl.DataFrame:
    """Readings of a terminal of the meter's name; the flows are means of the quarters of an hour."""
    at = quarters(days)
    columns = {"forward_m3": np.round(1000 + np.concatenate(([0.0], np.cumsum(flow_m3h) / 4)), decimals)}
    if reverse_m3h is not None:
        columns["reverse_m3"] = np.round(5 + np.concatenate(([0.0], np.cumsum(reverse_m3h) / 4)), decimals)
    if pressure_mpa is not None:
        columns["pressure_mpa"] = np.concatenate((pressure_mpa[:1], pressure_mpa))
    return readings(at, terminal=meter, **{name: values.tolist() for name, values in columns.items()})


def fleet(meters: Sequence[str], **facts: Any) -> pl.DataFrame:
    return terminals(*({"terminal": meter, "meter": meter, **facts} for meter in meters))


@contextmanager
def warehouse_of(
    folder: Path, days: Sequence[date], found: units.Tables, registry: pl.DataFrame, **files: Sequence[dict[str, Any]]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with the unit tables of the days, the calendar and the registry."""
    with empty_warehouse(folder / "marts.duckdb", days, ZONE) as connection:
        for name, table in found._asdict().items():
            warehouse.replace_rows(connection, name, table, "day", days)
        warehouse.replace_all(connection, "registry.terminals", registry)
        for name, rows in files.items():
            warehouse.replace_all(connection, f"registry.{name}", typed(name, rows))
        Partitions(tuple(days), ZONE).prepare(connection)
        for name in ("calendar", "meter", "relation", "hourly_usage", "daily_usage"):
            build(connection, name)
        yield connection


def build(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    (mart,) = (mart for mart in marts.all_marts() if mart.name == name)
    marts.build(mart, connection)


def test_pressures_equal_the_independent_results() -> None:
    """Their samples are stamped at the start of their quarter, so that midnight belongs to the day that begins."""
    data = shared("synthetic-pressure")
    raw = pl.read_parquet(data / "readings.parquet")
    rows = [
        readings((own["ts"] + QUARTER).to_list(), terminal=meter, pressure_mpa=(own["pressure_kpa"] / 1000).to_list())
        for (meter,), own in raw.partition_by("meter_id", as_dict=True).items()
    ]
    zone = ZoneInfo("Europe/Rome")
    days = calendar.days_between(date(2022, 1, 1), date(2023, 1, 1))
    registry = fleet(raw["meter_id"].unique(maintain_order=True).to_list(), pressure_low_mpa=0.16)
    found = pl.DataFrame(pl.from_arrow(unit_tables(pl.concat(rows), days, zone, registry=registry).unit_day))
    expected = pl.read_csv(data / "expected" / "daily_pressure.csv", try_parse_dates=True)
    both = expected.join(found, left_on=["meter_id", "day_local"], right_on=["meter", "day"], how="left")
    assert both.height > 700
    mean = both["pressure_sum_pa"] / both["pressure_count"] / 1000
    assert both["pressure_count"].to_list() == both["samples"].to_list()
    assert both["pressure_low_count"].to_list() == both["below_low"].to_list()
    assert (both["pressure_max_pa"] / 1000).to_list() == pytest.approx(both["pressure_max_kpa"].to_list(), abs=1e-6)
    assert (both["pressure_min_pa"] / 1000).to_list() == pytest.approx(both["pressure_min_kpa"].to_list(), abs=1e-6)
    assert mean.to_list() == pytest.approx(both["pressure_mean_kpa"].to_list(), abs=1e-6)


# --- what the kernel adds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_night_is_the_lowest_of_the_hours_of_four_quarters(seed: int) -> None:
    random = np.random.default_rng(seed)
    flow = random.uniform(0, 20, 96)
    (row,) = pl.DataFrame(
        pl.from_arrow(unit_tables(metered("M", [DAY], flow), [DAY], ZONE, registry=fleet(["M"])).unit_day)
    ).to_dicts()
    register = np.round(np.cumsum(flow) / 4, 3)
    hours = [register[end] - register[end - 4] for end in range(11, 16)]
    assert row["night_min_nlh"] / NL_PER_M3 == pytest.approx(min(hours), abs=1e-9)
    assert row["night_known_us"] == 2 * 3_600_000_000


@pytest.mark.parametrize(("missing", "known"), [((2, 3, 5), False), ((2, 7), True), ((0, 1), True), ((0, 1, 2, 3), False)])
def test_a_night_needs_six_of_its_eight_quarters(missing: tuple[int, ...], known: bool) -> None:
    """A meter that reports flow: each missing reading is a missing quarter."""
    at = quarters([DAY])
    flows = [6.0 if 8 < number <= 16 else 9.0 for number in range(97)]
    kept = [number for number in range(97) if number - 9 not in missing]
    rows = readings([at[number] for number in kept], terminal="M", flow_m3h=[flows[number] for number in kept])
    found = unit_tables(rows, [DAY], ZONE, registry=fleet(["M"], reads="flow")).unit_day
    assert found["night_min_nlh"].to_pylist() == [6 * NL_PER_M3 if known else None]
    assert found["night_known_us"].to_pylist() == [(8 - len(missing)) * 900_000_000]


def test_a_night_in_doubt_is_not_known() -> None:
    """A register that shows a wrong value within the night."""
    rows = metered("M", [DAY], np.full(96, 6.0))
    wrong = rows.with_columns(forward_m3=pl.when(pl.int_range(pl.len()) >= 12).then(0.0).otherwise("forward_m3"))
    found = unit_tables(wrong, [DAY], ZONE, registry=fleet(["M"])).unit_day
    assert found["night_min_nlh"].to_pylist() == [None]


@pytest.mark.parametrize("hours", [(1.0, 5.0), (23.0, 5.0), (2.5, 3.0), (-3.0, 99.0)])
def test_the_night_is_that_of_the_criteria_and_none_where_they_make_none(hours: tuple[float, float]) -> None:
    flow = np.repeat(np.arange(24.0), 4)
    criteria = CRITERIA._replace(night_start_h=hours[0], night_end_h=hours[1])
    found = unit_tables(metered("M", [DAY], flow), [DAY], ZONE, registry=fleet(["M"]), criteria=criteria).unit_day
    lowest = None if hours in ((23.0, 5.0), (2.5, 3.0)) else max(hours[0], 0.0) * NL_PER_M3
    assert found["night_min_nlh"].to_pylist() == [lowest]


def test_hours_hold_the_pressures_of_their_day_and_of_hours_without_a_register() -> None:
    random = np.random.default_rng(5)
    pressure = random.uniform(0.1, 0.4, 96)
    rows = metered("M", [DAY], np.full(96, 6.0), pressure_mpa=pressure)
    rows = rows.with_columns(forward_m3=pl.when(pl.int_range(pl.len()) <= 40).then(None).otherwise("forward_m3"))
    found = unit_tables(rows, [DAY], ZONE, registry=fleet(["M"]))
    hours, (day,) = figures(found).hours, found.unit_day.to_pylist()
    means = np.round(pressure * 1e6).reshape(24, 4)
    assert hours["pressure_sum_pa"].to_list() == means.sum(axis=1).tolist()
    assert hours["pressure_min_pa"].to_list() == means.min(axis=1).tolist()
    assert hours["pressure_sum_pa"].sum() == day["pressure_sum_pa"]
    assert hours["coverage"].null_count() == 10


def test_a_fit_recovers_the_curve_that_made_the_pressures(tmp_path: Path) -> None:
    flow = np.random.default_rng(1).uniform(0, 100, 96)
    rows = metered("M", [DAY], flow, pressure_mpa=0.30 - 1e-6 * flow**2)
    registry = fleet(["M"])
    with warehouse_of(tmp_path, [DAY], unit_tables(rows, [DAY], ZONE, registry=registry), registry) as connection:
        build(connection, "flow_pressure_fit")
        (row,) = warehouse.frame(connection, "select * from flow_pressure_fit").to_dicts()
    assert (row["static_mpa"], row["slope"]) == (pytest.approx(0.30, rel=0.01), pytest.approx(1e-6, rel=0.01))
    assert row["r_squared"] > 0.99
    assert row["intervals"] == 96


def test_five_fast_steps_that_pull_the_pressure_down_are_listed_and_a_quiet_meter_is_not(tmp_path: Path) -> None:
    flow, pressure = np.full(96, 2.0), np.full(96, 0.3)
    for start in (20, 30, 40, 50, 60):
        flow[start : start + 3], pressure[start : start + 3] = 40.0, 0.22
    quiet = np.where(np.arange(96) % 10 < 3, 8.0, 2.0)
    deep = np.where(np.arange(96) % 10 < 3, 0.22, 0.3)  # the pressure falls with no step of its own
    rows = [metered("LOUD", [DAY], flow, pressure_mpa=pressure), metered("QUIET", [DAY], quiet, pressure_mpa=deep)]
    registry = fleet(["LOUD", "QUIET"])
    with warehouse_of(tmp_path, [DAY], unit_tables(pl.concat(rows), [DAY], ZONE, registry=registry), registry) as connection:
        build(connection, "pressure_drop")
        assert warehouse.frame(connection, "select meter, steps, listed from pressure_drop").rows() == [("LOUD", 5, True)]


# --- nights -------------------------------------------------------------------------------------------------------------------

NIGHTS = calendar.days_between(date(2025, 3, 1), date(2025, 5, 29))
LEAKS = {f"C{number:02}": (35 + 5 * number, leak) for number, leak in enumerate((0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 4.0, 5.0))}
"""By customer: the day from which it leaks, and how much (m³/h)."""

HOLE_NIGHT = NIGHTS[LEAKS["C04"][0] + 6]
"""A night without readings of a customer that leaks and of one that does not."""

THREE_SHIFTS, RUNS_ALWAYS = ("C20", "C21"), "C22"


def customers(random: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """40 customers over 90 days: offices, works of two and three shifts, hotels, with weekends and noise; eight of them leak."""
    hours = np.arange(96) / 4
    for number in range(40):
        name = f"C{number:02}"
        shape = np.where((hours >= 7) & (hours < (22 if number % 2 else 18)), 1.0, (0.02, 0.06, 0.15)[number % 3])
        size = random.uniform(6, 25)
        by_day = np.array([size if day.weekday() < 5 or number % 3 == 2 else size * 0.35 for day in NIGHTS])
        if name in THREE_SHIFTS:  # production that rises for good
            shape, by_day = np.full(96, 0.9), by_day * np.where(np.arange(90) >= 50, 1.5, 1.0)
        flow = np.outer(by_day, shape) * random.lognormal(0, 0.15, (90, 96))
        if name == RUNS_ALWAYS:
            flow[45:] += 1.5
        if name in LEAKS:
            flow[LEAKS[name][0] :] += LEAKS[name][1]
        yield name, flow.ravel()


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    rows = dict(customers(np.random.default_rng(12)))
    registry = fleet(list(rows), resolution_m3=0.01)
    start = calendar.midnight(HOLE_NIGHT, ZONE)
    is_hole = pl.col("terminal").is_in(["C04", "C30"]) & pl.col("ts").is_between(
        start + timedelta(hours=1), start + timedelta(hours=5)
    )
    parts = pl.concat(metered(name, NIGHTS, flow, decimals=2) for name, flow in rows.items()).filter(~is_hole)
    found = unit_tables(parts, NIGHTS, ZONE, registry=registry)
    points = [{"meter": RUNS_ALWAYS, "runs_always": "yes"}]
    with warehouse_of(tmp_path_factory.mktemp("nights"), NIGHTS, found, registry, points=points) as connection:
        assert_nights_made(connection)
        yield connection


def assert_nights_made(connection: duckdb.DuckDBPyConnection) -> None:
    assert night_levels.make(connection) > 0
    build(connection, "night_flow")


def test_leaks_are_found_within_five_nights_and_hardly_anything_else(nights: duckdb.DuckDBPyConnection) -> None:
    first = dict(nights.execute("select meter, min(day) from night_flow where suspected group by meter").fetchall())
    found = [name for name, (start, _) in LEAKS.items() if name in first and 0 <= (first[name] - NIGHTS[start]).days < 5]
    others = sorted(first.keys() - LEAKS.keys())
    assert len(found) >= 7, first
    assert len(others) <= 1, others
    assert not {*THREE_SHIFTS, RUNS_ALWAYS} & first.keys()


def test_the_loss_is_the_leak_and_since_its_first_night(nights: duckdb.DuckDBPyConnection) -> None:
    for name, (start, leak) in LEAKS.items():
        if leak < 2:
            continue
        day = NIGHTS[start + 4]
        query = f"select loss_m3_day, loss_cny_month, since, nights from night_flow where meter = '{name}' and day = '{day}'"
        ((loss, cny, since, count),) = nights.execute(query).fetchall()
        assert loss == pytest.approx(leak * 24, rel=0.25)
        assert cny == pytest.approx(loss * 30 * 4.5)
        assert (since, count) == (NIGHTS[start], 5)


def test_a_night_that_is_not_known_neither_raises_nor_clears(nights: duckdb.DuckDBPyConnection) -> None:
    query = "select meter, night_min_m3h, suspected, loss_m3_day from night_flow where meter in ('C04', 'C30') and day = ?"
    assert sorted(nights.execute(query, [HOLE_NIGHT]).fetchall()) == [("C04", None, True, None), ("C30", None, False, None)]


def test_nights_made_in_any_cut_are_the_same_and_a_late_day_reaches_those_that_look_back(
    nights: duckdb.DuckDBPyConnection,
) -> None:
    whole = nights.execute("select * from night_flow order by all").fetchall()
    for days in ([NIGHTS[-1]], [NIGHTS[3], NIGHTS[60]]):
        Partitions(tuple(days), ZONE).prepare(nights)
        reached = [day for (day,) in nights.execute("select day from touched_night order by day").fetchall()]
        assert reached == sorted({day + timedelta(days=ahead) for day in days for ahead in range(57)} & set(NIGHTS))
        assert_nights_made(nights)
        assert nights.execute("select * from night_flow order by all").fetchall() == whole
    Partitions(tuple(NIGHTS), ZONE).prepare(nights)


# --- reverse flow -------------------------------------------------------------------------------------------------------------

WEEKS = calendar.days_between(date(2025, 5, 1), date(2025, 6, 2))


def reversing(name: str, random: np.random.Generator) -> pl.DataFrame:
    """A meter of one of four scenarios: N (network), P (pumping), T (theft), V (check valve); N4, P2 … are beside."""
    flow = 6 * random.lognormal(0, 0.1, (len(WEEKS), 96))
    reverse, pressure = np.zeros_like(flow), 0.3 + random.normal(0, 0.003, flow.shape)
    if name in ("N1", "N2", "N3"):
        reverse[-1, 40:44], pressure[-1, 40:44] = 2.0, 0.05
    elif name == "P1":
        reverse[-1, 56:59], pressure[-1, 56:59] = 1.5, 0.12
    elif name == "T1":
        flow[-1] *= 0.3
        reverse[-1, 4:20] = 8.0
    elif name == "V1":
        for day in (3, 9, 14, 21, 27, 32):
            reverse[day, 70:72] = 0.4
    flow[reverse > 0] = 0
    return metered(name, WEEKS, flow.ravel(), reverse_m3h=reverse.ravel(), pressure_mpa=pressure.ravel())


def test_four_scenarios_of_reverse_flow_have_four_causes(tmp_path: Path) -> None:
    names = [f"{scenario}{number}" for scenario in "NPTV" for number in (1, 2, 3, 4)]
    random = np.random.default_rng(4)
    registry = fleet(names, resolution_m3=0.001)
    found = unit_tables(pl.concat(reversing(name, random) for name in names), WEEKS, ZONE, registry=registry)
    relations = [{"meter": name, "kind": "network", "code": name[0]} for name in names]
    with warehouse_of(tmp_path, WEEKS, found, registry, relations=relations) as connection:
        build(connection, "reverse_event")
        events = warehouse.frame(connection, "select * from reverse_event order by meter, started_at")
        build(connection, "reverse_course")
        course = warehouse.frame(connection, "select meter, sum(reverse_m3) as volume_m3 from reverse_course group by meter")
        assert_made_again_the_same(connection)
    last = events.filter(pl.col("day") == DAY)
    assert dict(last.select("meter", "likely_cause").iter_rows()) == {
        **dict.fromkeys(("N1", "N2", "N3"), "network"),
        "P1": "pumping",
        "T1": "theft",
        "V1": "check_valve",
    }
    assert events.filter(pl.col("meter") == "V1").height == 6
    assert dict(course.iter_rows()) == pytest.approx({"N1": 2, "N2": 2, "N3": 2, "P1": 1.125, "T1": 32, "V1": 1.2})
    assert dict(events.group_by("meter").agg(pl.col("volume_m3").sum()).iter_rows()) == pytest.approx(dict(course.iter_rows()))
    network = last.filter(pl.col("meter") == "N1").to_dicts()[0]
    assert (network["started_at"], network["ended_at"]) == (
        datetime(2025, 6, 2, 2, tzinfo=UTC),
        datetime(2025, 6, 2, 3, tzinfo=UTC),
    )
    assert network["pressure_before_mpa"] == pytest.approx(0.3, abs=0.02)
    assert network["pressure_after_mpa"] == pytest.approx(0.3, abs=0.02)
    assert (network["flow_max_m3h"], network["neighbours"], network["neighbours_reversed"]) == (pytest.approx(2.0), 3, 2)


def assert_made_again_the_same(connection: duckdb.DuckDBPyConnection) -> None:
    whole = connection.execute("select * from reverse_event order by all").fetchall()
    for day in (WEEKS[3], WEEKS[-1]):
        Partitions((day,), ZONE).prepare(connection)
        build(connection, "reverse_event")
        assert connection.execute("select * from reverse_event order by all").fetchall() == whole


def test_reverse_flow_across_midnight_is_one_event_and_a_whole_day_of_it_another(tmp_path: Path) -> None:
    days = WEEKS[:5]
    reverse = np.zeros((5, 96))
    reverse[0, 90:], reverse[1, :6] = 1.0, 1.0  # across midnight, with a pause of a quarter
    reverse[1, 2] = 0.0
    reverse[3, 88:], reverse[4, :] = 1.0, 1.0  # until the end: the last day is whole
    rows = metered("M", days, np.full(480, 1.0) * (reverse.ravel() == 0), reverse_m3h=reverse.ravel())
    registry = fleet(["M"])
    with warehouse_of(tmp_path, days, unit_tables(rows, days, ZONE, registry=registry), registry) as connection:
        build(connection, "reverse_event")
        found = warehouse.frame(connection, "select day, volume_m3, likely_cause from reverse_event order by started_at").rows()
        # Made of its days one by one as they come, it is the same.
        connection.execute("delete from reverse_event").fetchall()
        for day in days:
            Partitions((day,), ZONE).prepare(connection)
            build(connection, "reverse_event")
        again = warehouse.frame(connection, "select day, volume_m3, likely_cause from reverse_event order by started_at").rows()
    assert [(day, pytest.approx(volume)) for day, volume, _ in found] == [(days[0], 2.75), (days[3], 2.0), (days[4], 24.0)]
    assert again == found

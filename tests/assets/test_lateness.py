"""Late data change what they must and nothing else, and a new day costs the same however long the history is."""

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from assets import quality
from assets.calendar import days_between
from assets.workbench import Workbench
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.settings import Settings
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines import settings, site_folder
from pipelines.runs import run
from pipelines.runs.bench import workbench
from tests.cases.figure_site import READINGS_AND_BILLS, only
from tests.chain import assert_same_tables, tables

START = datetime(2025, 1, 1, tzinfo=UTC)
TERMINAL = "0010000001"


def day_of_readings(number: int) -> pl.DataFrame:
    """A quarter-hourly day (UTC) after midnight up to the next, register rising by its own pattern."""
    at = [START + timedelta(days=number, minutes=15 * step) for step in range(1, 97)]
    total = 1000 + np.cumsum(np.full(96, 0.5)) + 48 * number
    frame = pl.DataFrame({"ts": at, "forward_m3": total, "pressure_mpa": np.full(96, 0.3)})
    filled = frame.with_columns(
        terminal=pl.lit(TERMINAL), received_at=pl.col("ts"), channel=pl.lit("tcp"), stream=pl.lit("data"), frame=pl.lit(number)
    ).with_columns(
        pl.lit(None, dtype).alias(name)
        for name, dtype in READING.items()
        if name not in frame.columns and name not in ("terminal", "received_at", "channel", "stream", "frame")
    )
    return filled.select(pl.col(name).cast(dtype) for name, dtype in READING.items())


def make_site(folder: Path, days: list[int]) -> Settings:
    site_folder.create(folder, "embedded", {"site": {"zone": "UTC"}})
    terminals = folder / "registry/terminals.csv"
    terminals.write_text(terminals.read_text().replace("2026-01-01", f"{START:%Y-%m-%d}"))
    loaded = settings.load(folder)
    open_store(loaded.folder, loaded[StoreSettings]).write(pl.concat([day_of_readings(number) for number in days]))
    return loaded


def changed_periods(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame], name: str, column: str) -> set[date]:
    left, right = before[name], after[name]
    rows = [
        left.join(right, on=left.columns, how="anti", nulls_equal=True),
        right.join(left, on=left.columns, how="anti", nulls_equal=True),
    ]
    return set(pl.concat(rows)[column])


def test_a_late_day_changes_exactly_the_days_and_months_that_it_must(tmp_path: Path) -> None:
    late = 40
    loaded = make_site(tmp_path / "site", [number for number in range(70) if number != late])
    bench = workbench(loaded)
    with only((*READINGS_AND_BILLS, "daily_coefficient", "group_usage", "segment_usage")):
        run.run_touched(bench, "test")
        before = tables(loaded.folder.marts)
        bench.store.write(day_of_readings(late))
        outcome = run.run_touched(bench, "test")
    after = tables(loaded.folder.marts)

    day = (START + timedelta(days=late)).date()
    assert outcome.days == days_between(day - timedelta(days=1), day + timedelta(days=1)), (
        "the day and those whose edge it may close"
    )
    # The late day's last reading, at 24:00, is also where the following day's curve begins.
    closed = {day, day + timedelta(days=1)}
    assert changed_periods(before, after, "hourly_usage", "day") == closed
    assert changed_periods(before, after, "daily_usage", "day") == closed
    assert changed_periods(before, after, "monthly_usage", "month") == {date(2025, 2, 1)}
    assert changed_periods(before, after, "daily_coefficient", "day") <= set(days_between(date(2025, 2, 1), date(2025, 2, 28)))
    # The month's volume was known from the registers before and after the hole; only its coverage, measured part and coefficients
    # move, and so does the part of it with which the month that goes on is compared.
    gone_on = {date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)}
    assert changed_periods(before, after, "usage_comparison", "period") == {*closed, day + timedelta(days=2), *gone_on}
    assert changed_periods(before, after, "group_usage", "period") == {*closed, date(2025, 2, 1)}
    assert changed_periods(before, after, "segment_usage", "day") == closed


def test_a_meter_that_was_put_into_another_group_moves_with_all_its_history(tmp_path: Path) -> None:
    loaded = make_site(tmp_path / "site", [0, 1, 2])
    relations = loaded.folder.registry / "relations.csv"
    bench = workbench(loaded)

    def groups() -> dict[str, set[date]]:
        """The days of each network."""
        rows = tables(loaded.folder.marts)["group_usage"].filter((pl.col("kind") == "network") & (pl.col("grain") == "day"))
        return {code: set(own["period"]) for (code,), own in rows.partition_by("code", as_dict=True).items()}

    first, new = START.date(), (START + timedelta(days=3)).date()
    relations.write_text("meter,kind,code,valid_from,valid_to\n示例-1,network,N1,,\n")
    with only(("group_usage",)):
        run.run_touched(bench, "test")
        assert groups().keys() == {"N1"}
        relations.write_text(f"meter,kind,code,valid_from,valid_to\n示例-1,network,N1,,{new}\n示例-1,network,N2,{first},\n")
        bench.store.write(day_of_readings(3))
        run.run_touched(bench, "test")
        run.run_touched(bench, "test")
    assert groups() == {"N1": {first, *days_between(first, new - timedelta(days=1))}, "N2": {*days_between(first, new)}}


def test_after_a_late_day_the_tables_are_those_of_readings_that_came_in_time(tmp_path: Path) -> None:
    late = make_site(tmp_path / "late", [number for number in range(20) if number != 9])
    run.run_touched(workbench(late), "test")
    workbench(late).store.write(day_of_readings(9))
    run.run_touched(workbench(late), "test")
    timely = make_site(tmp_path / "timely", list(range(20)))
    run.run_touched(workbench(timely), "test")
    left, right = tables(late.folder.marts), tables(timely.folder.marts)
    for name, frame in left.items():
        assert frame.equals(right[name]), name


@pytest.mark.usefixtures("few_tables")
def test_one_new_day_reads_the_same_number_of_rows_with_10_and_with_400_days_of_history(tmp_path: Path) -> None:
    read = {}
    for history in (10, 400):
        loaded = make_site(tmp_path / str(history), list(range(history)))
        bench = workbench(loaded)
        run.run_touched(bench, "test")
        bench.store.write(day_of_readings(history))
        read[history] = run.run_touched(bench, "test")
    assert read[10].readings_read == read[400].readings_read
    assert read[10].days[-1] - read[10].days[0] == read[400].days[-1] - read[400].days[0]


@pytest.mark.usefixtures("few_tables")
def test_a_run_without_new_readings_does_nothing(tmp_path: Path) -> None:
    bench = workbench(make_site(tmp_path / "site", [0, 1]))
    assert run.run_touched(bench, "test").days
    assert run.run_touched(bench, "test").days == []


def of_another_formula(marts: Path, *names: str, statements: Sequence[str] = ()) -> None:
    """Let a warehouse be one that another version made: these tables by another formula, and what `statements` change."""
    with duckdb.connect(str(marts)) as connection:
        for name in names:
            connection.execute("update state.version set version = 'of another formula' where name = ?", [name])
        for statement in statements:
            connection.execute(statement)


def computed(folder: Path, days: int) -> tuple[Workbench, dict[str, pl.DataFrame]]:
    """A site whose first days are computed, and its tables."""
    bench = workbench(make_site(folder, list(range(days))))
    run.run_touched(bench, "test")
    return bench, tables(bench.site.marts)


WITHOUT_COVERAGE = "alter table daily_usage drop column coverage"


@pytest.mark.usefixtures("few_tables")
def test_a_mart_that_got_other_columns_is_made_anew_with_all_its_history(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 5)
    changed = [WITHOUT_COVERAGE, "alter table customer add column once_known varchar"]
    of_another_formula(bench.site.marts, "daily_usage", "customer", statements=changed)
    bench.store.write(day_of_readings(5))
    run.run_touched(bench, "test")
    after = tables(bench.site.marts)
    assert after["daily_usage"].columns == before["daily_usage"].columns
    assert set(before["daily_usage"]["day"]) < set(after["daily_usage"]["day"])
    assert after["customer"].columns == before["customer"].columns


@pytest.mark.usefixtures("few_tables")
@pytest.mark.parametrize("case", ["a warehouse that came back without its files", "files of a version with other columns"])
def test_intervals_are_made_again_for(case: str, tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    if case.startswith("files"):
        for file in bench.site.units.glob("*/*/unit_interval.parquet"):
            pl.read_parquet(file, hive_partitioning=False).with_columns(once_known=pl.lit(1)).write_parquet(file)
        of_another_formula(bench.site.marts, "interval_reading")
    else:
        shutil.rmtree(bench.site.units)
    run.run_touched(bench, "test")
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_history_of_a_changed_mart_waits_when_the_run_that_found_it_makes_other_tables(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    of_another_formula(bench.site.marts, "daily_usage", statements=[WITHOUT_COVERAGE])
    with run.Run(bench, [], "makes nothing").opened():
        pass
    renewed = run.run_touched(bench, "test")
    assert (renewed.days, renewed.readings_read) == ([], 0), "no raw reading is needed for another formula of a mart"
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_another_formula_makes_all_days_of_its_mart_and_of_what_follows_anew_and_nothing_else(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    spoilt = [f"update {name} set volume_m3 = -1" for name in ("hourly_usage", "monthly_usage", "usage_comparison")]
    of_another_formula(bench.site.marts, "monthly_usage", statements=spoilt)
    run.run_touched(bench, "test")
    after = tables(bench.site.marts)
    assert after["hourly_usage"]["volume_m3"].unique().to_list() == [-1.0], "no other mart is touched"
    for name in ("monthly_usage", "usage_comparison", "daily_coefficient"):
        assert after[name].equals(before[name]), name


@pytest.mark.usefixtures("few_tables")
def test_a_run_killed_while_it_makes_another_formula_is_taken_up_by_the_next(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    of_another_formula(bench.site.marts, "interval_reading")

    def power_cut(made: str, step: int, of: int) -> None:
        if "daily_usage" in made:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run_touched(bench, "test", power_cut)
    assert run.run_touched(bench, "test").days
    assert run.run_touched(bench, "test").run_id == ""
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_a_broken_rule_stops_what_is_made_from_its_table_and_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = workbench(make_site(tmp_path / "site", [0]))
    rules = quality.rules
    broken = quality.Rule("never", "绝不", "No day is right.", "fail", "this is a test", (), "select meter from daily_usage")
    monkeypatch.setattr(quality, "rules", lambda table: (*rules(table), *([broken] if table == "daily_usage" else [])))
    with pytest.raises(run.RuleBroken, match="daily_usage: 绝不 never"):
        run.run_touched(bench, "test")
    made = tables(bench.site.marts)
    assert made["daily_usage"].height > 0
    assert "monthly_usage" not in made
    monkeypatch.undo()
    assert run.run_touched(bench, "test").days, "its days wait on"
    assert tables(bench.site.marts)["monthly_usage"].height > 0

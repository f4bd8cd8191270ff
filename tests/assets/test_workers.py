"""Workers: the same results whatever their number, and a clear error where one dies."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets import cleaned, units, warehouse
from assets.workers import WorkerEnded, results
from ingest_daemon.stores import StoreAway
from pipelines.runs import run
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import START, make_site
from tests.assets.work_of_workers import away_at_3, killed_at_3, square, threads

TABLES = (*units.Tables._fields, "latest_reading")


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_results_come_in_the_order_of_the_parts(workers: int) -> None:
    assert list(results(square, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]


def test_a_worker_computes_with_one_thread() -> None:
    assert list(results(threads, range(2), 2)) == [1, 1]


def test_a_worker_that_is_killed_is_told_with_what_to_do() -> None:
    with pytest.raises(WorkerEnded, match=r"worker process ended .* days stay waiting; .* fewer \[figures\] workers"):
        list(results(killed_at_3, range(6), 2))


def test_a_failure_within_a_worker_is_the_callers() -> None:
    with pytest.raises(StoreAway, match="the archive cannot be read"):
        list(results(away_at_3, range(6), 2))


def tables_of(path: Path) -> dict[str, pl.DataFrame]:
    with warehouse.opened(path, "UTC") as connection:
        return {name: warehouse.frame(connection, f"select * from {name}") for name in TABLES}


@pytest.mark.usefixtures("few_tables")
def test_tables_do_not_depend_on_workers_nor_on_how_days_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = workbench(make_site(tmp_path / "site", [number for number in range(30) if number not in (4, 5, 11)]))
    run.run_touched(bench, "test")
    before = tables_of(bench.site.marts)
    days = sorted(before["unit_day"]["day"].unique())
    for workers, size in ((1, 1), (2, 7)):
        monkeypatch.setattr(cleaned, "BLOCK_DAYS", size)
        monkeypatch.setattr(cleaned, "SHARED_METER_DAYS", 0)
        bench.site.marts.unlink()
        run.run_days(replace(bench, workers=workers), days, "test")
        for name, frame in tables_of(bench.site.marts).items():
            assert_frame_equal(frame, before[name])
    assert days[0] >= date.fromisoformat(f"{START:%Y-%m-%d}") - timedelta(days=1)

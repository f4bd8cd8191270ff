"""What a run makes while no server takes it is published by the next one, and never into another site's database."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from assets.workbench import Workbench
from ingest_daemon.contract.ownership import ForeignDatabase
from pipelines.runs import run
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import day_of_readings, make_site
from tests.chain import published, table

pytestmark = pytest.mark.usefixtures("few_tables")


@pytest.fixture
def empty(dsn: str) -> str:
    """A database that nobody has published to."""
    with psycopg.connect(dsn) as connection:
        connection.execute("drop schema if exists mart cascade")
    return dsn


def without_server(folder: Path, days: list[int]) -> Workbench:
    return replace(workbench(make_site(folder, days)), serving_dsn=lambda: None)


def served_by(bench: Workbench, dsn: str) -> Workbench:
    return replace(bench, serving_dsn=lambda: dsn)


def assert_served(bench: Workbench, dsn: str) -> None:
    for name in ("daily_usage", "hourly_usage", "unit_interval", "usage_comparison", "meter"):
        here = table(bench.site.marts, name)
        assert published(dsn, name).height == here.height, name


def test_days_that_were_made_without_a_server_are_published_when_it_is_back(tmp_path: Path, empty: str) -> None:
    bench = without_server(tmp_path / "site", [0])
    assert run.run_touched(served_by(bench, empty), "test").rows_published > 0
    bench.store.write(day_of_readings(1))
    assert run.run_touched(bench, "test").rows_published == 0
    bench.store.write(day_of_readings(2))
    run.run_touched(bench, "test")
    assert published(empty, "daily_usage").height < table(bench.site.marts, "daily_usage").height
    later = run.run_touched(served_by(bench, empty), "test")
    assert later.readings_read == 0, "the figures are there; only what waits is published"
    assert_served(bench, empty)
    assert run.run_touched(served_by(bench, empty), "test").run_id == "", "nothing waits any more"


def test_a_server_that_is_expected_and_away_fails_the_run_and_its_days_wait(tmp_path: Path, empty: str) -> None:
    bench = without_server(tmp_path / "site", [0])
    with pytest.raises(psycopg.Error):
        run.run_touched(served_by(bench, "host=127.0.0.1 port=1 connect_timeout=1"), "test")
    assert run.run_touched(served_by(bench, empty), "test").days
    assert_served(bench, empty)


def test_a_site_does_not_publish_into_the_database_of_another(tmp_path: Path, empty: str) -> None:
    first, second = (without_server(tmp_path / name, [0, number]) for number, name in enumerate(("first", "second"), start=1))
    run.run_touched(served_by(first, empty), "test")
    with pytest.raises(ForeignDatabase, match=r"belongs to another site .* delete from ops.site"):
        run.run_touched(served_by(second, empty), "test")
    assert_served(first, empty)
    with psycopg.connect(empty) as connection:
        connection.execute("delete from ops.site")
    assert run.run_touched(served_by(second, empty), "test").days, "its days waited"

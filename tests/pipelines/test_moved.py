"""A site that is moved stays itself; a copy beside it gets its own number and never publishes into the other's database."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest

from ingest_daemon.contract import ownership
from ingest_daemon.contract.ownership import ForeignDatabase
from pipelines import settings
from pipelines.processes.postgres import address_file, embedded, running_dsn
from pipelines.runs import run
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import computed, day_of_readings
from tests.chain import published, table

pytestmark = pytest.mark.usefixtures("few_tables")


def test_a_moved_site_goes_on_with_its_number_and_its_database(tmp_path: Path) -> None:
    bench, _ = computed(tmp_path / "site", 2)
    with embedded(bench.site, 0):
        run.run_touched(bench, "test")
    own = ownership.site_id(bench.site)
    moved = workbench(settings.load((tmp_path / "site").rename(tmp_path / '另一处 it\'s "here"')))
    assert ownership.site_id(moved.site) == own
    moved.store.write(day_of_readings(2))
    with embedded(moved.site, 0) as dsn:
        run.run_touched(moved, "test")
        assert published(dsn, "daily_usage").height == table(moved.site.marts, "daily_usage").height == 3


def test_a_copy_made_while_the_site_runs_publishes_into_a_database_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench, _ = computed(tmp_path / "site", 2)
    with embedded(bench.site, 0) as dsn:
        run.run_touched(bench, "test")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create table ops.mine (x int)")
        shutil.copytree(bench.site.root, tmp_path / "copy")
        copy = workbench(settings.load(tmp_path / "copy"))
        assert json.loads(address_file(copy.site).read_text())["dsn"] == dsn, "the copy has the address of the original's server"
        assert running_dsn(copy.site) is None
        assert f"is a copy of {bench.site.root}" in caplog.text
        copy.store.write(day_of_readings(2))
        with embedded(copy.site, 0) as other:
            run.run_touched(copy, "test")
            assert published(other, "daily_usage").height == 3
        assert published(dsn, "daily_usage").height == 2
        assert ownership.site_id(copy.site) != ownership.site_id(bench.site)


def test_a_copy_does_not_publish_to_the_server_of_the_site_that_it_was_copied_from(tmp_path: Path, dsn: str) -> None:
    bench, _ = computed(tmp_path / "site", 1)
    with psycopg.connect(dsn) as connection:
        ownership.claim(connection, ownership.site_id(bench.site))
    shutil.copytree(bench.site.root, tmp_path / "copy")
    copy = settings.load(tmp_path / "copy").folder
    with psycopg.connect(dsn) as connection:
        ownership.check(connection, ownership.site_id(bench.site))
        with pytest.raises(ForeignDatabase, match=r"belongs to another site .* delete from ops.site"):
            ownership.check(connection, ownership.site_id(copy))
    shutil.rmtree(copy.root)
    shutil.copytree(bench.site.root, copy.root)
    shutil.rmtree(bench.site.root)
    with psycopg.connect(dsn) as connection:
        ownership.check(connection, ownership.site_id(copy))

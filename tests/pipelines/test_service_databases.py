"""Dagster's home lost or damaged: it is made anew with a word, what was there is kept beside, and no figure hangs on it."""

import logging
import shutil
from pathlib import Path

import dagster as dg
import pytest

from ingest_daemon.contract.site import Site
from pipelines.processes import dagster_home, databases


@dg.job
def nothing() -> None:
    return None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run."""
    site = Site(tmp_path_factory.mktemp("site"))
    dagster_home.prepare(site)
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        nothing.execute_in_process(instance=instance)
    return site.dagster


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "flipped":
        for place in range(4100, len(content), 499):
            content[place] ^= 0xFF
    cases = {"empty": b"", "cut": content[: len(content) // 2], "other": b"x" * 9000}
    file.write_bytes(cases.get(how, content))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("history/runs.db", "empty"),
        ("history/runs.db", "cut"),
        ("history/runs/index.db", "flipped"),
        ("schedules/schedules.db", "other"),
    ],
)
def test_a_damaged_home_is_kept_beside_and_a_new_one_works(
    name: str, how: str, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    shutil.copytree(home, site.dagster)
    damage(site.dagster / name, how)
    with caplog.at_level(logging.WARNING, "mainflow"):
        dagster_home.prepare(site)
    (kept,) = tmp_path.glob("dagster.2*")
    assert str(kept) in caplog.text
    assert (kept / name).exists()
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        assert instance.get_runs() == []
        assert nothing.execute_in_process(instance=instance).success


def test_a_lost_home_is_made_and_the_damaged_events_of_one_run_cost_no_other(home: Path, tmp_path: Path) -> None:
    site = Site(tmp_path)
    dagster_home.prepare(site)
    shutil.rmtree(site.dagster)
    shutil.copytree(home, site.dagster)
    (run,) = (file for file in (site.dagster / "history" / "runs").glob("*.db") if file.name != "index.db")
    damage(run, "cut")
    assert databases.is_damaged(run)
    dagster_home.prepare(site)
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        (kept,) = instance.get_runs()
        assert instance.all_logs(kept.run_id) == []
        instance.delete_run(kept.run_id)


def test_a_home_that_is_well_or_held_is_left_as_it_is(home: Path, tmp_path: Path) -> None:
    site = Site(tmp_path)
    shutil.copytree(home, site.dagster)
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        nothing.execute_in_process(instance=instance)
        dagster_home.prepare(site)
        assert len(instance.get_runs()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["dagster"]

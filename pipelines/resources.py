"""Resources of Dagster's runs: their site and the current run. Nothing here computes."""

import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import dagster as dg

from assets.calendar import days_between
from assets.graph import RUN
from ingest_daemon.contract.settings import SettingError, Settings
from pipelines.bench import workbench
from pipelines.run import Run, run_lock
from pipelines.settings import load

SITE = "MAINFLOW_SITE"
"""Environment variable with the site folder of Dagster's processes."""

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
"""Dagster's own tags for the partitions of a run."""

EVERY_BILL = "mainflow/every_bill"
"""Tag of a run that compares every bill, not only those that a day of the run touches."""


def site_settings() -> Settings:
    """The settings of the site. Raises `SettingError` naming the variable to set."""
    if SITE not in os.environ:
        raise SettingError(f"no site: set the environment variable {SITE} to a site folder (make one with: mainflow init DIR)")
    return load(Path(os.environ[SITE]))


def days_of(tags: Mapping[str, str]) -> list[date]:
    """The local days of a Dagster run: its range of partitions, its one partition, or none."""
    if RANGE_START in tags:
        return days_between(date.fromisoformat(tags[RANGE_START]), date.fromisoformat(tags[RANGE_END]))
    return [date.fromisoformat(tags[PARTITION])] if PARTITION in tags else []


@dg.resource(description="运行 · The site, its locks and the run in the making; a second run waits for the first.")
def run(context: dg.InitResourceContext) -> Iterator[Run]:
    """One `Run` for all steps of a Dagster run; the run lock is held meanwhile."""
    dagster_run = context.run
    assert dagster_run is not None, "a run in the making belongs to a Dagster run"
    bench = workbench(site_settings())
    with run_lock(bench):
        yield Run(
            bench, days_of(dagster_run.tags), "dagster", run_id=dagster_run.run_id, every_bill=EVERY_BILL in dagster_run.tags
        )


RESOURCES = {RUN: run}

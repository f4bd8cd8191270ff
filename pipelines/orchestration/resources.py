"""Resources of Dagster's runs: their site and the current run. Nothing here computes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import date
from functools import cached_property
from pathlib import Path

import dagster as dg
import duckdb

from assets.calendar import days_between
from assets.graph import WORK
from ingest_daemon.contract.settings import SettingError, Settings
from pipelines.runs.bench import workbench
from pipelines.runs.run import Run, run_lock
from pipelines.settings import load

SITE = "MAINFLOW_SITE"
"""Environment variable with the site folder of Dagster's processes."""

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
"""Dagster's own tags for the partitions of a run."""


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


class OpenRun:
    """The run of a Dagster run; its warehouse is opened by the first asset and stays open for the others."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        """`stack` closes the warehouse."""
        self.run = run
        self._stack = stack

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The warehouse with the run's temporary tables. Raises as `Run.opened`."""
        return self._stack.enter_context(self.run.opened())


@dg.resource(description="运行 · The site, its locks and the current run; a second run waits for the first.")
def work(context: dg.InitResourceContext) -> Iterator[OpenRun]:
    """One `Run` for all steps of a Dagster run; the run lock is held meanwhile."""
    dagster_run = context.run
    assert dagster_run is not None, "a current run belongs to a Dagster run"
    bench = workbench(site_settings())
    with run_lock(bench), ExitStack() as stack:
        yield OpenRun(Run(bench, days_of(dagster_run.tags), "dagster", run_id=dagster_run.run_id), stack)


RESOURCES = {WORK: work}

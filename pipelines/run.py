"""One run: the touched days, and all that follows from them, computed step by step, published and written to the ledger.

`mainflow run` and the Dagster assets both go through here; the steps themselves are `assets.tables`.
"""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import NamedTuple

import duckdb
import polars as pl

from assets import publication, tables, warehouse
from assets.marts import Partitions
from assets.workbench import Workbench
from pipelines import touched

Progress = Callable[[str, int, int], None]
"""Told after each step: what was made, how many steps are done, of how many."""


class Outcome(NamedTuple):
    """What a run did."""

    days: list[date]
    readings_read: int
    rows_written: int
    rows_published: int
    run_id: str


def run_lock(bench: Workbench) -> AbstractContextManager[None]:
    """The lock that makes a second run wait for the first."""
    return warehouse.exclusive(bench.site.state / "run.lock")


def run_touched(bench: Workbench, trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute every day that waits. Does nothing where none does. Raises `StoreAway`, `RegistryError`, `WarehouseBusy`."""
    with run_lock(bench):
        waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
        if not waiting.days:
            return Outcome([], 0, 0, 0, "")
        outcome = _compute(bench, waiting.days, trigger, progress)
        touched.done(bench.site.state, waiting.days, waiting.generation)
        return outcome


def run_days(bench: Workbench, days: list[date], trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute these days, touched or not. Raises as `run_touched`."""
    with run_lock(bench):
        return _compute(bench, days, trigger, progress)


def _compute(bench: Workbench, days: list[date], trigger: str, progress: Progress) -> Outcome:
    started = datetime.now(UTC)
    run_id = uuid.uuid4().hex[:12]
    steps = tables.steps()
    dsn = bench.serving_dsn()
    with warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        partitions = Partitions(tuple(days), bench.zone)
        tables.prepare(connection, partitions, every_bill=False)
        read = written = 0
        for index, step in enumerate(steps, start=1):
            made = step.build(bench, connection, partitions)
            read, written = read + made.readings_read, written + made.rows_written
            progress(step.zh + " " + step.name, index, len(steps) + 1)
        record(connection, run_id, trigger, started, days, read, written)
        published = publication.publish(connection, dsn, partitions) if dsn else 0
        progress("发布 publish", len(steps) + 1, len(steps) + 1)
    return Outcome(days, read, written, published, run_id)


def record(connection: duckdb.DuckDBPyConnection, run_id: str, trigger: str, started: datetime, days: list[date], read: int, written: int) -> None:
    """Add the run to `run_ledger`."""
    instant = pl.Datetime("us", "UTC")
    row = pl.DataFrame(
        [(run_id, trigger, started, datetime.now(UTC), min(days), max(days), len(days), read, written)],
        schema={
            "run_id": pl.String,
            "trigger": pl.String,
            "started_at": instant,
            "finished_at": instant,
            "first_day": pl.Date,
            "last_day": pl.Date,
            "days": pl.Int64,
            "readings_read": pl.Int64,
            "rows_written": pl.Int64,
        },
        orient="row",
    )
    warehouse.append(connection, "run_ledger", row)

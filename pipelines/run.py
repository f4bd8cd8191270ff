"""One run: the touched days and everything derived from them, computed step by step, published and written to the ledger.

`mainflow run` and the Dagster assets both go through here; the steps themselves are `assets.tables`.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime
from typing import NamedTuple

import duckdb
import polars as pl

from assets import marts, publication, tables, warehouse
from assets.marts import Partitions
from assets.tables import Made, Step
from assets.workbench import Workbench
from ingest_daemon.contract.log import LOG
from ingest_daemon.operations import CommandSettings
from pipelines import touched
from pipelines.gap_recall import recall
from pipelines.settings import load

Progress = Callable[[str, int, int], None]
"""Called after each step with its result, the number of finished steps and the number of all."""


class Outcome(NamedTuple):
    """The result of a run."""

    days: list[date]
    readings_read: int
    rows_written: int
    rows_published: int
    run_id: str


def run_lock(bench: Workbench) -> AbstractContextManager[None]:
    """The lock that makes a second run wait for the first."""
    return warehouse.exclusive(bench.site.state / "run.lock")


class Run:
    """The current run: opens the warehouse prepared for its days, makes steps, publishes, and closes its days.

    The caller holds `run_lock`. A reading that comes while the run works leaves its day waiting; a run that made only some of the
    tables leaves all its days waiting.
    """

    def __init__(self, bench: Workbench, days: list[date], trigger: str, *, run_id: str = "", every_bill: bool = False) -> None:
        """`days`: days to compute. `every_bill`: compare every bill, not only those whose period includes one of the days."""
        self.bench = bench
        self.days = days
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self.every_bill = every_bill
        self.readings_read = self.rows_written = 0
        self._trigger = trigger
        self._started = datetime.now(UTC)
        self._made: set[str] = set()
        self._generation = 0

    @property
    def partitions(self) -> Partitions:
        """The partitions that follow from the days."""
        return Partitions(tuple(self.days), self.bench.zone)

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse with the run's temporary tables; where a mart has changed, of every day. Raises `WarehouseBusy`."""
        with warehouse.opened(self.bench.site.marts, str(self.bench.zone)) as connection:
            tables.prepare(connection, self.partitions, every_bill=self.every_bill)
            if renewed := marts.changed(connection):
                # A new version gives a mart other columns: its whole history is made anew, not only what was touched. The days
                # wait before the old table goes, so that neither a kill nor a run that makes other tables loses them.
                stored_days = [day for (day,) in connection.execute("select distinct day from interval_reading").fetchall()]
                touched.mark(self.bench.site.state, stored_days)
                for name in renewed:
                    connection.execute(f"drop table {name}").fetchall()
                self.days = sorted({*self.days, *stored_days})
                tables.prepare(connection, self.partitions, every_bill=self.every_bill)
            yield connection

    def make(self, connection: duckdb.DuckDBPyConnection, step: Step) -> Made:
        """Make the step's partitions. Raises `StoreAway`, `RegistryError`."""
        if not self._made:
            # Taken before the first reading is read: later readings belong to a later generation.
            bench = self.bench
            self._generation = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole).generation
        made = step.build(self.bench, connection, self.partitions)
        self._made.add(step.name)
        self.readings_read += made.readings_read
        self.rows_written += made.rows_written
        return made

    def publish(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Note the run in the ledger, publish it, close its days. Returns the published rows. Raises `psycopg.Error`."""
        if self.days:
            record(connection, self.run_id, self._trigger, self._started, self.days, self.readings_read, self.rows_written)
        dsn = self.bench.serving_dsn()
        published = publication.publish(connection, dsn, self.partitions) if dsn else 0
        if self._made.issuperset(step.name for step in tables.steps()):
            touched.done(self.bench.site.state, self.days, self._generation)
            self._recall(connection)
        return published

    def _recall(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Request the current holes from terminals; a failure does not fail the run."""
        try:
            settings = load(self.bench.site.root)
            if settings[CommandSettings].recall:
                LOG.info("holes: %s", recall(settings, connection, datetime.now(UTC)))
        except (OSError, ValueError) as error:
            LOG.warning("the holes in the data are not asked for: %s", error)


def run_touched(bench: Workbench, trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute every waiting day; an empty outcome where there is none. Raises `StoreAway`, `RegistryError`, `WarehouseBusy`."""
    with run_lock(bench):
        waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
        if not waiting.days:
            return Outcome([], 0, 0, 0, "")
        return _compute(Run(bench, waiting.days, trigger), progress)


def run_days(bench: Workbench, days: list[date], trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute these days, touched or not, and take them from the waiting ones. Raises as `run_touched`."""
    with run_lock(bench):
        return _compute(Run(bench, days, trigger), progress)


def _compute(run: Run, progress: Progress) -> Outcome:
    steps = tables.steps()
    with run.opened() as connection:
        for index, step in enumerate(steps, start=1):
            run.make(connection, step)
            progress(step.zh + " " + step.name, index, len(steps) + 1)
        published = run.publish(connection)
        progress("发布 publish", len(steps) + 1, len(steps) + 1)
    return Outcome(run.days, run.readings_read, run.rows_written, published, run.run_id)


def record(
    connection: duckdb.DuckDBPyConnection, run_id: str, trigger: str, started: datetime, days: list[date], read: int, written: int
) -> None:
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

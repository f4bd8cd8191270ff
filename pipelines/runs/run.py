"""One run: the touched days and everything derived from them, computed step by step, published and written to the ledger.

`mainflow run` and the Dagster assets both go through here; the steps themselves are `assets.tables`.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import psycopg

from assets import (
    alarm_engine,
    billing,
    changed_days,
    columns,
    marts,
    outbox,
    publication,
    quality,
    registry_history,
    rules,
    serving,
    tables,
    warehouse,
)
from assets.partitions import Partitions
from assets.quality import Finding
from assets.tables import Made, Making, Step
from assets.workbench import Workbench
from ingest_daemon.contract import ownership
from ingest_daemon.contract.alarm_ledger import Changes
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.schema import TIMESTAMP
from ingest_daemon.operations import CommandSettings
from pipelines.processes import dagster_home
from pipelines.runs import touched
from pipelines.runs.gap_recall import recall
from pipelines.settings import load

Progress = Callable[[str, int, int], None]
"""Called after each step with its result, the number of finished steps and the number of all."""


class Outcome(NamedTuple):
    """The result of a run. `parts`: what a step did in parts: rows of each table of billing."""

    days: list[date]
    readings_read: int
    rows_written: int
    rows_published: int
    run_id: str
    parts: dict[str, int]


def run_lock(bench: Workbench) -> AbstractContextManager[None]:
    """The lock that makes a second run wait for the first."""
    return warehouse.exclusive(bench.site.state / "run.lock")


class Run:
    """The current run: opens the warehouse once, makes steps in their order, checks and publishes them, and closes its days.

    The caller holds `run_lock`. A reading that comes while the run works leaves its day waiting. Days wait for the live figures
    and for the analysis apart: a run closes those of which it made every table.
    """

    def __init__(self, bench: Workbench, days: list[date], trigger: str, *, run_id: str = "") -> None:
        """`days`: days to compute."""
        self.bench = bench
        self.days = days
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self.readings_read = self.rows_written = 0
        self.parts: dict[str, int] = {}
        self._trigger = trigger
        self._started = datetime.now(UTC)
        self._made: set[str] = set()
        self._renewed: set[str] = set()
        self._outdated: set[str] = set()
        self._stored_days: list[date] = []
        self._prepared: Partitions | None = None
        self._generation = 0

    @property
    def partitions(self) -> Partitions:
        """The partitions that follow from the days."""
        return Partitions(tuple(self.days), self.bench.zone)

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse, prepared for the run's steps. Raises `WarehouseBusy`, `StoreAway`, `RegistryError`."""
        bench = self.bench
        with warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
            touched.take_over_registry(bench, connection)
            prepare_selects(bench, connection)
            self._versions = rules.Versions(connection)
            self._outdated = tables.outdated(connection, self._versions, bench.unit_files)
            if self._outdated:
                stored = "select day from unit_day" + (
                    " union select day from daily_usage" if warehouse.has_table(connection, "daily_usage") else ""
                )
                days = [day for (day,) in connection.execute(f"select distinct day from ({stored})").fetchall()]
                # With the neighbours: in another zone the first and the last reading may belong to them.
                self._stored_days = sorted({day + timedelta(days=near) for day in days for near in (-1, 0, 1)})
                if "interval_reading" in self._outdated:
                    # Other columns of the unit tables make them empty first; a kill must not lose which days there were.
                    touched.mark(bench.site.state, self._stored_days)
            yield connection

    def absent(self, connection: duckdb.DuckDBPyConnection, step: Step) -> list[str]:
        """The tables that the step and its checks need and that neither this run nor one before it has made."""
        return tables.absent(connection, step, self._made)

    def make(self, connection: duckdb.DuckDBPyConnection, step: Step) -> Made:
        """Make the step's partitions: those of the run's days, or all where rows by another formula are there.

        Raises `StoreAway`, `RegistryError`, `BillingError`.
        """
        is_renewed = step.name in self._outdated and step.name not in tables.made_from(self._outdated - {step.name})
        partitions = self._all_partitions() if is_renewed else self.partitions
        if "raw_reading" in step.deps and not self._generation:
            # Taken before the first reading is read by the first step that does: later readings belong to a later generation.
            bench = self.bench
            self._generation = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole).generation
        self._prepare(connection, partitions)
        made = step.build(Making(self.bench, connection, partitions, is_renewed))
        if step.name in ("billing", "gap_ledger") or step.name in changed_days.MEMBERSHIPS:
            self._prepared = None  # the bills, gaps and days that it changed are touched now
        if is_renewed:
            tables.note_version(connection, step, self._versions)
            self._outdated.discard(step.name)
            self._renewed.add(step.name)
        self._made.add(step.name)
        self.readings_read += made.readings_read
        self.rows_written += made.rows_written
        self.parts |= made.parts
        return made

    def examine(self, connection: duckdb.DuckDBPyConnection, step: Step) -> list[Finding]:
        """The rules of the step's table, on the partitions that were made last."""
        return quality.examine(connection, step.name)

    def publish(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Note the run in the ledger, publish what was made, close its days. Gives the published rows. Raises `psycopg.Error`.

        Where the site's own server does not run, what was made waits for the next publication.
        A table that kept its old columns is copied whole as soon as it can be: no day waits for it, but the run fails.
        """
        if self.days:
            record(connection, self.run_id, self._trigger, self._started, self.days, self.readings_read, self.rows_written)
        serving.create_in_warehouse(connection, str(self.bench.zone))
        dsn = self.bench.serving_dsn()
        if dsn is None:
            outbox.note(connection, self._made, self._renewed | self._settle(connection), self.days)
            self._prepare(connection, self.partitions)
            self._close_days(connection)
            return 0
        held = outbox.waiting(connection)
        partitions = Partitions(tuple(sorted({*self.days, *held.days})), self.bench.zone)
        self._prepare(connection, partitions)
        published, hindered = 0, None
        try:
            published = publication.publish(
                connection,
                dsn,
                partitions,
                made=self._made | held.made,
                renewed=self._renewed | held.renewed,
                interval_days=self.bench.interval_days,
                partitioned=self.bench.partitioned,
                comments=columns.comments(),
                site_id=ownership.site_id(self.bench.site),
            )
        except publication.Hindered as error:
            hindered = error
        with psycopg.connect(dsn, autocommit=True) as target:
            changes = alarm_engine.settle(connection, target, self._made | held.made, datetime.now(UTC), self.bench.zone)
        if changes != Changes():
            LOG.info("报警 / alarms: %s", ", ".join(f"{name} {count}" for name, count in changes._asdict().items() if count))
        outbox.clear(connection)
        self._settle(connection)
        if self._made.issuperset(step.name for step in tables.synced()):
            billing.forget_changes(connection)
        if "gap" in self._made:
            connection.execute("delete from gap_changed").fetchall()
        self._close_days(connection)
        if hindered:
            raise hindered
        return published

    def _settle(self, connection: duckdb.DuckDBPyConnection) -> set[str]:
        """Forget the days of changed master data once all that follows is made; gives the tables made beyond the run's days."""
        followers = {mart.name for mart in marts.all_marts() if mart.partitioning.touched in changed_days.TOUCHED}
        if not followers <= self._made or not changed_days.are_noted(connection):
            return set()
        changed_days.forget(connection)
        return followers

    def _close_days(self, connection: duckdb.DuckDBPyConnection) -> None:
        analysis = {step.name for step in tables.analysis()}
        live = {step.name for step in tables.figures()} - analysis
        days = sorted({*self.days, *(self._stored_days if "interval_reading" in self._renewed else ())})
        if live <= self._made:
            touched.done_live(self.bench.site.state, days, self._generation)
            self._recall(connection)
        if analysis <= self._made:
            touched.done_analysis(self.bench.site.state, days)

    def _all_partitions(self) -> Partitions:
        return Partitions(tuple(sorted({*self.days, *self._stored_days})), self.bench.zone, everything=True)

    def _prepare(self, connection: duckdb.DuckDBPyConnection, partitions: Partitions) -> None:
        if self._prepared != partitions:
            partitions.prepare(connection)
            self._prepared = partitions

    def _recall(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Request the current holes from terminals; a failure does not fail the run."""
        try:
            settings = load(self.bench.site.root)
            if settings[CommandSettings].recall:
                LOG.info("holes: %s", recall(settings, connection, datetime.now(UTC)))
        except (OSError, ValueError) as error:
            LOG.warning("the holes in the data are not asked for: %s", error)


def take_over_registry(bench: Workbench) -> None:
    """Let the days wait that an edit of the registry concerns, where there is one. The caller holds `run_lock`.

    Raises `StoreAway`, `RegistryError`, `WarehouseBusy`.
    """
    if registry_history.is_edited(bench.site.registry, bench.site.registry_history):
        with warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
            touched.take_over_registry(bench, connection)


def run_touched(bench: Workbench, trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute every waiting day, and what a new version makes otherwise; an empty outcome where there is nothing to do.

    Raises `StoreAway`, `RegistryError`, `WarehouseBusy`, `RuleBroken`.
    """
    with run_lock(bench):
        days = _waiting_days(bench)
        if not days and not _is_left(bench):
            return Outcome([], 0, 0, 0, "", {})
        return _compute(Run(bench, days, trigger), tables.figures(), progress)


def run_days(bench: Workbench, days: list[date], trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Compute these days, touched or not, and take them from the waiting ones. Raises as `run_touched`."""
    with run_lock(bench):
        return _compute(Run(bench, days, trigger), tables.figures(), progress)


def run_all(bench: Workbench, trigger: str, progress: Progress = lambda *_: None) -> Outcome:
    """Read the billing system and compute every waiting day at once. Raises as `run_touched` and `run_sync`."""
    with run_lock(bench):
        steps = [step for step in tables.steps() if step.group != "reports"]
        return _compute(Run(bench, _waiting_days(bench), trigger), steps, progress)


def _waiting_days(bench: Workbench) -> list[date]:
    """The days that wait, for live figures or for the analysis, those of an edited registry among them."""
    take_over_registry(bench)
    waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    return sorted({*waiting.live, *waiting.analysis})


def rebuild(bench: Workbench, progress: Progress = lambda *_: None) -> Outcome:
    """Set the warehouse aside and make it again from the raw readings and the billing system; what is published stays till then.

    Raises as `run_touched` and `run_sync`.
    """
    with run_lock(bench):
        aside = f"{bench.site.marts}.{datetime.now(UTC):%Y%m%dT%H%M%S}"
        for end in ("", ".wal"):
            with suppress(FileNotFoundError):
                Path(f"{bench.site.marts}{end}").rename(f"{aside}{end}")
        shutil.rmtree(bench.site.units, ignore_errors=True)
        touched.begin_again(bench.site.state)
    return run_all(bench, "rebuild", progress)


def run_sync(bench: Workbench, trigger: str) -> dict[str, int]:
    """Read the billing system and make what is made from it. Gives the rows of each of its tables in the warehouse.

    Empty without a billing system in the settings. Raises `BillingError`, whose text hides the password, and as `run_touched`.
    """
    if not bench.billing:
        return {}
    with run_lock(bench):
        run = Run(bench, [], trigger)
        _compute(run, tables.synced(), lambda *_: None)
        return run.parts


def prepare_selects(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """What the selects need of a connection, by the rules of the site as they are now."""
    rules.lay(connection, registry_history.held(bench.site.registry_history, rules.REPLACED_BY))
    tables.prepare(connection, bench.unit_files)


def _is_left(bench: Workbench) -> bool:
    """Whether there are figures by another formula than the present one, or such as a server can take now and did not get."""
    if not bench.site.marts.exists():
        return False
    with warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        prepare_selects(bench, connection)
        if warehouse.has_table(connection, "daily_usage") and tables.outdated(
            connection, rules.Versions(connection), bench.unit_files
        ):
            return True
        return outbox.waiting(connection) != outbox.NOTHING and bench.serving_dsn() is not None


class RuleBroken(RuntimeError):
    """A figure contradicts itself: what is made from it was not made, and nothing was published."""


def _compute(run: Run, steps: list[Step], progress: Progress) -> Outcome:
    """Make, check and publish. What is made from a table that breaks a rule is not made. Raises `RuleBroken`."""
    broken: dict[str, str] = {}
    made: list[tuple[Step, Made]] = []
    with run.opened() as connection:
        for index, step in enumerate(steps, start=1):
            blocked_by = tables.needed_by(step).intersection(broken)
            if blocked_by:
                broken[step.name] = f"not made, because of {', '.join(sorted(blocked_by))}"
            elif not run.absent(connection, step):
                made.append((step, run.make(connection, step)))
                findings = [finding for finding in run.examine(connection, step) if finding.offending]
                for finding in findings:
                    LOG.warning("%s: %s", step.name, finding.text)
                if fails := [finding.text for finding in findings if finding.rule.severity == "fail"]:
                    broken[step.name] = "; ".join(fails)
            progress(step.zh + " " + step.name, index, len(steps) + 1)
        if broken:
            raise RuleBroken("\n".join(f"{name}: {reason}" for name, reason in broken.items()))
        published = run.publish(connection)
        progress("发布 publish", len(steps) + 1, len(steps) + 1)
        show_in_catalogue(run, connection, made, published)
    return Outcome(run.days, run.readings_read, run.rows_written, published, run.run_id, run.parts)


def show_in_catalogue(run: Run, connection: duckdb.DuckDBPyConnection, made: list[tuple[Step, Made]], published: int) -> None:
    """Show in Dagster's catalogue, where the site has one, what was made without Dagster. A failure does not fail the run."""
    site = run.bench.site
    if dagster_home.settings_file(site).exists():
        from pipelines.runs import catalogue

        try:
            catalogue.report(site, connection, made, run.days, published)
        except Exception as error:  # its storage may be locked, of another version, or gone
            LOG.warning("Dagster's catalogue does not show this run: %s: %s", type(error).__name__, error)


def record(
    connection: duckdb.DuckDBPyConnection, run_id: str, trigger: str, started: datetime, days: list[date], read: int, written: int
) -> None:
    """Add the run to `run_ledger`."""
    row = pl.DataFrame(
        [(run_id, trigger, started, datetime.now(UTC), min(days), max(days), len(days), read, written)],
        schema={
            "run_id": pl.String,
            "trigger": pl.String,
            "started_at": TIMESTAMP,
            "finished_at": TIMESTAMP,
            "first_day": pl.Date,
            "last_day": pl.Date,
            "days": pl.Int64,
            "readings_read": pl.Int64,
            "rows_written": pl.Int64,
        },
        orient="row",
    )
    warehouse.append(connection, "run_ledger", row)

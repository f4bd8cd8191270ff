"""Dagster's asset graph, generated from `assets.tables.steps()`: the same steps as `mainflow run`, made visible and runnable.

A new mart appears here by itself. Besides the steps there are the raw readings (made by the daemon, not by us), the sync with
billing, publication and the scheduled report. No formula is here, and no order of work but the dependencies.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import psycopg

from assets import billing, calendar, quality, reports, warehouse
from assets.marts import SQL
from assets.registry import RegistryError
from assets.tables import Made, Step, steps
from assets.warehouse import WarehouseBusy
from assets.workbench import Workbench
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.stores import StoreAway

FIRST_DAY = "2000-01-01"
"""The first partition: a meter whose clock was never set reports 2000, and no utility's telemetry is older."""

DAYS_AHEAD = 2
"""Partitions up to tomorrow exist: today's figures are made all day, and late in the evening a reading reaches into the next."""

ONE_RUN = dg.BackfillPolicy.single_run()
"""A range of days is one run, however long."""

RUN = "run"
"""The resource that every asset needs: a `Work`."""

RULES, CONTRACT = "rules", "delivered_contract"
"""The checks of an asset: the rules of its SQL files, and the contract of what was delivered."""

EXPECTED = (StoreAway, RegistryError, WarehouseBusy, billing.BillingError, psycopg.Error)
"""Failures of the world around us, which tell a person what to mend; anything else is a mistake of ours and shows its trace."""

SQL_KINDS = {"duckdb", "sql"}
KINDS = {"registry": {"csv", "polars"}, "interval_reading": {"polars"}, "register_month": {"polars"}}


if TYPE_CHECKING:
    Result = dg.MaterializeResult[None]
else:
    # Dagster reads the annotation, and refuses the parameter where an asset has checks.
    Result = dg.MaterializeResult


class Work(Protocol):
    """What an asset needs of the run in which it is made; `pipelines.run.Run` is one."""

    bench: Workbench
    days: list[date]
    run_id: str

    def opened(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """The warehouse with the run's temporary tables."""
        ...

    def make(self, connection: duckdb.DuckDBPyConnection, step: Step) -> Made:
        """Make the step's partitions of the run's days."""
        ...

    def publish(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Publish the run's partitions and write it to the ledger; gives the rows published."""
        ...


class ReportDays(dg.Config):
    """The days of a report, YYYY-MM-DD; empty: the month up to the newest day that has figures."""

    first_day: str = ""
    last_day: str = ""


def partitions(zone: ZoneInfo) -> dg.DailyPartitionsDefinition:
    """The local days of the utility."""
    return dg.DailyPartitionsDefinition(FIRST_DAY, timezone=str(zone), end_offset=DAYS_AHEAD)


def assets(zone: ZoneInfo) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset, its days cut in `zone`."""
    days = partitions(zone)
    return [RAW_READING, billing_sync, *(_figure(step, days) for step in steps()), _published(days), daily_volume_report]


RAW_READING = dg.AssetSpec(
    "raw_reading",
    group_name="raw",
    kinds={"parquet", "influxdb"},
    description="原始读数 · Readings as the terminals sent them, one a (terminal, time); the socket daemon writes them.",
)


def _figure(step: Step, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    deps = sorted({*step.deps, *(dep for rule in quality.rules(step.name) for dep in rule.deps)} - {step.name})
    checks = []
    if quality.rules(step.name):
        checks.append(dg.AssetCheckSpec(RULES, asset=step.name, blocking=True, description=_rules_text(step.name)))
    if step.name == "interval_reading":
        text = "送达契约 · Great Expectations on the raw readings of the last finished day of the run; warns, never blocks."
        checks.append(dg.AssetCheckSpec(CONTRACT, asset=step.name, description=text))

    @dg.asset(
        name=step.name,
        group_name=step.group,
        description=f"{step.zh} · {step.description}",
        deps=["billing_sync" if dep == "billing" else dep for dep in deps],
        kinds=KINDS.get(step.name, SQL_KINDS),
        required_resource_keys={RUN},
        check_specs=checks,
        partitions_def=days if step.daily else None,
        backfill_policy=ONE_RUN if step.daily else None,
    )
    def figure(context: dg.AssetExecutionContext) -> Result:
        run: Work = context.resources.run
        with _told(run.bench), run.opened() as connection:
            absent = _absent(connection, step)
            if absent:
                # A first sync with billing comes before the first figures: there is nothing to compare with yet.
                passed = [dg.AssetCheckResult(check_name=check.name, passed=True, description="nothing made") for check in checks]
                return dg.MaterializeResult(metadata={"waits_for": absent}, check_results=passed)
            made = run.make(connection, step)
            results = [quality.result(RULES, quality.examine(connection, step.name))] if quality.rules(step.name) else []
            if step.name == "interval_reading":
                results.append(_contract(run, connection))
        return dg.MaterializeResult(metadata=_metadata(run, step, made), check_results=results)

    return figure


def _absent(connection: duckdb.DuckDBPyConnection, step: Step) -> str:
    """Tables that the step is made from and that are not there yet."""
    tables = {other.name for other in steps()} - {"registry"}
    return ", ".join(dep for dep in step.deps if dep in tables and not warehouse.has_table(connection, dep))


def _rules_text(table: str) -> str:
    return "\n\n".join(f"**{rule.name}** {rule.zh} · {rule.description}" for rule in quality.rules(table))


def _metadata(run: Work, step: Step, made: Made) -> dict[str, Any]:
    found: dict[str, Any] = {"rows_written": made.rows_written, "readings_read": made.readings_read}
    if step.daily and run.days:
        found["days"] = f"{run.days[0]} … {run.days[-1]} ({len(run.days)})"
    path = SQL / "marts" / f"{step.name}.sql"
    return found | ({"sql": dg.MetadataValue.path(path)} if path.exists() else {})


def _contract(run: Work, connection: duckdb.DuckDBPyConnection) -> dg.AssetCheckResult:
    """The last day of the run that is over is judged: of a day that still goes on, most readings are yet to come."""
    today = datetime.now(run.bench.zone).date()
    over = [day for day in run.days if day < today]
    if not over:
        return dg.AssetCheckResult(check_name=CONTRACT, passed=True, description="当日未结束 · judged when the day is over")
    verdict = quality.judge_readings(connection, run.bench, over[-1])
    quality.keep(connection, run.run_id, quality.READINGS, over[-1], verdict)
    return quality.contract_result(CONTRACT, over[-1], verdict)


@dg.asset(
    name="billing_sync",
    group_name="billing",
    kinds={"odbc", "duckdb"},
    description="营收同步 · Customers, cards, reads, bills and payments that changed in the billing system, read through ODBC.",
    required_resource_keys={RUN},
    check_specs=[
        dg.AssetCheckSpec(CONTRACT, asset="billing_sync", description="送达契约 · Great Expectations on the customers; warns.")
    ],
)
def billing_sync(context: dg.AssetExecutionContext) -> Result:
    """The billing tables in the warehouse; nothing where the site names no billing system."""
    run: Work = context.resources.run
    if not run.bench.billing:
        text = "[billing] connection 未设置 · is not set in site.toml"
        passed = [dg.AssetCheckResult(check_name=CONTRACT, passed=True, description=text)]
        return dg.MaterializeResult(metadata={"skipped": text}, check_results=passed)
    with _told(run.bench), run.opened() as connection:
        counts = billing.sync(run.bench.billing, connection, overlap_days=run.bench.billing_overlap_days, queries=SQL / "billing")
        today, verdict = datetime.now(run.bench.zone).date(), quality.judge_customers(connection)
        quality.keep(connection, run.run_id, quality.CUSTOMERS, today, verdict)
    return dg.MaterializeResult(metadata=dict(counts), check_results=[quality.contract_result(CONTRACT, today, verdict)])


def _published(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name="published",
        group_name="serving",
        kinds={"postgres"},
        description="发布 · The run's partitions of every table to PostgreSQL schema mart, in one transaction.",
        deps=[step.name for step in steps()],
        required_resource_keys={RUN},
        partitions_def=days,
        backfill_policy=ONE_RUN,
    )
    def published(context: dg.AssetExecutionContext) -> Result:
        run: Work = context.resources.run
        with _told(run.bench), run.opened() as connection:
            return dg.MaterializeResult(metadata={"rows_published": run.publish(connection), "days": len(run.days)})

    return published


@dg.asset(
    name="daily_volume_report",
    group_name="reports",
    kinds={"excel"},
    description="日用水量报表 · The daily volume report as XLSX and CSV in reports/, with its row in the report ledger.",
    deps=["daily_usage", "customer", "meter"],
    required_resource_keys={RUN},
)
def daily_volume_report(context: dg.AssetExecutionContext, config: ReportDays) -> Result:
    """The report's files; on demand for any days through the launchpad."""
    run: Work = context.resources.run
    with _told(run.bench), run.opened() as connection:
        newest = reports.newest(connection)
        if newest is None:
            raise dg.Failure("尚无日用水量 · nothing is computed yet, so there is nothing to report: run the job figures first")
        newest_day, run_id = newest
        last = date.fromisoformat(config.last_day) if config.last_day else newest_day
        first = date.fromisoformat(config.first_day) if config.first_day else calendar.month_of(last)
        folder, utility = run.bench.site.reports, run.bench.utility
        written = reports.export("daily_volume", first, last, warehouse=connection, folder=folder, utility=utility, run_id=run_id)
        reports.record(connection, written)
        run.publish(connection)
    files = "\n".join(str(report.file) for report in written)
    return dg.MaterializeResult(metadata={"days": f"{first} … {last}", "files": files})


@contextmanager
def _told(bench: Workbench) -> Iterator[None]:
    """A failure of the world around us becomes the description of the failed step, without passwords."""
    try:
        yield
    except EXPECTED as error:
        description = without_secrets(f"{type(error).__name__}: {error}", bench.billing, bench.serving_dsn() or "")
        raise dg.Failure(description) from None

"""Dagster's asset graph, generated from `assets.tables.steps()`: the same steps as `mainflow run`, made visible and runnable.

A new mart or report appears here by itself. Besides the steps there are the raw readings (made by the daemon, not by us) and
publication. No formula is here, and no order of work but the dependencies.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import polars as pl
import psycopg

from assets import billing, quality, reports, tables
from assets.engines import WorkerEnded
from assets.quality import Finding
from assets.tables import Made, Step
from assets.warehouse import WarehouseBusy, columns_of, has_table
from assets.workbench import Workbench
from ingest_daemon.contract.headers import SQL
from ingest_daemon.contract.registry_files import RegistryError
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.stores import StoreAway

ONE_RUN = dg.BackfillPolicy.single_run()
"""A range of days is one run, however long."""

WORK = "work"
"""The resource that every asset needs: a `Work`."""

PUBLISHED = "published"

RULES, CONTRACT = "rules", "delivered_contract"
"""The checks of an asset: the rules of its SQL files, and the contract of what was delivered."""

EXPECTED = (StoreAway, RegistryError, WarehouseBusy, WorkerEnded, billing.BillingError, reports.NothingToReport, psycopg.Error)
"""Expected operational errors, reported without a traceback; anything else is a mistake of ours and shows its trace."""

KINDS = {"billing": {"odbc", "duckdb"}, "registry": {"csv", "duckdb"}, "cleaned": {"polars", "duckdb"}, "reports": {"excel"}}
"""By group; the others are SQL in DuckDB."""

OWNERS = {"billing": "team:billing", "revenue": "team:billing", "reports": "team:billing", "quality": "team:metrology"}
"""Who looks after the tables of a group; the others are the dispatchers'."""


if TYPE_CHECKING:
    Result = dg.MaterializeResult[None]
else:
    # Dagster reads the annotation, and refuses the parameter where an asset has checks.
    Result = dg.MaterializeResult


class CurrentRun(Protocol):
    """The run in which an asset is made; `pipelines.runs.run.Run` is one."""

    bench: Workbench
    days: list[date]
    run_id: str

    def absent(self, connection: duckdb.DuckDBPyConnection, step: Step) -> list[str]:
        """The tables that the step and its checks need and that nothing has made yet."""
        ...

    def make(self, connection: duckdb.DuckDBPyConnection, step: Step) -> Made:
        """Make the step's partitions of the run's days."""
        ...

    def examine(self, connection: duckdb.DuckDBPyConnection, step: Step) -> list[Finding]:
        """The rules of the step's table."""
        ...

    def publish(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Publish what was made and write the run to the ledger; gives the rows published."""
        ...


class Work(Protocol):
    """What an asset needs: the run, and the warehouse, which is opened and prepared once for all assets of the run."""

    @property
    def run(self) -> CurrentRun:
        """The run."""
        ...

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The warehouse with the run's temporary tables."""
        ...


class ReportDays(dg.Config):
    """The days of a report, YYYY-MM-DD; empty: the month up to the newest day that has figures."""

    first_day: str = ""
    last_day: str = ""


def partitions(zone: ZoneInfo, first_day: date) -> dg.DailyPartitionsDefinition:
    """The local days of the utility from its first day to today."""
    return dg.DailyPartitionsDefinition(first_day.isoformat(), timezone=str(zone), end_offset=1)


def assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset, cut by `days`."""
    return [RAW_READING, *(_figure(step, days) for step in tables.steps()), _published(days)]


RAW_READING = dg.AssetSpec(
    "raw_reading",
    group_name="raw",
    kinds={"parquet", "influxdb"},
    owners=["team:dispatch"],
    description="原始读数 · Readings as the terminals sent them, one a (terminal, time); the socket daemon writes them.",
)


def _figure(step: Step, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    checks = []
    if quality.rules(step.name):
        checks.append(dg.AssetCheckSpec(RULES, asset=step.name, blocking=True, description=_rules_text(step.name)))
    if step.name in CONTRACTS:
        text = "送达契约 · Great Expectations on what was delivered; warns, never blocks."
        checks.append(dg.AssetCheckSpec(CONTRACT, asset=step.name, description=text))

    def make(context: dg.AssetExecutionContext, days: tuple[date, date] | None = None) -> Result:
        work: Work = context.resources.work
        run = work.run
        with _reported(run.bench):
            connection = work.connection
            absent = ", ".join(run.absent(connection, step))
            if absent and (step.group != "reports" or reports.newest(connection)):
                # A first sync with billing comes before the first figures: there is nothing to compare with yet.
                passed = [dg.AssetCheckResult(check_name=check.name, passed=True, description="nothing made") for check in checks]
                return dg.MaterializeResult(metadata={"waits_for": absent}, check_results=passed)
            if days:
                made = tables.made_report(reports.make(step.name.removesuffix("_report"), days, run.bench, connection))
            else:
                made = run.make(connection, step)
            results = [check_result(run.examine(connection, step))] if quality.rules(step.name) else []
            if step.name in CONTRACTS:
                results.append(CONTRACTS[step.name](run, connection))
            return dg.MaterializeResult(metadata=metadata_of(connection, step, made, run.days), check_results=results)

    def figure(context: dg.AssetExecutionContext) -> Result:
        return make(context)

    def report(context: dg.AssetExecutionContext, config: ReportDays) -> Result:
        if not config.first_day:
            return make(context)
        return make(context, (date.fromisoformat(config.first_day), date.fromisoformat(config.last_day)))

    decorate = dg.asset(
        name=step.name,
        group_name=step.group,
        description=f"{step.zh} · {step.description}",
        deps=sorted(tables.needed_by(step)),
        kinds=KINDS.get(step.group, {"duckdb", "sql"}),
        owners=[OWNERS.get(step.group, "team:dispatch")],
        code_version=step.version or None,
        required_resource_keys={WORK},
        check_specs=checks,
        partitions_def=days if step.daily else None,
        backfill_policy=ONE_RUN if step.daily else None,
    )
    return decorate(report if step.group == "reports" else figure)


def _rules_text(table: str) -> str:
    return "\n\n".join(f"**{rule.name}** {rule.zh} · {rule.description}" for rule in quality.rules(table))


def metadata_of(connection: duckdb.DuckDBPyConnection, step: Step, made: Made, days: list[date]) -> dict[str, Any]:
    """What a materialization shows: rows written, rows and columns that the table has, and what else the step has to say."""
    found: dict[str, Any] = {"rows_written": made.rows_written, **made.parts}
    if "raw_reading" in step.deps:
        found["readings_read"] = made.readings_read
    if step.daily and days:
        found["days"] = f"{days[0]} … {days[-1]} ({len(days)})"
    if has_table(connection, step.name):
        columns = [dg.TableColumn(name, kind) for name, kind in columns_of(connection, step.name)]
        found["dagster/column_schema"] = dg.TableSchema(columns=columns)
        ((rows,),) = connection.execute(f"select count(*) from {step.name}").fetchall()
        found["dagster/row_count"] = rows
    for folder in ("marts", "reports"):
        path = SQL / folder / f"{step.name.removesuffix('_report')}.sql"
        if path.exists():
            found["sql"] = dg.MetadataValue.path(path)
    return found


def check_result(findings: list[Finding]) -> dg.AssetCheckResult:
    """Findings as one check result: the number of rows that break each rule, which plots, with reasons and examples."""
    broken = [finding for finding in findings if finding.offending]
    fails = any(finding.rule.severity == "fail" for finding in broken)
    metadata: dict[str, Any] = {finding.rule.name: finding.offending for finding in findings}
    metadata |= {f"{finding.rule.name}_rows": dg.MetadataValue.json(finding.details) for finding in broken}
    return dg.AssetCheckResult(
        check_name=RULES,
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if fails or not broken else dg.AssetCheckSeverity.WARN,
        description="; ".join(finding.text for finding in broken) or None,
        metadata=metadata,
    )


def _contract_of_readings(run: CurrentRun, connection: duckdb.DuckDBPyConnection) -> dg.AssetCheckResult:
    """The last day of the run that is over is judged: of a day that still goes on, most readings are yet to come."""
    today = datetime.now(run.bench.zone).date()
    over = [day for day in run.days if day < today]
    if not over:
        return dg.AssetCheckResult(check_name=CONTRACT, passed=True, description="当日未结束 · judged when the day is over")
    verdict = quality.judge_readings(connection, run.bench, over[-1])
    quality.keep(connection, run.run_id, quality.READINGS, over[-1], verdict)
    return _contract_result(over[-1], verdict)


def _contract_of_customers(run: CurrentRun, connection: duckdb.DuckDBPyConnection) -> dg.AssetCheckResult:
    if not run.bench.billing:
        text = "[billing] connection 未设置 · is not set in site.toml"
        return dg.AssetCheckResult(check_name=CONTRACT, passed=True, description=text)
    today, verdict = datetime.now(run.bench.zone).date(), quality.judge_customers(connection)
    quality.keep(connection, run.run_id, quality.CUSTOMERS, today, verdict)
    return _contract_result(today, verdict)


CONTRACTS: dict[str, Callable[[CurrentRun, duckdb.DuckDBPyConnection], dg.AssetCheckResult]] = {
    "interval_reading": _contract_of_readings,
    "billing": _contract_of_customers,
}
"""By step: the contract of what was delivered to it."""


def _contract_result(day: date, verdict: pl.DataFrame) -> dg.AssetCheckResult:
    """A verdict as a check result that warns; it never blocks."""
    broken = verdict.filter(~pl.col("success"))
    return dg.AssetCheckResult(
        check_name=CONTRACT,
        passed=broken.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(broken["expectation"]) or None,
        metadata={
            "day": day.isoformat(),
            "expectations_broken": broken.height,
            "expectations": dg.MetadataValue.json(verdict.to_dicts()),
        },
    )


def _published(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=PUBLISHED,
        group_name="serving",
        kinds={"postgres"},
        owners=["team:dispatch"],
        description="发布 · The run's partitions of every table to PostgreSQL schema mart, in one transaction.",
        deps=[step.name for step in tables.steps()],
        required_resource_keys={WORK},
        partitions_def=days,
        backfill_policy=ONE_RUN,
    )
    def published(context: dg.AssetExecutionContext) -> Result:
        work: Work = context.resources.work
        with _reported(work.run.bench):
            rows = work.run.publish(work.connection)
        return dg.MaterializeResult(metadata={"rows_published": rows, "days": len(work.run.days)})

    return published


@contextmanager
def _reported(bench: Workbench) -> Iterator[None]:
    """An expected error becomes the description of the failed step, without passwords."""
    try:
        yield
    except EXPECTED as error:
        description = without_secrets(f"{type(error).__name__}: {error}", bench.billing, bench.serving_dsn() or "")
        raise dg.Failure(description) from None

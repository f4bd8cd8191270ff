"""Every table of the warehouse as one step: what it is made from and the function that makes its partitions.

SQL marts come from `assets.marts`; the few tables that SQL cannot say (registry, cleaned intervals, month volumes) are here.
The same steps run under `mainflow run` and as Dagster assets, so there is one way a figure comes about.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from typing import NamedTuple

import duckdb
import polars as pl
from duckdb.func import FunctionNullHandling

from assets import calendar, cleaning, marts, warehouse
from assets import registry as registry_files
from assets.billing import ensure_tables
from assets.curve import UNCLEAN, Flag
from assets.marts import Partitions
from assets.workbench import Workbench
from ingest_daemon.contract.schema import TIMESTAMP, Reason
from ingest_daemon.contract.silence import silent_after_min

CHUNK_DAYS = 31
"""Days cleaned at once: bounds the memory of a long backfill."""


EMPTY = {
    "interval_reading": cleaning.INTERVAL,
    "register_day": cleaning.REGISTER_DAY,
    "latest_reading": cleaning.LATEST,
}
"""Tables that marts select from before the first day is cleaned."""


class Made(NamedTuple):
    """What a step did: raw readings read, rows written."""

    readings_read: int
    rows_written: int


Build = Callable[[Workbench, duckdb.DuckDBPyConnection, Partitions], Made]


class Step(NamedTuple):
    """One table: its place in the graph and how its partitions are made. `daily` says that it is cut by days."""

    name: str
    group: str
    zh: str
    description: str
    deps: tuple[str, ...]
    daily: bool
    build: Build


def _registry(bench: Workbench, connection: duckdb.DuckDBPyConnection, _: Partitions) -> Made:
    loaded = registry_files.load(bench.site.registry)
    connection.execute("create schema if not exists registry").fetchall()
    for name, frame in loaded._asdict().items():
        warehouse.replace_all(connection, f"registry.{name}", frame)
    ensure_tables(connection)
    return Made(0, loaded.terminals.height)


def _interval_reading(bench: Workbench, connection: duckdb.DuckDBPyConnection, partitions: Partitions) -> Made:
    terminals = connection.sql("select * from registry.terminals").pl()
    replacements = connection.sql("select * from registry.replacements").pl()
    read = written = 0
    days = sorted(partitions.days)
    for start in range(0, len(days), CHUNK_DAYS):
        for first, last in calendar.runs(days[start : start + CHUNK_DAYS]):
            span = calendar.days_between(first, last)
            begins, ends = calendar.midnight(first, bench.zone), calendar.midnight(last + timedelta(days=1), bench.zone)
            readings = bench.store.read(begins - bench.max_hole, ends + bench.max_hole)
            conflicts = _conflicts(bench, begins - bench.max_hole, ends + bench.max_hole)
            cleaned = cleaning.clean(readings, terminals, replacements, conflicts, span, bench.zone, bench.max_hole)
            read += readings.height
            written += warehouse.replace_rows(connection, "interval_reading", cleaned.intervals, "day", span)
            warehouse.replace_rows(connection, "register_day", cleaned.register_days, "day", span)
            _keep_latest(connection, cleaned.latest, span)
    return Made(read, written)


def _conflicts(bench: Workbench, start: datetime, end: datetime) -> pl.DataFrame:
    """Times of readings that a later arrival contradicted: `terminal`, `ts`."""
    ledger = bench.site.quarantine / f"{Reason.CONFLICT}.jsonl"
    if not ledger.exists() or ledger.stat().st_size == 0:
        return pl.DataFrame(schema={"terminal": pl.String, "ts": TIMESTAMP})
    lines = pl.read_ndjson(ledger, schema_overrides={"terminal": pl.String, "ts": pl.String}, ignore_errors=True)
    times = lines.select("terminal", ts=pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC", strict=False))
    return times.filter(pl.col("ts").is_between(start, end))


def _keep_latest(connection: duckdb.DuckDBPyConnection, latest: pl.DataFrame, days: list[date]) -> None:
    """Merge the days' last readings into `latest_reading`: one row a meter, the greatest event time wins; pressure likewise."""
    known = connection.sql("select * from latest_reading").pl()
    candidates = pl.concat([known.filter(~pl.col("day").is_in(days)).cast(latest.schema), latest])
    pressure = candidates.filter(pl.col("pressure_at").is_not_null()).sort("pressure_at").group_by("meter", maintain_order=True)
    merged = (
        candidates.sort("reading_at")
        .group_by("meter", maintain_order=True)
        .last()
        .drop("pressure_mpa", "pressure_at")
        .join(pressure.agg(pl.col("pressure_mpa", "pressure_at").last()), on="meter", how="left")
    )
    warehouse.replace_all(connection, "latest_reading", merged.select(latest.columns).sort("meter"))


def _register_month(bench: Workbench, connection: duckdb.DuckDBPyConnection, partitions: Partitions) -> Made:
    days = connection.sql(
        "select register_day.* from register_day join touched_month on day >= month and day < month + interval 1 month"
    ).pl()
    terminals, replacements = (connection.sql(f"select * from registry.{name}").pl() for name in ("terminals", "replacements"))
    volumes = cleaning.month_volumes(days, terminals, replacements, partitions.months, bench.zone)
    return Made(0, warehouse.replace_rows(connection, "register_month", volumes, "month", partitions.months))


def _mart(mart: marts.Mart, _: Workbench, connection: duckdb.DuckDBPyConnection, __: Partitions) -> Made:
    return Made(0, marts.build(mart, connection))


def steps() -> tuple[Step, ...]:
    """Every step, each after those it is made from."""
    own = {
        "registry": Step("registry", "registry", "档案", "The registry's CSV files, validated as a whole.", (), False, _registry),
        "interval_reading": Step(
            "interval_reading",
            "cleaned",
            "区间读数",
            "Cleaned intervals of every meter: raw readings through the register curve, cut at local hours and days.",
            ("raw_reading", "registry"),
            True,
            _interval_reading,
        ),
        "register_month": Step(
            "register_month",
            "cleaned",
            "月表底差",
            "Volume of a month as the difference of the register curve between its ends.",
            ("interval_reading", "registry"),
            True,
            _register_month,
        ),
    }
    found = [
        Step(mart.name, mart.group, mart.zh, mart.description, mart.deps, mart.partitions != "whole", partial(_mart, mart))
        for mart in marts.all_marts()
    ]
    whole_first = sorted(found, key=lambda step: step.daily)
    people = [step for step in whole_first if not step.daily and "daily_usage" not in step.deps]
    figures = [step for step in found if step not in people]
    return (own["registry"], *people, own["interval_reading"], own["register_month"], *figures)


def _silent_after_h(step_min: int, upload_min: int | None, link: str | None) -> float:
    """Hours after the last reading from which a meter counts as silent."""
    return silent_after_min(step_min, upload_min, is_polled=bool(link)) / 60


def prepare(connection: duckdb.DuckDBPyConnection, partitions: Partitions, *, every_bill: bool) -> None:
    """What the selects need: temporary tables of the partitions, and names for the flags (`is_hole(flags)`, `is_clean(flags)` …).

    `touched_bill` has the bills whose period holds a touched day (or every bill).
    """
    partitions.prepare(connection)
    for flag in Flag:
        connection.execute(f"create or replace temp macro is_{str(flag.name).lower()}(flags) as flags & {flag:d} <> 0").fetchall()
    connection.execute(f"create or replace temp macro is_clean(flags) as flags & {UNCLEAN:d} = 0").fetchall()
    with suppress(duckdb.NotImplementedException, duckdb.CatalogException):  # prepared before on this connection
        connection.create_function(
            "silent_after_h",
            _silent_after_h,
            ["bigint", "bigint", "varchar"],
            "double",
            null_handling=FunctionNullHandling.SPECIAL,
        )
    ensure_tables(connection)
    for name, columns in EMPTY.items():
        if not warehouse.has_table(connection, name):
            warehouse.replace_all(connection, name, pl.DataFrame(schema=columns))
    touched = "exists (select 1 from touched_day where day >= period_start and day < period_end)"
    connection.execute(
        f"create or replace temp table touched_bill as select bill_no from billing.bill where {'true' if every_bill else touched}"
    ).fetchall()

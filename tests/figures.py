"""Inputs for the tests of the figures: readings and registry rows as frames, a warehouse with every table there and empty.

No expectation lies here; what a figure must be is said in the tests and in `tests/marts/`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from assets import calendar, marts, night_levels, registry_history, rules, tables, units, warehouse
from assets.partitions import Partitions
from ingest_daemon.contract import registry_files as registry
from ingest_daemon.contract.schema import READING

TERMINAL = {
    "terminal": "0010000001",
    "meter": "M1",
    "customer_no": "C1",
    "protocol": "sl651",
    "dn_mm": 100,
    "technology": "mechanical",
    "q4_m3h": 125.0,
    "digits": 7,
    "resolution_m3": 0.1,
    "step_min": 15,
    "reads": "register",
}
"""A register meter of DN 100: modulus 1 000 000 m³."""


def typed(name: str, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of `registry/<name>.csv` as the registry gives them; what a row leaves out is null."""
    return pl.DataFrame(rows, schema={key: column.dtype for key, column in registry.FILES[name].items()})


def terminals(*changes: dict[str, Any]) -> pl.DataFrame:
    """One terminal for each of the changes to `TERMINAL`; the plain one where there are none."""
    return typed("terminals", [{**TERMINAL, **change} for change in changes or ({},)])


def readings(at: Sequence[datetime], terminal: str = "0010000001", **columns: Sequence[float | None]) -> pl.DataFrame:
    """Readings of a terminal at these times with these columns of `schema.READING`; the others are null."""
    frame = pl.DataFrame({"ts": at, **columns}, schema_overrides={"ts": READING["ts"]})
    frame = frame.with_columns(
        terminal=pl.lit(terminal), received_at="ts", channel=pl.lit("tcp"), frame=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    missing = [pl.lit(None).alias(name) for name in READING if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in READING.items())


HOLE = timedelta(hours=2)
_SHIPPED = dict(rules.shipped("criteria").select("name", "value").iter_rows())
CRITERIA = units.Criteria(*(_SHIPPED[name] for name in units.CRITERIA))
"""The shipped ones."""
NO_CONFLICTS = pl.DataFrame(schema={"terminal": pl.String(), "ts": pl.Datetime("us", "UTC")})


def facts(registry: pl.DataFrame) -> pl.DataFrame:
    """Terminals as the facts of any day: each measures its meter without beginning or end, where `registry` has none."""
    unbounded = pl.lit(None, pl.Datetime("us", "UTC"))
    missing = {name: unbounded for name in ("terminal_from", "terminal_to") if name not in registry.columns}
    return registry.with_columns(**missing)


def unit_tables(
    rows: pl.DataFrame,
    days: Sequence[date],
    zone: ZoneInfo,
    *,
    registry: pl.DataFrame | None = None,
    changes: Sequence[dict[str, Any]] = (),
    conflicts: pl.DataFrame = NO_CONFLICTS,
    criteria: units.Criteria = CRITERIA,
) -> units.Tables:
    """The unit tables of days, from `rows` (one row a terminal and time), as a run makes them."""
    meters = facts(terminals() if registry is None else registry)
    replacements = typed("replacements", changes)
    rows = rows.sort("terminal", "ts")

    def within(start: datetime, end: datetime) -> pl.DataFrame:
        return rows.filter(pl.col("ts").is_between(start, end))

    def look_back(names: list[str], start: datetime, end: datetime) -> pl.DataFrame:
        return within(start, end).filter(pl.col("terminal").is_in(names))

    start, end = calendar.midnight(min(days), zone), calendar.midnight(max(days) + timedelta(days=1), zone)
    stretch = units.Stretch(within(start - HOLE, end + HOLE), meters, replacements, conflicts, zone, HOLE)
    return units.joined(stretch.unit(day, criteria, look_back).tables for day in days)


class Figures(NamedTuple):
    """The unit tables as frames, `intervals` as the view `interval_reading` shows them; times in UTC."""

    intervals: pl.DataFrame
    hours: pl.DataFrame
    days: pl.DataFrame
    histogram: pl.DataFrame


def figures(found: units.Tables) -> Figures:
    """The unit tables as frames."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'").fetchall()
        connection.register("unit_interval", found.unit_interval)
        connection.register("unit_hour", found.unit_hour)
        intervals, hours = (view.split(" as\n", 1)[1] for view in (units.INTERVAL_READING, units.CLOCK_HOUR))
        rows = (
            warehouse.frame(connection, f"select * from ({intervals}) order by meter, interval_end, interval_start"),
            warehouse.frame(connection, f"select * from ({hours}) order by meter, hour_start"),
        )
    return Figures(*rows, *(pl.DataFrame(pl.from_arrow(table)) for table in (found.unit_day, found.flow_histogram)))


@cache
def _empty_file(zone: ZoneInfo) -> bytes:
    """A warehouse with every table and no row, as its file; made once, because each mart's select is bound for it."""
    with TemporaryDirectory() as folder, warehouse.opened(Path(folder) / "marts.duckdb", str(zone)) as connection:
        connection.execute("create schema registry").fetchall()
        for name in registry.FILES.keys() - rules.REPLACED_BY.keys():
            warehouse.replace_all(connection, f"registry.{name}", typed(name, []))
        spans = pl.DataFrame(schema=registry_history.SPAN)
        warehouse.replace_all(connection, "registry.span", spans)
        warehouse.replace_all(connection, "registry.timeline", registry_history.timeline(spans, zone))
        volumes = {"meter": pl.String(), "volume_m3": pl.Float64(), "so_far_m3": pl.Float64(), "month": pl.Date()}
        warehouse.replace_all(connection, "register_month", pl.DataFrame(schema=volumes))
        warehouse.replace_all(
            connection, "register_year", pl.DataFrame(schema=volumes).select("meter", "volume_m3", year="month")
        )
        warehouse.replace_all(connection, "night_level", pl.DataFrame(schema=night_levels.NIGHT_LEVEL))
        tables.prepare(connection)
        Partitions((date(2026, 1, 1),), zone).prepare(connection)
        for mart in sorted(marts.all_marts(), key=lambda mart: [step.name for step in tables.steps()].index(mart.name)):
            connection.execute(f"create table {mart.name} as {mart.query} with no data").fetchall()
        connection.execute("checkpoint marts").fetchall()
        return (Path(folder) / "marts.duckdb").read_bytes()


@contextmanager
def empty_warehouse(path: Path, days: Sequence[date], zone: ZoneInfo) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse prepared for these days whose every table is there and has no row."""
    path.write_bytes(_empty_file(zone))
    with warehouse.opened(path, str(zone)) as connection:
        tables.prepare(connection)
        Partitions(tuple(days), zone).prepare(connection)
        yield connection

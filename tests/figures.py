"""Inputs for the tests of the figures: readings and registry rows as frames, a warehouse with every table there and empty.

No expectation lies here; what a figure must be is said in the tests and in `tests/marts/`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from assets import cleaning, marts, registry, tables, warehouse
from assets.marts import Partitions
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


@contextmanager
def empty_warehouse(path: Path, days: Sequence[date], zone: ZoneInfo) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse prepared for these days whose every table is there and has no row."""
    with warehouse.opened(path, str(zone)) as connection:
        connection.execute("create schema registry").fetchall()
        for name in registry.FILES:
            warehouse.replace_all(connection, f"registry.{name}", typed(name, []))
        warehouse.replace_all(connection, "interval_reading", pl.DataFrame(schema=cleaning.INTERVAL))
        warehouse.replace_all(connection, "latest_reading", pl.DataFrame(schema=cleaning.LATEST))
        volumes = {"meter": pl.String(), "month": pl.Date(), "volume_m3": pl.Float64()}
        warehouse.replace_all(connection, "register_month", pl.DataFrame(schema=volumes))
        tables.prepare(connection, Partitions(tuple(days), zone), every_bill=False)
        for mart in marts.all_marts():
            connection.execute(f"create table {mart.name} as {mart.query} with no data").fetchall()
        yield connection

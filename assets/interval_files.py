"""The widest tables of the units beside marts.duckdb, where views show them: a Parquet file a table, local day, bucket of meters.

    units/day=2026-01-01/bucket=000-of-001/unit_interval.parquet
                                           unit_hour.parquet
                                           flow_histogram.parquet

A file is replaced whole and durable before the hours of its day are committed: a kill in between leaves the day waiting. A query
that names days opens their files only. A day has the buckets of one cut of the fleet.
"""

import shutil
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from assets import warehouse
from assets.units import EMPTY, Tables
from ingest_daemon.contract.files import write_parquet

NAMES = ("unit_interval", "unit_hour", "flow_histogram")

ROW_GROUP = 4_096
"""Meters and days that a reader takes or skips as one."""


def write(folder: Path, day: date, bucket: str, tables: Tables) -> int:
    """Replace the files of a day and bucket; gives their rows. Raises `OSError`."""
    own = folder / f"day={day}" / f"bucket={bucket}"
    own.mkdir(parents=True, exist_ok=True)
    frames = {name: _without_day(getattr(tables, name)) for name in NAMES}
    for name, rows in frames.items():
        write_parquet(own / f"{name}.parquet", rows, row_group=ROW_GROUP, compression="lz4")
    return sum(rows.height for rows in frames.values())


def keep(folder: Path, days: Collection[date], buckets: Collection[str]) -> None:
    """Remove what other cuts of the fleet left in these days. Raises `OSError`."""
    wanted = {f"bucket={bucket}" for bucket in buckets}
    for day in days:
        for own in (folder / f"day={day}").iterdir():
            if own.name not in wanted:
                shutil.rmtree(own) if own.is_dir() else own.unlink()


def show(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the connection's tables of these names be the files; before the first day they are tables without a row."""
    folder = folder_of(connection)
    for name in NAMES:
        empty: pa.Table = getattr(EMPTY, name)
        if next(_files(folder, name), None) is None:
            warehouse.drop(connection, name, "view")
            warehouse.renew_where_other(connection, name, empty)
            continue
        warehouse.drop(connection, name, "table")
        columns = ", ".join(empty.column_names)
        files = f"read_parquet('{folder.name}/*/*/{name}.parquet', hive_partitioning = true, hive_types = {{'day': date}})"
        connection.execute(f"create or replace view {name} as select {columns} from {files}").fetchall()


def renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the files of a version that had other columns."""
    folder = folder_of(connection)
    for name in NAMES:
        newest = max(_files(folder, name), default=None)
        if newest is not None and pl.read_parquet_schema(newest) != _without_day(getattr(EMPTY, name)).schema:
            for own in folder.glob("day=*"):
                shutil.rmtree(own)
            show(connection)


def are_lost(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the warehouse has days and no file is there: it came back from a copy without them."""
    folder = folder_of(connection)
    has_days = warehouse.has_table(connection, "unit_day") and connection.execute("from unit_day limit 1").fetchall()
    return bool(has_days) and any(next(_files(folder, name), None) is None for name in NAMES)


def folder_of(connection: duckdb.DuckDBPyConnection) -> Path:
    """The folder beside the warehouse that is open."""
    return Path(connection.execute("select current_setting('file_search_path')").fetchall()[0][0]) / "units"


def _without_day(table: pa.Table) -> pl.DataFrame:
    """Rows as they lie in a file: the day is the name of its folder."""
    return pl.DataFrame(pl.from_arrow(table.drop_columns("day")))


def _files(folder: Path, name: str) -> Iterator[Path]:
    return folder.glob(f"day=*/bucket=*/{name}.parquet")

"""The widest tables of the units, a Parquet file a table, local day and bucket of meters, where views of marts.duckdb show them:
beside it, or in the lake, where workers of many nodes write them.

    units/day=2026-01-01/bucket=000-of-001/unit_interval.parquet
                                           unit_hour.parquet
                                           flow_histogram.parquet

A file is replaced whole and durable before the hours of its day are committed: a kill in between leaves the day waiting. A query
that names days opens their files only. A day has the buckets of one cut of the fleet.
"""

from collections.abc import Collection
from datetime import date
from io import BytesIO
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from assets import warehouse
from assets.units import EMPTY, Tables
from ingest_daemon.contract.files import parquet_bytes
from ingest_daemon.stores.storage import LocalStorage, Storage

NAMES = ("unit_interval", "unit_hour", "flow_histogram")

ROW_GROUP = 4_096
"""Meters and days that a reader takes or skips as one."""


def write(files: Storage, day: date, bucket: str, tables: Tables) -> int:
    """Replace the files of a day and bucket; gives their rows. Raises `OSError`."""
    frames = {name: _without_day(getattr(tables, name)) for name in NAMES}
    files.put(
        {
            f"day={day}/bucket={bucket}/{name}.parquet": parquet_bytes(rows, row_group=ROW_GROUP, compression="lz4")
            for name, rows in frames.items()
        }
    )
    return sum(rows.height for rows in frames.values())


def keep(files: Storage, days: Collection[date], buckets: Collection[str]) -> None:
    """Remove what other cuts of the fleet left in these days. Raises `OSError`."""
    wanted = {f"bucket={bucket}" for bucket in buckets}
    for day in days:
        files.delete([path for path in files.below(f"day={day}") if path.split("/")[1] not in wanted])


def show(connection: duckdb.DuckDBPyConnection, files: Storage | None = None) -> None:
    """Let the connection's tables of these names be the files (None: those beside the warehouse); before the first day they are
    tables without a row."""
    files = files or LocalStorage(_beside(connection))
    root = _root(connection, files)
    for name in NAMES:
        empty: pa.Table = getattr(EMPTY, name)
        if _newest(files, name) is None:
            warehouse.drop(connection, name, "view")
            warehouse.renew_where_other(connection, name, empty)
            continue
        warehouse.drop(connection, name, "table")
        columns = ", ".join(empty.column_names)
        found = f"read_parquet('{root}/*/*/{name}.parquet', hive_partitioning = true, hive_types = {{'day': date}})"
        connection.execute(f"create or replace view {name} as select {columns} from {found}").fetchall()


def renew(connection: duckdb.DuckDBPyConnection, files: Storage) -> None:
    """Remove the files of a version that had other columns."""
    for name in NAMES:
        newest = _newest(files, name)
        if newest is not None and _schema(files, newest) != _without_day(getattr(EMPTY, name)).schema:
            files.delete(files.below(""))
            show(connection, files)


def are_lost(connection: duckdb.DuckDBPyConnection, files: Storage) -> bool:
    """Whether the warehouse has days and no file is there: it came back from a copy without them."""
    has_days = warehouse.has_table(connection, "unit_day") and connection.execute("from unit_day limit 1").fetchall()
    return bool(has_days) and any(_newest(files, name) is None for name in NAMES)


def _root(connection: duckdb.DuckDBPyConnection, files: Storage) -> str:
    """What DuckDB finds the files by: in the folder beside the warehouse without that, so that both can be moved."""
    if not isinstance(files, LocalStorage):  # what reads objects is imported only there: it costs a quarter of a second
        from assets.object_files import register

        return register(connection, files)
    folder = Path(files.where())
    return (folder.name if folder == _beside(connection) else str(folder)).replace("'", "''")


def _beside(connection: duckdb.DuckDBPyConnection) -> Path:
    """The folder beside the warehouse that is open."""
    return Path(connection.execute("select current_setting('file_search_path')").fetchall()[0][0]) / "units"


def _newest(files: Storage, name: str) -> str | None:
    """A file of the newest day that has one; None where there is none."""
    for day in reversed(files.names("")):
        for bucket in files.names(day):
            if f"{name}.parquet" in files.names(f"{day}/{bucket}"):
                return f"{day}/{bucket}/{name}.parquet"
    return None


def _schema(files: Storage, path: str) -> pl.Schema:
    (source,) = files.sources([path])
    return pl.Schema(pl.read_parquet_schema(BytesIO(source) if isinstance(source, bytes) else source))


def _without_day(table: pa.Table) -> pl.DataFrame:
    """Rows as they lie in a file: the day is the name of its folder."""
    return pl.DataFrame(pl.from_arrow(table.drop_columns("day")))

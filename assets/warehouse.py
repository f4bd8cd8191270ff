"""marts.duckdb: how it is opened and how a frame becomes rows of a partition. No formula, no order of work."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from ingest_daemon.contract import locks
from ingest_daemon.stores import StoreAway

STORAGE_VERSION = "v1.4.0"
"""The newest file format that every DuckDB since 1.4 reads; the library's default would shut older readers out."""

MEMORY = "2GB"
"""What DuckDB may take before it uses the disk: the daemon, PostgreSQL and Grafana live on the same machine."""

Rows: TypeAlias = pl.DataFrame | pa.Table


HELD = ("Could not set lock", "Unique file handle conflict", "already attached")
"""What DuckDB says where somebody else has the file open."""


DAMAGED = ("orrupt", "checksum", "read enough bytes", "magic bytes", "TProtocolException", "decompress")
"""What DuckDB says of a spoilt database, or of a spoilt file beside it."""


class WarehouseBusy(RuntimeError):
    """Another program has marts.duckdb open."""


class WarehouseBroken(RuntimeError):
    """marts.duckdb is no database any more; the text says what to do."""


@contextmanager
def opened(path: Path, zone: str, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose current database is `path` (made if absent), in the site's zone. One writer at a time.

    Raises `WarehouseBusy`, `WarehouseBroken`, `StoreAway`; for reading only also `FileNotFoundError`.
    """
    if read_only and not path.exists():
        raise FileNotFoundError(path)
    connection = duckdb.connect()
    try:
        options = "read_only" if read_only else f"storage_version '{STORAGE_VERSION}'"
        try:
            connection.execute(f"attach '{_quoted(path)}' as marts ({options})").fetchall()
        except duckdb.Error as error:
            if any(words in str(error) for words in HELD):
                raise WarehouseBusy(f"{path} is open in another program ({error}); close it, then try again") from None
            raise _broken(path, error) from None
        connection.execute("use marts").fetchall()
        connection.execute(f"set file_search_path = '{_quoted(path.parent)}'").fetchall()
        connection.execute(f"set temp_directory = '{_quoted(path)}.tmp'").fetchall()
        connection.execute(f"set memory_limit = '{MEMORY}'").fetchall()
        connection.execute(f"set timezone = '{zone}'").fetchall()
        connection.execute("set preserve_insertion_order = true").fetchall()
        connection.execute("set enable_progress_bar = false").fetchall()
        yield connection
    except duckdb.Error as error:
        if any(words in str(error) for words in DAMAGED):
            raise _broken(path, error) from error
        _, away, words = str(error).partition(f"{StoreAway.__name__}: ")  # of files in an object store, as DuckDB hands it on
        if away:
            raise StoreAway(words.strip()) from error
        raise
    finally:
        connection.close()


def _broken(path: Path, error: duckdb.Error) -> WarehouseBroken:
    return WarehouseBroken(
        f"{path} is damaged ({' '.join(str(error).split())[:300]}): make it again from the raw readings and the billing system "
        f"with: mainflow rebuild --site {path.parent}"
    )


def _quoted(path: Path) -> str:
    """A path within quotes of SQL."""
    return str(path).replace("'", "''")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold `lock` while computing: the second run waits for the first instead of failing on the locked database."""
    handle = locks.opened(lock)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def transaction(warehouse: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block's changes, or none where it fails."""
    warehouse.execute("begin").fetchall()
    try:
        yield
        warehouse.execute("commit").fetchall()
    except BaseException:
        warehouse.execute("rollback").fetchall()
        raise


@contextmanager
def registered(warehouse: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> Iterator[None]:
    """Let statements select from `rows` by this name."""
    warehouse.register(name, rows)
    try:
        yield
    finally:
        warehouse.unregister(name)


def replace_rows(warehouse: duckdb.DuckDBPyConnection, table: str, rows: Rows, column: str, keys: Sequence[date]) -> int:
    """Put the rows in place of those whose `column` is one of `keys`, in one transaction; the table is made if absent.

    Gives the rows written.
    """
    with registered(warehouse, "incoming", rows):
        warehouse.execute(f"create table if not exists {table} as select * from incoming limit 0").fetchall()
        with transaction(warehouse):
            warehouse.execute(f"delete from {table} where {column} in (select unnest(?::date[]))", [list(keys)]).fetchall()
            ((written,),) = warehouse.execute(f"insert into {table} by name select * from incoming").fetchall()
    return int(written)


def append(warehouse: duckdb.DuckDBPyConnection, table: str, incoming: Rows) -> None:
    """Add the rows to the table, made if absent."""
    # Found by the name of the variable: an open transaction would keep registered rows in memory until it ends.
    warehouse.execute(f"create table if not exists {table} as select * from incoming limit 0").fetchall()
    warehouse.execute(f"insert into {table} by name select * from incoming").fetchall()


def ensure(warehouse: duckdb.DuckDBPyConnection, table: str, columns: str) -> None:
    """Make the table where it is absent; one of an earlier version with other columns, or with a key, keeps its rows."""
    warehouse.execute(f"create table if not exists {table} ({columns})").fetchall()
    warehouse.execute(f"create or replace temp table renewed ({columns})").fetchall()
    there, wanted = (
        warehouse.execute(f"select name, type, pk from pragma_table_info('{name}')").fetchall()
        for name in (table, "temp.renewed")
    )
    if there != wanted:
        known = {name for name, *_ in wanted}
        shared = ", ".join(name for name, *_ in there if name in known)
        for statement in (
            "begin",
            f"insert into renewed by name select {shared} from {table}",
            f"drop table {table}",
            f"create table {table} as select * from renewed",
            "commit",
        ):
            warehouse.execute(statement).fetchall()
    warehouse.execute("drop table renewed").fetchall()


def replace_all(warehouse: duckdb.DuckDBPyConnection, table: str, rows: Rows) -> None:
    """Make the table exactly these rows."""
    with registered(warehouse, "incoming", rows):
        warehouse.execute(f"create or replace table {table} as select * from incoming").fetchall()


def frame(warehouse: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    """The rows of a query, times in UTC whatever the session's zone."""
    rows: pl.DataFrame = warehouse.sql(query).pl()
    return rows.with_columns(cs.datetime(time_zone="*").dt.convert_time_zone("UTC"))


def columns_of(warehouse: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    """Names and types of the columns of a table or view (`name` or `schema.name`), in order; none where it is not there."""
    try:
        # By name: DuckDB's lists of all tables and columns cost ten times as much.
        return warehouse.execute("select name, type from pragma_table_info(?)", [f"marts.{_qualified(table)}"]).fetchall()
    except duckdb.CatalogException:
        return []


def _qualified(table: str) -> str:
    return table if "." in table else f"main.{table}"


def has_table(warehouse: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether a table or view (`name` or `schema.name`) is there."""
    return bool(columns_of(warehouse, table))


def drop(warehouse: duckdb.DuckDBPyConnection, name: str, kind: Literal["table", "view"]) -> None:
    """Drop what has this name, where it is of this kind."""
    query = f"select count(*) from duckdb_{kind}s() where database_name = 'marts' and schema_name = 'main' and {kind}_name = ?"
    if warehouse.execute(query, [name]).fetchall() == [(1,)]:
        warehouse.execute(f"drop {kind} {name}").fetchall()


def renew_where_other(warehouse: duckdb.DuckDBPyConnection, name: str, empty: pa.Table) -> None:
    """Make the table anew and empty where its columns are others than those of `empty`."""
    with registered(warehouse, "incoming", empty):
        wanted = [row[:2] for row in warehouse.execute("describe incoming").fetchall()]
    if columns_of(warehouse, name) != wanted:
        replace_all(warehouse, name, empty)

"""Publication: the touched partitions of every mart copied to PostgreSQL schema `mart`, all tables in one transaction.

Readers therefore see a partition whole, before or after. Names, columns and order are those of marts.duckdb.
"""

import io
from collections.abc import Callable

import duckdb
import psycopg
from psycopg import sql

from assets.marts import PARTITION_KEYS, Partitions, all_marts
from assets.warehouse import has_table

TYPES = {
    "VARCHAR": "text",
    "DOUBLE": "double precision",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}
"""DuckDB's types as PostgreSQL's; a mart may use no others."""

Published = tuple[str, str, tuple[str, ...]]
"""A published table: name, way of partitioning, key."""


def published_tables() -> list[Published]:
    """Every table that is served: the marts, the cleaned intervals and the ledgers."""
    found = [(mart.name, mart.partitions, mart.grain) for mart in all_marts()]
    return [
        ("interval_reading", "day", ("meter", "interval_end", "interval_start")),
        *found,
        ("run_ledger", "whole", ("run_id",)),
        ("report_ledger", "whole", ("file", "run_id")),
        ("expectation_result", "whole", ("source", "day", "expectation")),
    ]


def publish(
    connection: duckdb.DuckDBPyConnection, dsn: str, partitions: Partitions, progress: Callable[[str], None] = lambda _: None
) -> int:
    """Replace the prepared partitions in PostgreSQL; gives the rows copied. Raises `psycopg.Error`.

    A table whose columns differ from the mart's (a new version) is made anew and copied whole.
    """
    rows = 0
    with psycopg.connect(dsn) as target:
        target.execute("set time zone 'UTC'")
        target.execute("create schema if not exists mart")
        for name, partitioned, key in published_tables():
            if has_table(connection, name):
                progress(name)
                rows += _copy(connection, target, name, partitioned, key)
    return rows


def _copy(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, name: str, partitioned: str, key: tuple[str, ...]
) -> int:
    described = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        f"where database_name = 'marts' and schema_name = 'main' and table_name = '{name}' order by column_index"
    ).fetchall()
    columns = [(column, TYPES[kind]) for column, kind in described]
    table = sql.Identifier("mart", name)
    fresh = _ensure(target, name, columns, key)
    where = ""
    if partitioned == "whole" or fresh:
        target.execute(sql.SQL("delete from {}").format(table))
    else:
        keys_table, keys, own = PARTITION_KEYS[partitioned]
        where = f" where ({own}) in (select ({keys}) from {keys_table})"
        _delete_keys(connection, target, table, keys_table, keys, own)
    names = sql.SQL(", ").join(sql.Identifier(column) for column, _ in columns)
    selected = ", ".join(_exact(column, kind) for column, kind in described)
    with target.cursor().copy(sql.SQL("copy {} ({}) from stdin (format csv)").format(table, names)) as stream:
        arrow = connection.sql(f"select {selected} from {name}{where} order by {', '.join(key)}")
        written = 0
        for batch in arrow.to_arrow_reader(100_000):
            stream.write(_csv(batch))
            written += batch.num_rows
    return written


def _exact(column: str, kind: str) -> str:
    """Instants as UTC text with their offset; everything else prints exactly as it is."""
    return (
        f"strftime({column} at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f+00') as {column}"
        if kind.startswith("TIMESTAMP")
        else column
    )


def _csv(batch: object) -> bytes:
    import pyarrow.csv

    sink = io.BytesIO()
    pyarrow.csv.write_csv(batch, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    return sink.getvalue()


def _delete_keys(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: sql.Identifier, keys_table: str, keys: str, own: str
) -> None:
    values = connection.execute(f"select distinct {keys} from {keys_table}").fetchall()
    names = own.split(", ")
    if len(names) == 1:
        target.execute(
            sql.SQL("delete from {} where {} = any(%s)").format(table, sql.Identifier(own)), [[row[0] for row in values]]
        )
        return
    for grain in {row[0] for row in values}:
        periods = [row[1] for row in values if row[0] == grain]
        target.execute(sql.SQL("delete from {} where grain = %s and period = any(%s)").format(table), [grain, periods])


def _ensure(target: psycopg.Connection, name: str, columns: list[tuple[str, str]], key: tuple[str, ...]) -> bool:
    """Make the table if it is absent or has other columns; True where it is new."""
    query = (
        "select column_name, data_type from information_schema.columns "
        "where table_schema = 'mart' and table_name = %s order by ordinal_position"
    )
    there = [
        (column, {"timestamp with time zone": "timestamptz"}.get(kind, kind)) for column, kind in target.execute(query, [name])
    ]
    if there == columns:
        return False
    table = sql.Identifier("mart", name)
    target.execute(sql.SQL("drop table if exists {}").format(table))
    body = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns)
    target.execute(sql.SQL("create table {} ({})").format(table, body))
    target.execute(sql.SQL("create index on {} ({})").format(table, sql.SQL(", ").join(map(sql.Identifier, key))))
    return True

"""Views and functions beside the marts.

A view is `sql/serving/<name>.sql`, one select for DuckDB and for PostgreSQL schema `mart`.

What depends on the present instant, or on what the daemon writes to schema `ops`, is a view and no mart: a mart gives the same
rows whenever it is made. In the warehouse the tables of `ops` are empty, so that a view shows the computed figures alone.

A function is `sql/functions/<name>.sql`, a `create or replace function mart.<name>` of PostgreSQL alone: figures of what a user
moves, such as a line or a free period. Its columns are described as those of a table.
"""

from graphlib import TopologicalSorter

import duckdb
import psycopg
from psycopg import errors, sql

from assets import columns, warehouse
from assets.columns import Table
from ingest_daemon.contract import alarm_ledger, latest_reading

DUCKDB_TYPES = {"text": "varchar", "double precision": "double"}

OF_OPS = {"latest_reading": latest_reading.COLUMNS, "alarm": alarm_ledger.COLUMNS}
"""The tables of schema `ops` that views select from, with their columns."""


def views() -> tuple[Table, ...]:
    """Every view that there is; its select has `{zone}` for the utility's zone."""
    return tuple(table for table in columns.tables().values() if table.path.parent.name == "serving")


def create_in_warehouse(connection: duckdb.DuckDBPyConnection, zone: str) -> None:
    """Make the views whose tables are there."""
    connection.execute("create schema if not exists ops").fetchall()
    for table, listed_columns in OF_OPS.items():
        listed = ", ".join(f"{name} {DUCKDB_TYPES.get(kind, kind)}" for name, kind in listed_columns.items())
        connection.execute(f"create table if not exists ops.{table} ({listed})").fetchall()
    for view in views():
        if all(warehouse.has_table(connection, dep) for dep in view.deps):
            warehouse.drop(connection, view.name, "table")  # of a version in which it was a mart
            connection.execute(f"create or replace view {view.name} as {view.query.format(zone=zone)}").fetchall()


def create_served(view: Table, zone: str, target: psycopg.Connection) -> None:
    """Make the view in PostgreSQL where its tables are there, in the transaction of `target`; others' views of it live on.

    It reads with the rights of who asks, so that the policies of its tables hold for it.
    """
    if any(target.execute("select to_regclass(%s)", [f"mart.{dep}"]).fetchone() == (None,) for dep in view.deps):
        return
    name = sql.Identifier("mart", view.name)
    kind = target.execute("select relkind = 'r' from pg_class where oid = to_regclass(%s)", [f"mart.{view.name}"]).fetchone()
    if kind == (True,):
        target.execute(sql.SQL("drop table {}").format(name))  # of a version in which it was a mart
    # The select names its tables without schema, as the warehouse has them.
    target.execute("set local search_path to mart")
    made = sql.SQL("create or replace view {} with (security_invoker = true) as ").format(name)
    target.execute(made + sql.SQL(view.query.format(zone=zone)))
    target.execute("set local search_path to default")


def functions() -> tuple[Table, ...]:
    """Every function that there is, each after those that it calls."""
    found = {table.name: table for table in columns.tables().values() if table.path.parent.name == "functions"}
    order = TopologicalSorter({name: sorted(found.keys() & function.deps) for name, function in sorted(found.items())})
    return tuple(found[name] for name in order.static_order())


def create_function(function: Table, target: psycopg.Connection) -> bool:
    """Make the function in PostgreSQL where all that it reads is there; False where something is not."""
    called = {other.name for other in functions()}
    for dep in function.deps:
        there = "to_regproc" if dep in called else "to_regclass"
        if target.execute(f"select {there}(%s)", [f"mart.{dep}"]).fetchone() == (None,):
            return False
    try:
        with target.transaction():
            target.execute(sql.SQL(function.query))
    except errors.InvalidFunctionDefinition:  # parameters or columns of another version
        target.execute(sql.SQL("drop function {}").format(sql.Identifier("mart", function.name)))
        target.execute(sql.SQL(function.query))
    return True

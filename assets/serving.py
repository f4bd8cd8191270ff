"""Views beside the marts: `sql/serving/<name>.sql`, one select for DuckDB and for PostgreSQL schema `mart`.

What depends on the present instant, or on what the daemon writes to schema `ops`, is a view and no mart: a mart gives the same
rows whenever it is made. In the warehouse `ops.latest_reading` is empty, so that a view shows the computed figures alone.
"""

import duckdb
import psycopg
from psycopg import sql

from assets import columns, warehouse
from assets.columns import Table
from ingest_daemon.contract.latest_reading import COLUMNS

DUCKDB_TYPES = {"text": "varchar", "double precision": "double"}


def views() -> tuple[Table, ...]:
    """Every view that there is; its select has `{zone}` for the utility's zone."""
    return tuple(table for table in columns.tables().values() if table.path.parent.name == "serving")


def create_in_warehouse(connection: duckdb.DuckDBPyConnection, zone: str) -> None:
    """Make the views whose tables are there."""
    listed = ", ".join(f"{name} {DUCKDB_TYPES.get(kind, kind)}" for name, kind in COLUMNS.items())
    connection.execute("create schema if not exists ops").fetchall()
    connection.execute(f"create table if not exists ops.latest_reading ({listed})").fetchall()
    for view in views():
        if all(warehouse.has_table(connection, dep) for dep in view.deps):
            warehouse.drop(connection, view.name, "table")  # of a version in which it was a mart
            connection.execute(f"create or replace view {view.name} as {view.query.format(zone=zone)}").fetchall()


def create_served(view: Table, zone: str, target: psycopg.Connection) -> None:
    """Make the view in PostgreSQL where its tables are there, in the transaction of `target`; others' views of it live on."""
    if any(target.execute("select to_regclass(%s)", [f"mart.{dep}"]).fetchone() == (None,) for dep in view.deps):
        return
    name = sql.Identifier("mart", view.name)
    kind = target.execute("select relkind = 'r' from pg_class where oid = to_regclass(%s)", [f"mart.{view.name}"]).fetchone()
    if kind == (True,):
        target.execute(sql.SQL("drop table {}").format(name))  # of a version in which it was a mart
    # The select names its tables without schema, as the warehouse has them.
    target.execute("set local search_path to mart")
    target.execute(sql.SQL("create or replace view {} as ").format(name) + sql.SQL(view.query.format(zone=zone)))
    target.execute("set local search_path to default")

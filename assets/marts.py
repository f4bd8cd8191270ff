"""The marts as `sql/marts/*.sql` describe them: header, order and how one partition of each is replaced in DuckDB.

A file is a YAML header in a `/* */` comment and one `select`. Discovery is by folder; the order follows `deps`. Which rows are
replaced follows `partitions`, a word of `assets.partitions`.
"""

import duckdb

from assets import columns
from assets.columns import Table
from assets.warehouse import columns_of


def all_marts() -> tuple[Table, ...]:
    """Every mart, by name. Raises `ValueError` naming a file whose header is wrong."""
    return tuple(table for table in columns.tables().values() if table.path.parent.name == "marts")


def build(mart: Table, warehouse: duckdb.DuckDBPyConnection, *, renew: bool = False) -> int:
    """Replace the mart's rows of the prepared partitions, in one transaction. Gives the number of rows written.

    `renew`: make the table anew, with the columns and types that its select has now.
    """
    order = ", ".join(mart.grain)
    warehouse.execute("begin").fetchall()
    try:
        if renew:
            warehouse.execute(f"drop table if exists {mart.name}").fetchall()
        warehouse.execute(f"create table if not exists {mart.name} as {mart.query} with no data").fetchall()
        columns.check(mart.name, [name for name, _ in columns_of(warehouse, mart.name)])
        warehouse.execute(f"delete from {mart.name} where {mart.partitioning.condition}").fetchall()
        ((written,),) = warehouse.execute(f"insert into {mart.name} by name {mart.query} order by {order}").fetchall()
        warehouse.execute("commit").fetchall()
    except (duckdb.Error, ValueError):
        warehouse.execute("rollback").fetchall()
        raise
    return int(written)

"""The marts as `sql/marts/*.sql` describe them: header, order and how one partition of each is replaced in DuckDB.

A file is a YAML header in a `/* */` comment and one `select`. Discovery is by folder; the order follows `deps`. Which rows are
replaced follows `partitions`, a word of `assets.partitions`.
"""

import duckdb

from assets import columns
from assets.columns import Table
from assets.warehouse import columns_of, transaction


def all_marts() -> tuple[Table, ...]:
    """Every mart, by name. Raises `ValueError` naming a file whose header is wrong."""
    return tuple(table for table in columns.tables().values() if table.path.parent.name == "marts")


def build(mart: Table, warehouse: duckdb.DuckDBPyConnection, *, renew: bool = False) -> int:
    """Replace the mart's rows of the prepared partitions, in one transaction. Gives the number of rows written.

    `renew`: make the table anew, with the columns and types that its select has now.
    """
    rows = f"{mart.query} order by {', '.join(mart.grain)}"
    there = columns_of(warehouse, mart.name)
    with transaction(warehouse):
        if renew or not there:
            warehouse.execute(f"create or replace table {mart.name} as {rows}").fetchall()
            there = columns_of(warehouse, mart.name)
            written = warehouse.execute(f"select count(*) from {mart.name}").fetchall()
        else:
            warehouse.execute(f"delete from {mart.name} where {mart.partitioning.condition}").fetchall()
            written = warehouse.execute(f"insert into {mart.name} by name {rows}").fetchall()
        columns.check(mart.name, [name for name, _ in there])
    return int(written[0][0])

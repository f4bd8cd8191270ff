"""The marts as `sql/marts/*.sql` describe them: header, order and how one partition of each is replaced in DuckDB.

A file is a YAML header in a `/* */` comment and one `select`. Discovery is by folder; the order follows `deps`. Which rows are
replaced follows `partitions`, a word of `assets.partitions`.
"""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import NamedTuple

import duckdb

from assets import columns
from assets.columns import Column
from assets.headers import SQL, read_header
from assets.partitions import PARTITIONINGS, Partitioning
from assets.warehouse import columns_of


class Mart(NamedTuple):
    """One mart: what a row is (`grain`), what it is made from, how it is partitioned, its select and its columns in order.

    `version`: a hash of what makes its rows.
    """

    name: str
    group: str
    zh: str
    description: str
    grain: tuple[str, ...]
    deps: tuple[str, ...]
    partitions: str
    query: str
    columns: Mapping[str, Column]
    version: str

    @property
    def partitioning(self) -> Partitioning:
        """How the table is cut."""
        return PARTITIONINGS[self.partitions]


@cache
def all_marts() -> tuple[Mart, ...]:
    """Every mart, by name. Raises `ValueError` naming a file whose header is wrong."""
    found = {}
    for path in sorted((SQL / "marts").glob("*.sql")):
        header, query = read_header(path)
        table = columns.read_table(path, header)
        found[table.name] = Mart(
            table.name,
            table.group,
            table.zh,
            table.description,
            table.grain,
            table.deps,
            table.partitions,
            query,
            table.columns,
            _version(query, table.partitions),
        )
    return tuple(found.values())


def _version(query: str, partitions: str) -> str:
    """A hash of the select without its comments and line breaks: only another formula is another version."""
    plain = " ".join(re.sub(r"--[^\n]*", "", query).split())
    return sha256(f"{partitions}\n{plain}".encode()).hexdigest()[:16]


def build(mart: Mart, warehouse: duckdb.DuckDBPyConnection, *, renew: bool = False) -> int:
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

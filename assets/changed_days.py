"""Days on which master data are others than they were when figures were made from them.

The figures of a customer follow from volumes and from which meters were its when. Where the second changes for days that are over
(a first card of billing, a `valid_from` in the past), no reading touches these days: they are noted here when the master data
are made, and forgotten when the figures are made and published.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

import duckdb

TABLE = "state.changed_days"

MEMBERSHIPS = MappingProxyType({"meter_history": ("meter", "customer_no", "source")})
"""By mart with `first_day` and `last_day`: what holds then."""

TOUCHED = ("touched_customer", "touched_rank")
"""Tables of touched partitions that hold these days."""

BEFORE = """
create or replace temp table held_before as
select {keys}, coalesce(first_day, date '0001-01-01') as first_day, coalesce(last_day, date '9999-12-30') as last_day
from {mart}"""

CHANGED = """
insert into {table}
with held as (select *, true as is_new from held_after union all select *, false from held_before),
others as (
    select {keys} from held group by {keys}, first_day, last_day having count(distinct is_new) = 1
),
own as (select * from held where ({keys}) in (select ({keys}) from others)),
cuts as (select {keys}, first_day as day from own union select {keys}, last_day + 1 from own),
pieces as (select {keys}, day as first_day, lead(day) over (partition by {keys} order by day) - 1 as last_day from cuts)
select distinct pieces.first_day, pieces.last_day
from pieces
join own on {joined} and own.first_day <= pieces.first_day and own.last_day >= pieces.last_day
group by {pieces}, pieces.first_day, pieces.last_day
having count(distinct is_new) = 1"""


def ensure(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table where it is absent."""
    connection.execute("create schema if not exists state").fetchall()
    connection.execute(f"create table if not exists {TABLE} (first_day date, last_day date)").fetchall()


@contextmanager
def noted(connection: duckdb.DuckDBPyConnection, mart: str) -> Iterator[None]:
    """Note the days on which other things hold than before the block, which makes the mart anew."""
    names = MEMBERSHIPS[mart]
    keys = ", ".join(f"coalesce({name}, '') as {name}" for name in names)
    connection.execute(BEFORE.format(keys=keys, mart=mart)).fetchall()
    yield
    connection.execute(BEFORE.format(keys=keys, mart=mart).replace("held_before", "held_after")).fetchall()
    connection.execute(
        CHANGED.format(
            table=TABLE,
            keys=", ".join(names),
            joined=" and ".join(f"own.{name} = pieces.{name}" for name in names),
            pieces=", ".join(f"pieces.{name}" for name in names),
        )
    ).fetchall()


def are_noted(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether there are such days."""
    return bool(connection.execute(f"select count(*) from {TABLE}").fetchall()[0][0])


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """All figures that follow from master data are made and published."""
    connection.execute(f"delete from {TABLE}").fetchall()

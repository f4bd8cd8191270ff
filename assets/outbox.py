"""What was made while no server took it: these steps and days go with the next publication."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import NamedTuple

import duckdb

from assets import warehouse


class Waiting(NamedTuple):
    """Steps whose tables wait for publication, of them those made anew as a whole, and the days."""

    made: frozenset[str]
    renewed: frozenset[str]
    days: tuple[date, ...]


NOTHING = Waiting(frozenset(), frozenset(), ())


def note(connection: duckdb.DuckDBPyConnection, made: Collection[str], renewed: Collection[str], days: Sequence[date]) -> None:
    """Let these steps and days wait."""
    connection.execute("create schema if not exists state").fetchall()
    connection.execute(
        "create table if not exists state.unpublished_step (name varchar primary key, is_renewed boolean)"
    ).fetchall()
    connection.execute("create table if not exists state.unpublished_day (day date primary key)").fetchall()
    connection.execute(
        "insert into state.unpublished_step select unnest($names), unnest($renewed) "
        "on conflict do update set is_renewed = unpublished_step.is_renewed or excluded.is_renewed",
        {"names": sorted(made), "renewed": [name in renewed for name in sorted(made)]},
    ).fetchall()
    connection.execute("insert or ignore into state.unpublished_day select unnest(?::date[])", [list(days)]).fetchall()


def waiting(connection: duckdb.DuckDBPyConnection) -> Waiting:
    """What waits."""
    if not warehouse.has_table(connection, "state.unpublished_step"):
        return NOTHING
    steps = connection.execute("select name, is_renewed from state.unpublished_step").fetchall()
    days = connection.execute("select day from state.unpublished_day order by day").fetchall()
    return Waiting(
        frozenset(name for name, _ in steps),
        frozenset(name for name, is_renewed in steps if is_renewed),
        tuple(day for (day,) in days),
    )


def clear(connection: duckdb.DuckDBPyConnection) -> None:
    """All is published."""
    if warehouse.has_table(connection, "state.unpublished_step"):
        connection.execute("delete from state.unpublished_step").fetchall()
        connection.execute("delete from state.unpublished_day").fetchall()

"""Rules that a person may change: criteria, holidays, time segments, the catalogue of meters.

    sql/rules/<name>.csv ──┐ shipped
    registry/<name>.csv ───┴─▶ registry.<name> ──▶ marts `criterion`, `calendar`, `time_segment`, `meter_catalogue`
                                               macro `criterion('name', day)`

A row of the site comes before the shipped one of the same key. A table whose rows a rule makes is made anew when the rule changes
(`version`).
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import date
from functools import cache
from types import MappingProxyType

import duckdb
import polars as pl

from assets import warehouse
from assets.registry import FILES, RULES, schema, typed_column
from ingest_daemon.contract.registry_schema import read_csv

REPLACED_BY = MappingProxyType(
    {
        "criteria": ("name", "valid_from"),
        "holidays": ("day",),
        "segments": ("kind",),
        "catalogue": ("standard", "technology", "class", "dn_mm"),
    }
)
"""By file: the columns in which a row of the site and the shipped rows that it replaces are equal."""

MART_OF = MappingProxyType({"holidays": "calendar", "segments": "time_segment", "catalogue": "meter_catalogue"})
"""The mart that shows a file whole; single criteria are asked for by name."""


@cache
def shipped(name: str) -> pl.DataFrame:
    """The rows of `sql/rules/<name>.csv`, typed as the site's file; columns that it lacks are text."""
    table = read_csv((RULES / f"{name}.csv").read_bytes())
    cells = {column: [row[place] or None for row in table.rows] for place, column in enumerate(table.columns)}
    text = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))
    own = schema(FILES[name])
    return text.with_columns(typed_column(pl.col(column), own[column]) for column in text.columns if column in own)


def completed(name: str, own: pl.DataFrame) -> pl.DataFrame:
    """The shipped rows of a file with the site's `own` before them; words and units of a criterion are the shipped ones."""
    rows = shipped(name)
    if name == "criteria":
        own = own.join(rows.select("name", "unit", "zh", "en"), on="name", how="left")
    rows = rows.with_columns(
        pl.lit(None, own.schema[column]).alias(column) for column in own.columns if column not in rows.columns
    )
    kept = rows.join(own, on=list(REPLACED_BY[name]), how="anti", nulls_equal=True)
    return pl.concat([own, kept.select(own.columns)]).sort(own.columns, nulls_last=False)


def lay(connection: duckdb.DuckDBPyConnection, own: dict[str, pl.DataFrame]) -> None:
    """Make `registry.<name>` of every file of rules, from the site's rows by file."""
    connection.execute("create schema if not exists registry").fetchall()
    for name in REPLACED_BY:
        warehouse.replace_all(connection, f"registry.{name}", completed(name, own[name]))


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """The shipped rules where no others are laid."""
    if not warehouse.has_table(connection, "registry.criteria"):
        lay(connection, {name: pl.DataFrame(schema=schema(FILES[name])) for name in REPLACED_BY})


def values(connection: duckdb.DuckDBPyConnection, criteria: Sequence[str], days: Sequence[date]) -> dict[date, tuple[float, ...]]:
    """The values of some criteria on each of the days."""
    columns = ", ".join(f"criterion('{name}', day)" for name in criteria)
    rows = connection.execute(f"select day, {columns} from (select unnest(?::date[]) as day)", [list(days)]).fetchall()
    return {day: tuple(found) for day, *found in rows}


def version(connection: duckdb.DuckDBPyConnection, criteria: Collection[str], deps: Collection[str]) -> str:
    """A hash of the rules that a table is made by: some criteria by name, and the files whose marts it is made from."""
    frames = []
    if criteria:
        held = warehouse.frame(connection, "select name, valid_from, value from registry.criteria")
        frames.append(held.filter(pl.col("name").is_in(list(criteria))).sort("name", "valid_from", nulls_last=False))
    frames += [warehouse.frame(connection, f"select * from registry.{file}") for file, mart in MART_OF.items() if mart in deps]
    return hashlib.sha256("".join(frame.write_csv() for frame in frames).encode()).hexdigest()[:16] if frames else ""

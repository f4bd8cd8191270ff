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
from ingest_daemon.contract.registry_files import FILES, RULES, schema, typed_column
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

MEMBERS = (
    "select count(*) as members, sum(cast(hash(meter, kind, code, valid_from, valid_to) as hugeint)) as hashed from relation"
)
"""Who belongs to what, whatever the order of the rows."""

SCOPED = " semi join time_segment on relation.kind = scope_kind and relation.code = scope_code"
"""Of tables that are cut by time segments only who has segments of its own matters."""


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


class Versions:
    """What tables are made by besides their formulas, as a connection has it: the zone, and the rules, which no run changes."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.zone = str(connection.execute("select current_setting('timezone')").fetchall()[0][0])
        criteria = "select name, valid_from, value from registry.criteria order by all"
        self._criteria = warehouse.frame(connection, criteria)
        self._files = {mart: _text(connection, f"select * from registry.{file}") for file, mart in MART_OF.items()}

    def of(self, criteria: Collection[str], deps: Collection[str]) -> str:
        """A hash of the rules that a table is made by: some criteria by name, files whose marts it is made from, relations."""
        texts = [text for mart, text in self._files.items() if mart in deps]
        if criteria:
            texts.insert(0, self._criteria.filter(pl.col("name").is_in(list(criteria))).write_csv())
        if "relation" in deps and warehouse.has_table(self._connection, "relation"):  # a run makes it anew
            is_cut = "time_segment" in deps and warehouse.has_table(self._connection, "time_segment")
            texts.append(_text(self._connection, MEMBERS + (SCOPED if is_cut else "")))
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:16] if texts else ""


def _text(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    return warehouse.frame(connection, query).write_csv()

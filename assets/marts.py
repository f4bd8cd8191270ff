"""The marts as `sql/marts/*.sql` describe them: header, order and how one partition of each is replaced in DuckDB.

A file is a YAML header in a `/* */` comment and one `select`. Discovery is by folder; the order follows `deps`. Which rows are
replaced follows `partitions`: `day`, `month`, `comparison` and `bill` are the keys of the temporary tables of `Partitions`,
`whole` replaces everything.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import yaml

from assets import calendar

SQL = Path(__file__).parent.parent / "sql"


class Mart(NamedTuple):
    """One mart: what a row is (`grain`), what it is made from, how it is partitioned, and its select."""

    name: str
    group: str
    zh: str
    description: str
    grain: tuple[str, ...]
    deps: tuple[str, ...]
    partitions: str
    query: str


PARTITION_KEYS = {
    "day": ("touched_day", "day", "day"),
    "month": ("touched_month", "month", "month"),
    "comparison": ("touched_period", "grain, period", "grain, period"),
    "peak": ("touched_peak", "grain, period", "grain, period"),
    "bill": ("touched_bill", "bill_no", "bill_no"),
}
"""For each way of partitioning: the temporary table, its key, and the mart's columns that must lie in it."""


def read_header(path: Path) -> tuple[dict[str, Any], str]:
    """The YAML header and the statement of a SQL file. Raises `ValueError` naming the file."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("/*") or "*/" not in text:
        raise ValueError(f"{path}: expected a YAML header in /* */ before the statement")
    header, statement = text[2:].split("*/", 1)
    return yaml.safe_load(header), statement.strip().rstrip(";")


@cache
def all_marts() -> tuple[Mart, ...]:
    """Every mart, each after those it is made from."""
    found = {}
    for path in sorted((SQL / "marts").glob("*.sql")):
        header, query = read_header(path)
        deps = tuple(header.get("deps", ()))
        found[path.stem] = Mart(
            path.stem,
            header["group"],
            header["zh"],
            header["description"],
            tuple(header["grain"]),
            deps,
            header["partitions"],
            query,
        )
    order = TopologicalSorter({name: set(mart.deps) & set(found) for name, mart in found.items()}).static_order()
    return tuple(found[name] for name in order)


class Partitions(NamedTuple):
    """The partitions that a set of touched local days leads to."""

    days: tuple[date, ...]
    zone: ZoneInfo

    @property
    def months(self) -> list[date]:
        """The months of the days."""
        return sorted({calendar.month_of(day) for day in self.days})

    @property
    def compared_days(self) -> list[date]:
        """The days whose comparison uses one of the days: itself, the next, and the same day a year later."""
        return sorted(
            {
                *self.days,
                *(day + timedelta(days=1) for day in self.days),
                *(later for day in self.days for later in calendar.years_after(day)),
            }
        )

    @property
    def compared_months(self) -> list[date]:
        """The months whose comparison uses one of the months: itself, the next, and the same a year later."""
        months = self.months
        return sorted(
            {
                *months,
                *(calendar.next_month(month) for month in months),
                *(month.replace(year=month.year + 1) for month in months),
            }
        )

    def prepare(self, warehouse: duckdb.DuckDBPyConnection) -> None:
        """Make the temporary tables that the selects join: `touched_day`, `touched_month`, `touched_period`, `touched_peak`."""
        day_frame = self._instants(self.days, lambda day: day + timedelta(days=1), "day")
        month_frame = self._instants(self.months, calendar.next_month, "month")
        peaks = _periods(self.days, [])
        periods = _periods(self.compared_days, self.compared_months)
        for name, frame in (
            ("touched_day", day_frame),
            ("touched_month", month_frame),
            ("touched_period", periods),
            ("touched_peak", peaks),
        ):
            warehouse.register("incoming", frame)
            warehouse.execute(f"create or replace temp table {name} as select * from incoming").fetchall()
            warehouse.unregister("incoming")

    def _instants(self, keys: Sequence[date], following: Any, name: str) -> pl.DataFrame:
        rows = [(key, calendar.midnight(key, self.zone), calendar.midnight(following(key), self.zone)) for key in keys]
        instant = pl.Datetime("us", "UTC")
        return pl.DataFrame(rows, schema={name: pl.Date, "starts_at": instant, "ends_at": instant}, orient="row")


def _periods(days: Iterable[date], months: Iterable[date]) -> pl.DataFrame:
    rows = [
        *(("day", day, day - timedelta(days=1), calendar.year_before(day)) for day in days),
        *(("month", month, calendar.previous_month(month), calendar.year_before(month)) for month in months),
    ]
    return pl.DataFrame(
        rows, schema={"grain": pl.String, "period": pl.Date, "previous": pl.Date, "last_year": pl.Date}, orient="row"
    )


def changed(warehouse: duckdb.DuckDBPyConnection) -> list[str]:
    """The marts whose select no longer gives the columns that their table has (a new version).

    The temporary tables of `Partitions` must be there.
    """
    query = (
        "select column_name, data_type from duckdb_columns() "
        "where database_name = 'marts' and schema_name = 'main' and table_name = ? order by column_index"
    )
    found = []
    for mart in all_marts():
        there = warehouse.execute(query, [mart.name]).fetchall()
        if there and there != _columns(mart, warehouse):
            found.append(mart.name)
    return found


def _columns(mart: Mart, warehouse: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Names and types that the mart's select gives; none where one that it is made from is absent or lacks a column."""
    try:
        return [(name, kind) for name, kind, *_ in warehouse.execute(f"describe {mart.query}").fetchall()]
    except (duckdb.BinderException, duckdb.CatalogException):
        return []


def build(mart: Mart, warehouse: duckdb.DuckDBPyConnection) -> int:
    """Replace the mart's rows of the prepared partitions, in one transaction. Gives the number of rows written."""
    warehouse.execute(f"create table if not exists {mart.name} as {mart.query} with no data").fetchall()
    warehouse.execute("begin").fetchall()
    try:
        if mart.partitions == "whole":
            warehouse.execute(f"delete from {mart.name}").fetchall()
        else:
            table, key, columns = PARTITION_KEYS[mart.partitions]
            warehouse.execute(f"delete from {mart.name} where ({columns}) in (select ({key}) from {table})").fetchall()
        (written,) = warehouse.execute(
            f"insert into {mart.name} by name {mart.query} order by {', '.join(mart.grain)}"
        ).fetchall()[0]
        warehouse.execute("commit").fetchall()
    except duckdb.Error:
        warehouse.execute("rollback").fetchall()
        raise
    return int(written)

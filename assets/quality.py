"""What is checked of what was made and of what was delivered.

Rules on a mart are `sql/checks/<mart>__<rule>.sql` (and the uniqueness of its grain): each selects the rows that break it, of the
run's partitions only. The contracts of delivered data are Great Expectations suites in `assets/contracts/<source>.json`. How a
figure is made, and when a check runs, is not here.
"""

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl

from assets import calendar, warehouse
from assets.columns import Table
from assets.marts import all_marts
from assets.workbench import Workbench
from ingest_daemon.contract.headers import SQL, read_header

SHOWN = 10
"""Offending rows that are kept as examples."""

SEVERITIES = ("fail", "warn")
"""`fail`: a figure contradicts itself, nothing built on it is made or published. `warn`: a person should look."""

CONTRACTS = Path(__file__).parent / "contracts"
READINGS, CUSTOMERS = "daily_readings", "billing_customer"
"""The sources that have a contract: the raw readings of a day, and the customers that billing delivered."""


class Rule(NamedTuple):
    """One rule on a table; `query` gives the rows that break it, `deps` are tables it reads besides those of the mart."""

    name: str
    zh: str
    description: str
    severity: str
    because: str
    deps: tuple[str, ...]
    query: str


class Finding(NamedTuple):
    """How a rule came out: how many rows break it and the first of them."""

    rule: Rule
    offending: int
    rows: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """One line that names the rule, how many rows break it and why that matters."""
        return f"{self.rule.zh} {self.rule.name}: {self.offending} × {self.rule.because}"

    @property
    def details(self) -> dict[str, Any]:
        """The rule and the first rows that break it, as JSON has them."""
        return {
            "rule": f"{self.rule.zh} / {self.rule.description}",
            "severity": self.rule.severity,
            "because": self.rule.because,
            "count": self.offending,
            "rows": [{name: _plain(value) for name, value in row.items()} for row in self.rows],
        }


@cache
def rules(table: str) -> tuple[Rule, ...]:
    """The rules of a table: its grain where it is a mart, then its files. Raises `ValueError` naming a wrong file."""
    grains = [_unique(mart) for mart in all_marts() if mart.name == table]
    return (*grains, *(_rule(path) for path in sorted((SQL / "checks").glob(f"{table}__*.sql"))))


def _rule(path: Path) -> Rule:
    header, query = read_header(path)
    if header["severity"] not in SEVERITIES:
        raise ValueError(f"{path}: severity is {header['severity']!r}, allowed: {', '.join(SEVERITIES)}")
    name, deps = path.stem.split("__", 1)[1], tuple(header.get("deps", ()))
    return Rule(name, header["zh"], header["description"], header["severity"], header["because"], deps, query)


def _unique(mart: Table) -> Rule:
    grain = ", ".join(mart.grain)
    query = (
        f"select {grain}, count(*) as times from {mart.name} where {mart.partitioning.condition} "
        f"group by {grain} having count(*) > 1"
    )
    because = "a row that is there twice is counted twice"
    return Rule("grain", "粒度唯一", f"One row for each {grain}.", "fail", because, (), query)


def examine(connection: duckdb.DuckDBPyConnection, table: str) -> list[Finding]:
    """Every rule of the table on the prepared partitions."""
    found = []
    for rule in rules(table):
        ((count,),) = connection.execute(f"select count(*) from ({rule.query})").fetchall()
        rows = connection.sql(f"select * from ({rule.query}) limit {SHOWN}").pl().to_dicts() if count else []
        found.append(Finding(rule, count, rows))
    return found


def _plain(value: Any) -> Any:
    """A value that JSON has: numbers that are none of its own, and times, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


VERDICT: dict[str, pl.DataType] = {
    "expectation": pl.String(),
    "success": pl.Boolean(),
    "unexpected_count": pl.Int64(),
    "element_count": pl.Int64(),
    "sample": pl.String(),
}
"""How an expectation came out. `element_count` is the number of values looked at, or of rows where rows are counted."""


def judge(source: str, delivered: pl.DataFrame, parameters: Mapping[str, Any]) -> pl.DataFrame:
    """Hold delivered rows against the contract of their source; a `VERDICT` row for each expectation.

    `parameters` fill the contract's `$PARAMETER` places. The import takes seconds, so it is made only here.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

    contract = json.loads((CONTRACTS / f"{source}.json").read_text(encoding="utf-8"))
    # Without a place for documents, which would be a temporary folder left behind by every run.
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    quiet = ProgressBarsConfig(globally=False, metric_calculations=False)
    config = DataContextConfig(store_backend_defaults=stores, progress_bars=quiet, analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas(source).add_dataframe_asset(source)
    batch = asset.add_batch_definition_whole_dataframe("delivered").get_batch({"dataframe": delivered.to_pandas()})
    suite = gx.ExpectationSuite(name=contract["name"], expectations=contract["expectations"])
    validated = batch.validate(suite, expectation_parameters=dict(parameters))
    rows = []
    for outcome in validated.results:
        said = outcome.result
        elements = said.get("element_count", said.get("observed_value"))
        sample = ", ".join(str(value) for value in said.get("partial_unexpected_list", [])[:SHOWN])
        if not isinstance(elements, int):
            # An expectation on the table itself shows what it saw: the columns, say.
            elements, sample = None, str(elements or "")
        assert outcome.expectation_config is not None
        name = outcome.expectation_config.meta["name"]
        rows.append((name, bool(outcome.success), said.get("unexpected_count"), elements, sample))
    return pl.DataFrame(rows, schema=VERDICT, orient="row").sort("expectation")


def judge_readings(connection: duckdb.DuckDBPyConnection, bench: Workbench, day: date) -> pl.DataFrame:
    """The raw readings of a local day against their contract; see `judge`. Raises `StoreAway`."""
    starts, ends = (calendar.midnight(day + timedelta(days=offset), bench.zone) for offset in (0, 1))
    known = connection.sql("select terminal, meter from registry.terminals").pl()
    readings = bench.store.read(starts, ends).filter(pl.col("ts") > starts).join(known, on="terminal", how="left")
    installed = "coalesce(installed_on <= $day, true) and coalesce(removed_on > $day, true)"
    query = f"select coalesce(sum($minutes / step_min), 0) from registry.terminals where {installed}"
    (expected,) = connection.execute(query, {"minutes": (ends - starts) / timedelta(minutes=1), "day": day}).fetchall()[0]
    share = json.loads((CONTRACTS / f"{READINGS}.json").read_text(encoding="utf-8"))["least_share"]
    parameters = {"earliest": starts - bench.max_hole, "latest": ends + bench.max_hole, "least_rows": math.ceil(share * expected)}
    return judge(READINGS, readings.select("meter", "ts", "forward_m3", "pressure_mpa"), parameters)


def judge_customers(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The customers that billing delivered against their contract; see `judge`."""
    delivered = connection.sql("select customer_no, name, cast(updated_at as timestamp) as updated_at from billing.customer").pl()
    return judge(CUSTOMERS, delivered, {"latest": datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)})


def keep(connection: duckdb.DuckDBPyConnection, run_id: str, source: str, day: date, verdict: pl.DataFrame) -> None:
    """Put the verdict on a source's day in place of an earlier one in `expectation_result`."""
    rows = verdict.select(pl.lit(run_id).alias("run_id"), pl.lit(source).alias("source"), pl.lit(day).alias("day"), *VERDICT)
    if warehouse.has_table(connection, "expectation_result"):
        connection.execute("delete from expectation_result where source = ? and day = ?", [source, day]).fetchall()
    warehouse.append(connection, "expectation_result", rows)

"""A site that a case of the figures acts on: registry files, readings, a billing database, runs, and tables to look at.

Two entrances with the same steps: `FigureSite` calls what the commands call, `CommandSite` types the commands.
"""

import csv
import io
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyodbc  # type: ignore[import-not-found]
import pytest

from assets import reports, tables
from assets.workbench import Workbench
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines import site_folder
from pipelines.runs.export import export_report
from pipelines.runs.run import Outcome, run_days, run_sync, run_touched
from tests.chain import mainflow

HOLE = timedelta(hours=2)
ODBC_DRIVER = "SQLite3"

BILLING = """
create table customer (customer_no text, name text, industry text, region text, address text, updated_at text);
create table meter_card (meter_no text, customer_no text, dn_mm integer, book_no text, installed_on text, removed_on text,
    updated_at text);
create table meter_read (read_id text, meter_no text, read_at text, register_m3 text, kind text, updated_at text);
create table bill (bill_no text, customer_no text, meter_no text, period_start text, period_end text, billed_m3 text,
    water_charge text, drainage_charge text, amount text, status text, updated_at text);
create table payment (payment_id text, bill_no text, customer_no text, paid_on text, amount text, updated_at text);
"""
"""A billing database in which every column takes any text."""

TERMINAL = {
    "terminal": "0000000001",
    "meter": "M1",
    "customer_no": "C1",
    "protocol": "sl651",
    "dn_mm": "100",
    "technology": "ultrasonic",
    "q1_m3h": "1",
    "q2_m3h": "1.6",
    "q3_m3h": "100",
    "q4_m3h": "125",
    "digits": "7",
    "resolution_m3": "0.1",
    "step_min": "60",
    "reads": "register",
    "pressure_low_mpa": "",
    "pressure_high_mpa": "",
    "installed_on": "2020-01-01",
    "removed_on": "",
}

READINGS_AND_BILLS = (
    *("hourly_usage", "daily_usage", "monthly_usage", "data_quality", "latest_figures", "peak_valley", "usage_comparison"),
    *("meter", "relation", "customer", "reconciliation"),
)
"""What readings, registry and bills lead to first."""

POINTS = (*READINGS_AND_BILLS, "customer_usage", "usage_rank", "major_customer", "registry_gap")
"""What points and their customers lead to as well."""


@contextmanager
def only(names: Collection[str]) -> Iterator[None]:
    """Let a run make these tables and what they are made from, as if there were no others: a third of the time."""
    every = tables.steps
    of = {step.name: step for step in every()}
    wanted, found = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in of and name not in found:
            found.add(name)
            wanted += tables.needed_by(of[name])
    chosen = tuple(step for step in every() if step.name in found)
    tables.steps = lambda: chosen  # type: ignore[assignment]
    try:
        yield
    finally:
        tables.steps = every


class FigureSite:
    """A site of its own folder, without processes; the steps are what the commands call.

    `looked_at`: the tables that runs make, with what they are made from.
    """

    def __init__(
        self,
        root: Path,
        zone: str = "Asia/Shanghai",
        serving_dsn: str | None = None,
        looked_at: Collection[str] = READINGS_AND_BILLS,
    ) -> None:
        self._looked_at = looked_at
        self.site: Site = site_folder.create(root, "embedded", {"site": {"zone": zone}})
        self.zone = ZoneInfo(zone)
        self._billing: sqlite3.Connection | None = None
        self._dsn = serving_dsn
        for name in ("replacements", "customers", "relations", "vocabulary", "points", "limits"):
            path = self.site.registry / f"{name}.csv"
            path.write_text(path.read_text(encoding="utf-8-sig").splitlines()[0] + "\n", encoding="utf-8")

    @property
    def bench(self) -> Workbench:
        return Workbench(
            self.site, "", self.zone, HOLE, ParquetStore(self.site.raw), lambda: self._dsn, self.billing_connection, 7
        )

    @property
    def billing_connection(self) -> str:
        return f"DRIVER={ODBC_DRIVER};Database={self.site.root / 'billing.db'}" if self._billing else ""

    def write(self, name: str, content: bytes | str) -> None:
        """Put `registry/<name>.csv` in place, as a person saves it."""
        data = content.encode() if isinstance(content, str) else content
        (self.site.registry / f"{name}.csv").write_bytes(data)

    def register(self, *changes: dict[str, str]) -> None:
        """`terminals.csv` with one row for each of the changes to `TERMINAL`."""
        rows = [{**TERMINAL, **change} for change in changes or ({},)]
        self.write("terminals", csv_text(list(dict.fromkeys(key for row in rows for key in row)), rows))

    def replace(self, *rows: dict[str, str]) -> None:
        """`replacements.csv` of meter M1 with these rows."""
        columns = ["meter", "replaced_at", "replaced_on", "old_final_m3", "new_initial_m3"]
        self.write("replacements", csv_text(columns, [{"meter": "M1", **row} for row in rows]))

    def bill(self, script: str) -> None:
        """Run SQL as the owner of the billing database; the first makes it."""
        if ODBC_DRIVER not in pyodbc.drivers():
            pytest.skip(f"no ODBC driver {ODBC_DRIVER!r} (Debian: apt-get install libsqliteodbc)")
        if self._billing is None:
            self._billing = sqlite3.connect(self.site.root / "billing.db", isolation_level=None)
        self._billing.executescript(script)

    def close(self) -> None:
        if self._billing is not None:
            self._billing.close()

    def send(self, readings: pl.DataFrame) -> None:
        """Store readings: `meter_id`, `ts` (UTC), `total_m3` and/or `flow_m3h`."""
        terminals = pl.read_csv(self.site.registry / "terminals.csv", infer_schema=False)
        numbers = dict(terminals.select("meter", "terminal").iter_rows())
        self.store(readings.with_columns(terminal=pl.col("meter_id").replace_strict(numbers)))

    def store(self, readings: pl.DataFrame) -> None:
        """Store readings of terminals: `terminal`, `ts` (UTC), `total_m3` and/or other columns of a reading."""
        rows = readings.rename({"total_m3": "forward_m3"}, strict=False).with_columns(
            received_at=pl.lit(datetime.now(UTC)), channel=pl.lit("tcp"), stream=pl.lit("data")
        )
        rows = rows.with_columns(frame=pl.int_range(pl.len()))
        refused = self.bench.store.write(
            rows.select(
                (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in READING.items()
            )
        )
        assert refused.is_empty()

    def run(self, days: Sequence[date] = ()) -> Outcome:
        with only(self._looked_at):
            return run_days(self.bench, list(days), "test") if days else run_touched(self.bench, "test")

    def sync(self) -> dict[str, int]:
        with only(self._looked_at):
            return run_sync(self.bench, "test")

    def export(self, report: str, first: date, last: date) -> list[reports.Issued]:
        return export_report(self.bench, report, (first, last))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a select gives of the site's marts."""
        with duckdb.connect() as connection:
            connection.execute(f"attach '{self.site.marts}' as marts (read_only)").fetchall()
            connection.execute("use marts").fetchall()
            connection.execute(f"set timezone = '{self.zone}'").fetchall()
            return connection.execute(query).fetchall()

    def values(self, query: str) -> list[Any]:
        """The first column of a select."""
        return [row[0] for row in self.rows(query)]

    def volumes(self, meter: str = "M1") -> dict[str, float | None]:
        """The volume of each day of a meter that has a row (m³, to a litre of a litre)."""
        query = f"select strftime(day, '%m-%d'), round(volume_m3, 6) from daily_usage where meter = '{meter}' order by day"
        return dict(self.rows(query))  # type: ignore[arg-type]


class CommandSite(FigureSite):
    """The same with the installed command, a daemon for each upload and PostgreSQL for each run."""

    def _command(self, *arguments: object) -> None:
        environment = {"MAINFLOW_BILLING_CONNECTION": self.billing_connection} if self._billing else {}
        name, *others = arguments
        mainflow(name, "--site", self.site.root, *others, environment=environment)

    def send(self, readings: pl.DataFrame, register: Path | None = None) -> None:
        path = self.site.root / "readings.parquet"
        readings.write_parquet(path)
        self._command("send", path, *(["--register", register] if register else []))

    def run(self, days: Sequence[date] = ()) -> Outcome:
        self._command("run", *(["--days", f"{days[0]}..{days[-1]}"] if days else []))
        return Outcome(list(days), 0, 0, 0, "", {})

    def sync(self) -> dict[str, int]:
        self._command("sync")
        return {}

    def export(self, report: str, first: date, last: date) -> list[reports.Issued]:
        self._command("export", report, "--days", f"{first}..{last}")
        return []


def csv_text(columns: Sequence[str], rows: Iterable[dict[str, str]]) -> str:
    """A CSV file with a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def readings(times: Sequence[datetime], totals: Sequence[float | None], terminal: str = "0000000001") -> pl.DataFrame:
    """Register readings of a terminal."""
    frame = pl.DataFrame({"ts": list(times), "total_m3": list(totals)}, schema_overrides={"total_m3": pl.Float64})
    return frame.with_columns(pl.col("ts").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC")), terminal=pl.lit(terminal))

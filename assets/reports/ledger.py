"""`report_ledger`: every file that was issued, with its checksum, its run and what the figures knew; a row does not change."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from assets import warehouse

State = Literal["intact", "changed", "missing"]
"""Of an issued file, against its checksum."""

COLUMNS = {
    "report": "varchar",
    "period": "varchar",
    "file": "varchar",
    "sha256": "varchar",
    "rows": "bigint",
    "run_id": "varchar",
    "exported_at": "timestamptz",
    "edition": "integer",
    "figures_sha256": "varchar",
    "known_until": "timestamptz",
    "code_version": "varchar",
}


class NothingToReport(ValueError):
    """No figure is made yet."""


class Issued(NamedTuple):
    """A written file: report, period (`first…last`), file, SHA-256 of its bytes, data rows, run shown on it, edition, SHA-256 of
    its figures, the newest arrival that the figures know, and the version of the program and of the report's selects."""

    report: str
    period: str
    file: Path
    sha256: str
    rows: int
    run_id: str
    edition: int
    figures_sha256: str
    known_until: datetime | None = None
    code_version: str = ""

    @property
    def state(self) -> State:
        """Whether the file is as it was issued."""
        if not self.file.exists():
            return "missing"
        return "intact" if checksum(self.file) == self.sha256 else "changed"


class Figures(NamedTuple):
    """What the figures are made of: first and newest day that has one, the last run, and the newest arrival that it knew."""

    first_day: date
    newest_day: date
    run_id: str
    known_until: datetime | None


def checksum(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    return sha256(file.read_bytes()).hexdigest()


def code_version(selects: str) -> str:
    """The version of the program, and of a report's selects."""
    return f"{version('mainflow')}+{selects}"


def newest(connection: duckdb.DuckDBPyConnection) -> Figures | None:
    """The state of the figures; None before the first run."""
    if not all(warehouse.has_table(connection, name) for name in ("daily_usage", "run_ledger")):
        return None
    days = connection.execute("select min(day), max(day) from daily_usage where volume_m3 is not null").fetchall()
    (run_id,) = connection.execute("select arg_max(run_id, finished_at) from run_ledger").fetchall()[0]
    arrived = None
    if warehouse.has_table(connection, "latest_figures"):
        ((arrived,),) = connection.execute("select max(received_at) from latest_figures").fetchall()
    first_day, newest_day = days[0]
    return Figures(first_day, newest_day, run_id, arrived) if newest_day else None


def ensure(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `report_ledger` where it is absent; a row of an earlier version is of the first edition."""
    listed = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"create table if not exists report_ledger ({listed})").fetchall()
    for name, default in (("edition", "1"), ("figures_sha256", "''"), ("known_until", "null"), ("code_version", "''")):
        statement = f"alter table report_ledger add column if not exists {name} {COLUMNS[name]} default {default}"
        connection.execute(statement).fetchall()


def record(connection: duckdb.DuckDBPyConnection, reports: Iterable[Issued]) -> None:
    """Note the files, each once: a file that was issued does not change."""
    ensure(connection)
    for report in reports:
        row = {**report._asdict(), "file": str(report.file), "exported_at": datetime.now(UTC)}
        connection.execute(
            f"insert into report_ledger by name select {', '.join(f'${name} as {name}' for name in row)} "
            "where not exists (select 1 from report_ledger where file = $file)",
            row,
        ).fetchall()


def issued(connection: duckdb.DuckDBPyConnection, report: str = "", period: str = "") -> list[Issued]:
    """The files of the ledger, the newest first; of one report, of one period."""
    ensure(connection)
    rows = connection.execute(
        f"select {', '.join(Issued._fields)} from report_ledger where $report in ('', report) and $period in ('', period) "
        "order by exported_at desc, edition desc, file desc",
        {"report": report, "period": period},
    ).fetchall()
    named = (dict(zip(Issued._fields, row, strict=True)) for row in rows)
    return [Issued(**{**row, "file": Path(row["file"])}) for row in named]

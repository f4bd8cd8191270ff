"""What was issued stays: a report's files are written once and read only.

Where the figures are others by now, the next export is a further edition beside the issued one: workbook and CSV name the edition
that they restate, and the workbook lists the cells that changed. The same figures give the same bytes.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import polars.selectors as cs
import psycopg

from assets import register_differences, serving
from assets.reports import ledger
from assets.reports.definition import Across, Definition, Sheet, definition, usual_days
from assets.reports.layouts import WORDS, Band, Look, Page, laid_out
from assets.reports.ledger import Issued, NothingToReport
from assets.reports.writing import Paper, workbook
from assets.warehouse import frame
from assets.workbench import Workbench
from ingest_daemon.contract import alarm_ledger, formulas
from ingest_daemon.contract.files import replace_file

FORMULA = "^[" + "".join(formulas.SIGNS).replace("-", r"\-") + "]"
"""A text that a spreadsheet takes for a formula."""
HARMLESS = pl.col(pl.String).str.replace(FORMULA, "'$0")
"""Texts so that a spreadsheet takes none for a formula."""

READ_ONLY = 0o440

Rows = dict[str, pl.DataFrame]
"""The rows of each sheet by its name."""


class Figures(NamedTuple):
    """What a report shows: the rows of its sheets, and the register's differences over the days."""

    rows: Rows
    register: pl.DataFrame

    def sha256(self, report: Definition) -> str:
        """Of all that is shown."""
        data = b"".join(_csv(sheet, self.rows[sheet.name]) for sheet in report.sheets)
        return sha256(data + self.register.write_csv().encode()).hexdigest()


def make(name: str, days: tuple[date, date] | None, bench: Workbench, warehouse: duckdb.DuckDBPyConnection) -> list[Issued]:
    """Write the report's files into the site's reports and note them in the ledger. Raises `ValueError`.

    `days`: first and last day; None: see `definition.usual_days`.
    """
    known = ledger.newest(warehouse)
    if known is None:
        raise NothingToReport("nothing is computed yet, so there is nothing to report; compute with: mainflow run")
    report = definition(name)
    first_day, last_day = days or usual_days(report.period, known.first_day, known.newest_day)
    with_alarms = alarms_of(report, bench)
    written = export(
        name,
        first_day,
        last_day,
        warehouse=warehouse,
        folder=bench.site.reports,
        utility=bench.utility,
        language=bench.language,
        run_id=known.run_id,
        zone=bench.zone,
        alarms=with_alarms,
    )
    written = [file._replace(known_until=known.known_until) for file in written]
    ledger.record(warehouse, written)
    return written


def export(
    name: str,
    first_day: date,
    last_day: date,
    *,
    warehouse: duckdb.DuckDBPyConnection,
    folder: Path,
    utility: str,
    language: str,
    run_id: str,
    zone: ZoneInfo,
    alarms: Sequence[tuple[object, ...]] = (),
) -> list[Issued]:
    """Write the report's XLSX and CSV for the local days first..last into `folder` (made if absent), each whole or not at all.

    `language`: `zh` or `en`, of the workbook; the CSV has the names of the columns. `alarms`: see `alarms_of`.

    Where the last edition has the same figures, gives its files and writes none. Raises `ValueError` where the report is unknown,
    the days are in the wrong order or a worksheet is too small for the rows.
    """
    report = definition(name)
    found = figures(report, first_day, last_day, warehouse=warehouse, language=language, zone=zone, alarms=alarms)
    folder.mkdir(parents=True, exist_ok=True)
    hashed = found.sha256(report)
    period, days = f"{first_day}…{last_day}", f"{first_day}_{last_day}"
    last = _last_edition(warehouse, report, period, folder, days)
    is_same = last.edition > 0 and (last.figures_sha256 == hashed or _is_in_files(report, found.rows, folder, days, last.edition))
    edition = last.edition if is_same else last.edition + 1
    shown_run = last.run_id if is_same and last.run_id else run_id
    before = read_edition(report, folder, days, edition - 1)
    words = WORDS[language]
    note = words.edition.format(edition, edition - 1) if edition > 1 else ""

    def make_workbook() -> bytes:
        pages = [
            laid_out(report, sheet, found.rows[sheet.name], found.register, (first_day, last_day), language, note)
            for sheet in report.sheets
        ]
        for sheet in report.sheets:
            if edition > 1 and sheet.name in before:
                changed = changes(sheet, before[sheet.name], found.rows[sheet.name])
                pages.append(_changes_page(sheet, changed, language, note, len(report.sheets) > 1))
        foot = f"{words.run} {run_id_of(shown_run)}  {note}".strip()
        return workbook(
            pages, Paper(utility, report.titles[language], f"{first_day} – {last_day}", foot, words.page, shown_run, last_day)
        )

    parts: list[tuple[Path, int, Callable[[], bytes]]] = [
        (_file(folder, sheet.name, days, edition, ".csv"), rows.height, partial(_csv, sheet, rows, edition))
        for sheet in report.sheets
        for rows in [found.rows[sheet.name]]
    ]
    # The CSVs first: an export that was cut off is taken up again by what they have.
    parts.append((_file(folder, name, days, edition, ".xlsx"), _printed_rows(report, found.rows), make_workbook))
    written = []
    for file, count, make_file in parts:
        if not file.exists():
            replace_file(file, [make_file()])
            file.chmod(READ_ONLY)
        written.append(
            Issued(
                name,
                period,
                file,
                ledger.checksum(file),
                count,
                shown_run,
                edition,
                hashed,
                None,
                ledger.code_version(report.version),
            )
        )
    return [written[-1], *written[:-1]]


def run_id_of(run_id: str) -> str:
    """A run on paper."""
    return run_id[:40]


def figures(
    report: Definition,
    first_day: date,
    last_day: date,
    *,
    warehouse: duckdb.DuckDBPyConnection,
    language: str,
    zone: ZoneInfo,
    alarms: Sequence[tuple[object, ...]] = (),
) -> Figures:
    """What the report shows now. Raises `ValueError` where the days are in the wrong order."""
    if first_day > last_day:
        raise ValueError(f"report {report.name}: the first day {first_day} is after the last day {last_day}")
    given = {"first_day": first_day, "last_day": last_day, "language": language}
    if shows_alarms(report):
        serving.create_in_warehouse(warehouse, str(zone))
    warehouse.execute("begin").fetchall()
    try:
        if alarms:
            marks = ", ".join("?" for _ in alarm_ledger.COLUMNS)
            warehouse.executemany(f"insert into ops.alarm ({', '.join(alarm_ledger.COLUMNS)}) values ({marks})", list(alarms))
        rows = {}
        for sheet in report.sheets:
            params = {name: value for name, value in given.items() if re.search(rf"\${name}\b", sheet.query)}
            found = warehouse.sql(sheet.query, params=params).pl().rechunk()
            rows[sheet.name] = found.with_columns(
                cs.datetime(time_zone="*").dt.convert_time_zone(str(zone)), cs.decimal().cast(pl.Float64)
            ).with_columns(pl.when(cs.float().is_finite()).then(cs.float()))
    finally:
        warehouse.execute("rollback").fetchall()
    has_totals = any(isinstance(sheet.layout, Across) for sheet in report.sheets)
    return Figures(rows, _register_totals(warehouse, first_day, last_day, zone) if has_totals else NO_TOTALS)


def shows_alarms(report: Definition) -> bool:
    """Whether it selects from views of schema `ops`."""
    return not {"alarm", "alarm_statistics"}.isdisjoint(report.deps)


def alarms_of(report: Definition, bench: Workbench) -> list[tuple[object, ...]]:
    """The alarms of PostgreSQL where the report shows some: in the warehouse `ops.alarm` is empty. Raises `NothingToReport`."""
    if not shows_alarms(report):
        return []
    dsn = bench.serving_dsn()
    if dsn is None:
        raise NothingToReport(
            f"report {report.name} shows alarms, which are in PostgreSQL, and it does not run; start: mainflow up"
        )
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"select {', '.join(alarm_ledger.COLUMNS)} from ops.alarm order by alarm_id").fetchall()


NO_TOTALS = pl.DataFrame(schema={"meter": pl.String, "total": pl.Float64})


def _register_totals(warehouse: duckdb.DuckDBPyConnection, first_day: date, last_day: date, zone: ZoneInfo) -> pl.DataFrame:
    """`meter`, `total`: the difference of the register over the days, of the meters of which it is known at both ends."""
    days = frame(
        warehouse,
        f"select {register_differences.REGISTER_DAY} from unit_day "
        f"where day between '{first_day}' and '{last_day}' order by meter, day",
    )
    span = days.select(key=pl.lit(""), meter="meter", first=pl.lit(first_day), end=pl.lit(last_day + timedelta(days=1))).unique(
        maintain_order=True
    )
    found = register_differences.period_volumes(warehouse, days, span, zone)
    return found.drop_nulls().select("meter", total="volume_m3").sort("meter")


def _printed_rows(report: Definition, rows: Rows) -> int:
    """Rows of the first sheet."""
    first = report.sheets[0]
    own = rows[first.name]
    return own.select(first.layout.lead).n_unique() if isinstance(first.layout, Across) else own.height


# --- CSV and editions ---------------------------------------------------------------------------------------------------------


def _csv(sheet: Sheet, rows: pl.DataFrame, edition: int = 1) -> bytes:
    """The rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    shown = rows.select(sheet.csv).with_columns(HARMLESS, cs.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%:z"))
    if edition > 1:
        shown = shown.with_columns(edition=pl.lit(edition), restates_edition=pl.lit(edition - 1))
    return shown.write_csv(include_bom=True).encode()


def _file(folder: Path, name: str, days: str, edition: int, suffix: str) -> Path:
    return folder / f"{name}_{days}{f'_edition-{edition}' if edition > 1 else ''}{suffix}"


class _Last(NamedTuple):
    """The last edition of a report: its number (0: none), and what the ledger has of it (empty: nothing)."""

    edition: int
    figures_sha256: str
    run_id: str


def _last_edition(warehouse: duckdb.DuckDBPyConnection, report: Definition, period: str, folder: Path, days: str) -> _Last:
    """By the ledger, or by the files where these are more: a file that is there may have been sent."""
    noted = max(ledger.issued(warehouse, report.name, period), key=lambda file: file.edition, default=None)
    stem = re.escape(f"{report.name}_{days}")
    found = (re.fullmatch(rf"{stem}(?:_edition-(\d+))?\.csv", file.name) for file in folder.glob(f"{report.name}_{days}*.csv"))
    there = max((int(match[1] or 1) for match in found if match), default=0)
    last = _Last(noted.edition, noted.figures_sha256, noted.run_id) if noted else _Last(0, "", "")
    return _Last(there, "", "") if there > last.edition else last


def _is_in_files(report: Definition, rows: Rows, folder: Path, days: str, edition: int) -> bool:
    """Whether the CSVs of an edition have the rows."""
    files = {sheet.name: _file(folder, sheet.name, days, edition, ".csv") for sheet in report.sheets}
    return all(
        files[sheet.name].exists() and files[sheet.name].read_bytes() == _csv(sheet, rows[sheet.name], edition)
        for sheet in report.sheets
    )


def read_edition(report: Definition, folder: Path, days: str, edition: int) -> Rows:
    """The rows of an issued edition as text, of the sheets whose CSV is there; `days` as in the files' names."""
    files = {sheet.name: _file(folder, sheet.name, days, edition, ".csv") for sheet in report.sheets}
    return {name: pl.read_csv(file, infer_schema=False) for name, file in files.items() if edition > 0 and file.exists()}


def changes(sheet: Sheet, before: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The cells that are others than in the edition `before` (as text): the grain, `column`, and both values."""
    now = pl.read_csv(BytesIO(_csv(sheet, rows)), infer_schema=False)
    key = list(sheet.grain)
    compared = [name for name in sheet.csv if name not in key and name in before.columns]
    old, new = (table.select(*key, *compared).unpivot(index=key, variable_name="column") for table in (before, now))
    both = old.join(new, on=[*key, "column"], how="full", coalesce=True, nulls_equal=True)
    changed = both.filter(pl.col("value").ne_missing(pl.col("value_right"))).sort(*key, "column")
    return changed.select(*key, "column", before="value", now="value_right")


def _changes_page(sheet: Sheet, changed: pl.DataFrame, language: str, note: str, is_named: bool) -> Page:
    words = WORDS[language]
    headings = [*(sheet.columns[name].column.heading(language) for name in sheet.grain), *words.change_headings]
    looks = [Look(heading, 16, "", "@", "@") for heading in headings]
    title = f"{words.changes} {sheet.titles[language]}" if is_named else words.changes
    return Page(title, note, looks, [Band(changed, pl.DataFrame(), [])], len(sheet.grain))


class Restatement(NamedTuple):
    """What an edition would be now: its workbook, and by sheet the cells that are others; see `changes`."""

    issued: Issued
    changed: dict[str, pl.DataFrame]

    @property
    def cells(self) -> int:
        """The number of changed cells."""
        return sum(changed.height for changed in self.changed.values())


def restatement(name: str, days: tuple[date, date] | None, bench: Workbench, warehouse: duckdb.DuckDBPyConnection) -> Restatement:
    """The newest edition (of the days, or of all) against the figures now. Raises `ValueError` where there is none."""
    report = definition(name)
    period = "…".join(map(str, days)) if days else ""
    found = [file for file in ledger.issued(warehouse, name, period) if file.file.suffix == ".xlsx"]
    if not found:
        raise ValueError(
            f"report {name}: nothing was issued{f' for {period}' if period else ''}; issue it with: mainflow reports issue"
        )
    first, last = (date.fromisoformat(day) for day in found[0].period.split("…"))
    now = figures(
        report, first, last, warehouse=warehouse, language=bench.language, zone=bench.zone, alarms=alarms_of(report, bench)
    )
    before = read_edition(report, found[0].file.parent, f"{first}_{last}", found[0].edition)
    if absent := [sheet.name for sheet in report.sheets if sheet.name not in before]:
        raise ValueError(f"report {name}: the CSV of {', '.join(absent)} is not in {found[0].file.parent} any more")
    changed = {sheet.name: changes(sheet, before[sheet.name], now.rows[sheet.name]) for sheet in report.sheets}
    return Restatement(found[0], changed)

"""Reports as files: each `sql/reports/<name>.sql` becomes a workbook to print and a CSV to compute with.

The select gives one row a meter and day; its header names the columns, their headings and formats, and how the workbook turns
them: rows of `sheet.lead`, one column for each day. The same figures give the same bytes, whenever they are written.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import xlsxwriter

from assets import calendar
from assets.marts import SQL, read_header
from ingest_daemon.contract.files import replace_file

A4 = 9
HEADINGS_ROW = 2
MOST_ROWS = 1_048_576 - HEADINGS_ROW - 2
"""Rows that a worksheet takes below the headings, its totals aside."""

TOTAL, DAYS_COMPLETE, COVERAGE, ALL_METERS = "合计", "完整天数", "覆盖率", "总计"
LEGEND = "灰色斜体：当日数据不完整；空白：无数据 / grey italics: day incomplete; blank: no data"
INCOMPLETE = {"italic": True, "font_color": "#7f7f7f"}


class Report(NamedTuple):
    """A written file for the ledger: report, period (`first…last`), file, SHA-256 of its bytes, data rows, run shown on it."""

    report: str
    period: str
    file: Path
    sha256: str
    rows: int
    run_id: str


class Sheet(NamedTuple):
    """Which columns of the select become what: `lead` the first columns, `across` the day of each further one, with its
    `value`, its `coverage` (0 to 1) and whether it is `complete`."""

    lead: Sequence[str]
    across: str
    value: str
    coverage: str
    complete: str


class Definition(NamedTuple):
    """A report as its SQL file describes it."""

    name: str
    zh: str
    en: str
    columns: Mapping[str, Mapping[str, Any]]
    sheet: Sheet
    csv: Sequence[str]
    query: str


def names(queries: Path = SQL / "reports") -> list[str]:
    """Every report there is."""
    return sorted(file.stem for file in queries.glob("*.sql"))


def export(
    name: str, first_day: date, last_day: date, *, warehouse: duckdb.DuckDBPyConnection, folder: Path, utility: str, run_id: str
) -> list[Report]:
    """Write the report's XLSX and CSV for the local days first..last into `folder` (made if absent), each whole or not at all.

    Raises `ValueError` where the report is unknown, the days are in the wrong order or a worksheet is too small for the rows.
    """
    report = _definition(name)
    if first_day > last_day:
        raise ValueError(f"report {name}: the first day {first_day} is after the last day {last_day}")
    rows = warehouse.sql(report.query, params={"first_day": first_day, "last_day": last_day}).pl().rechunk()
    folder.mkdir(parents=True, exist_ok=True)
    period, stem = f"{first_day}…{last_day}", f"{name}_{first_day}_{last_day}"
    meters = rows.select(report.sheet.lead).n_unique()
    written = []
    for suffix, count, data in (
        (".xlsx", meters, _workbook(report, rows, first_day, last_day, utility, run_id)),
        (".csv", rows.height, rows.select(report.csv).write_csv(include_bom=True).encode()),
    ):
        file = folder / f"{stem}{suffix}"
        replace_file(file, [data])
        written.append(Report(name, period, file, hashlib.sha256(data).hexdigest(), count, run_id))
    return written


def newest(warehouse: duckdb.DuckDBPyConnection) -> tuple[date, str] | None:
    """The newest day that has a figure, and the run a report shows (its input version); None before the first run."""
    tables = warehouse.execute(
        "select count(*) from duckdb_tables() where table_name in ('daily_usage', 'run_ledger')"
    ).fetchall()
    if tables != [(2,)]:
        return None
    (day,) = warehouse.execute("select max(day) from daily_usage where volume_m3 is not null").fetchall()[0]
    (run_id,) = warehouse.execute("select arg_max(run_id, finished_at) from run_ledger").fetchall()[0]
    return (day, run_id) if day else None


def record(warehouse: duckdb.DuckDBPyConnection, reports: Iterable[Report]) -> None:
    """Note the files in `report_ledger`: one row a file and run, the newest export of it."""
    warehouse.execute(
        "create table if not exists report_ledger (report varchar, period varchar, file varchar, sha256 varchar, rows bigint, "
        "run_id varchar, exported_at timestamptz)"
    ).fetchall()
    for report in reports:
        file = str(report.file)
        warehouse.execute("delete from report_ledger where file = ? and run_id = ?", [file, report.run_id]).fetchall()
        values = [report.report, report.period, file, report.sha256, report.rows, report.run_id, datetime.now(UTC)]
        warehouse.execute("insert into report_ledger values (?, ?, ?, ?, ?, ?, ?)", values).fetchall()


def _definition(name: str) -> Definition:
    if name not in names():
        raise ValueError(f"no report {name!r}; there are: {', '.join(names())}")
    header, query = read_header(SQL / "reports" / f"{name}.sql")
    return Definition(name, header["zh"], header["en"], header["columns"], Sheet(**header["sheet"]), header["csv"], query)


def _workbook(report: Definition, rows: pl.DataFrame, first_day: date, last_day: date, utility: str, run_id: str) -> bytes:
    """The report as an XLSX file. Its properties carry the last day, not the clock: equal figures, equal bytes."""
    sheet, days = report.sheet, calendar.days_between(first_day, last_day)
    table = _across(sheet, rows)
    if table.height > MOST_ROWS:
        raise ValueError(
            f"report {report.name}: {table.height} rows, a worksheet takes {MOST_ROWS}; the CSV of fewer meters does"
        )
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties(
        {"title": report.zh, "author": utility, "comments": run_id, "created": datetime.combine(last_day, time())}
    )
    page = book.add_worksheet(report.zh)
    formats = _Formats(book)
    widths = _columns(report, days)
    _set_up_page(page, report, widths, len(days), f"{first_day} – {last_day}", utility, run_id)

    last_column = len(widths) - 1
    title = f"{utility}  {report.zh}  {report.en}"
    page.merge_range(0, 0, 0, last_column, title, formats.of(bold=True, font_size=14, align="center"))
    period = f"{first_day} 至 {last_day}    单位 {report.columns[sheet.value]['zh']}    {LEGEND}"
    page.merge_range(1, 0, 1, last_column, period, formats.of(align="center"))

    heading = {"bold": True, "border": 1, "align": "center", "text_wrap": True, "bg_color": "#d9e2f0"}
    day_format = formats.of(**heading, num_format=report.columns[sheet.across]["format"])
    for column, text in enumerate(width.heading for width in widths):
        if isinstance(text, date):
            page.write_datetime(HEADINGS_ROW, column, datetime.combine(text, time()), day_format)
        else:
            page.write_string(HEADINGS_ROW, column, text, formats.of(**heading))

    value_format = report.columns[sheet.value]["format"]
    tails = (value_format, "0", report.columns[sheet.coverage]["format"])
    for line, row in enumerate(table.iter_rows(named=True), start=HEADINGS_ROW + 1):
        for column, name in enumerate(sheet.lead):
            _put(page, line, column, row[name], formats.of(border=1, num_format=report.columns[name].get("format", "@")))
        for column, day in enumerate(days, start=len(sheet.lead)):
            look = {} if row.get(f"{sheet.complete}_{day}") else INCOMPLETE
            _put(page, line, column, row.get(f"{sheet.value}_{day}"), formats.of(border=1, num_format=value_format, **look))
        for column, (name, form) in enumerate(
            zip(("total", "days_complete", "coverage"), tails, strict=True), start=len(sheet.lead) + len(days)
        ):
            _put(page, line, column, row[name], formats.of(border=1, num_format=form))

    _write_totals(
        page, formats, sheet, rows, days, HEADINGS_ROW + 1 + table.height, (report.columns[sheet.value]["total"], *tails[1:])
    )
    book.close()
    return buffer.getvalue()


class _Width(NamedTuple):
    heading: str | date
    width: float


def _columns(report: Definition, days: Sequence[date]) -> list[_Width]:
    lead = [_Width(report.columns[name]["zh"], report.columns[name]["width"]) for name in report.sheet.lead]
    wide = report.columns[report.sheet.value]["width"]
    return [*lead, *(_Width(day, wide) for day in days), _Width(TOTAL, wide + 3), _Width(DAYS_COMPLETE, 6), _Width(COVERAGE, 7)]


def _across(sheet: Sheet, rows: pl.DataFrame) -> pl.DataFrame:
    """One row a meter: `lead`, `<value>_<day>` and `<complete>_<day>` of every day, `total`, `days_complete`, `coverage`.

    A total of nothing known is null; the coverage is the mean of the days on which the meter was there.
    """
    totals = rows.group_by(sheet.lead, maintain_order=True).agg(_totals(sheet))
    if rows.is_empty():
        return totals
    text_days = rows.with_columns(pl.col(sheet.across).cast(pl.String))
    wide = text_days.pivot(on=sheet.across, index=sheet.lead, values=[sheet.value, sheet.complete])
    return totals.join(wide, on=sheet.lead, how="left", nulls_equal=True, maintain_order="left")


def _totals(sheet: Sheet) -> list[pl.Expr]:
    value = pl.col(sheet.value)
    return [
        pl.when(value.count() > 0).then(value.sum()).alias("total"),
        pl.col(sheet.complete).sum().cast(pl.Int64).alias("days_complete"),
        pl.col(sheet.coverage).mean().alias("coverage"),
    ]


def _write_totals(
    page: Any, formats: "_Formats", sheet: Sheet, rows: pl.DataFrame, days: Sequence[date], line: int, tails: Sequence[str]
) -> None:
    look = {"bold": True, "border": 1, "bg_color": "#f2f2f2"}
    for column in range(len(sheet.lead)):
        _put(page, line, column, ALL_METERS if column == 0 else None, formats.of(**look))
    by_day = {row[sheet.across]: row["total"] for row in rows.group_by(sheet.across).agg(_totals(sheet)).iter_rows(named=True)}
    whole = rows.select(_totals(sheet)).row(0)
    values = [*((by_day.get(day), tails[0]) for day in days), *zip(whole, tails, strict=True)]
    for column, (value, form) in enumerate(values, start=len(sheet.lead)):
        _put(page, line, column, value, formats.of(**look, num_format=form))


def _set_up_page(
    page: Any, report: Definition, widths: Sequence[_Width], days: int, period: str, utility: str, run_id: str
) -> None:
    """Screen and paper: frozen headings and lead columns, A4 landscape, as wide as the page, headings on every page."""
    for column, width in enumerate(widths):
        page.set_column(column, column, width.width)
    page.freeze_panes(HEADINGS_ROW + 1, len(report.sheet.lead))
    page.set_landscape()
    page.set_paper(A4)
    page.set_margins(left=0.4, right=0.4, top=0.7, bottom=0.7)
    page.fit_to_pages(1, 0)
    page.repeat_rows(HEADINGS_ROW)
    page.set_row(HEADINGS_ROW, 30)
    page.set_header(f"&L{_plain(utility)}&C{report.zh}&R{period}")
    page.set_footer(f"&L运行 run {_plain(run_id)}&C第 &P 页 / 共 &N 页")


def _plain(text: str) -> str:
    """Text for a page header, in which `&` begins a code and 255 characters are the limit of the whole."""
    return text[:60].replace("&", "&&")


def _put(page: Any, line: int, column: int, value: Any, form: Any) -> None:
    """A cell with a border also where there is no value: missing stays blank."""
    if value is None:
        page.write_blank(line, column, None, form)
    elif isinstance(value, str):
        page.write_string(line, column, value, form)
    else:
        page.write_number(line, column, value, form)


class _Formats:
    """Cell formats of a workbook, each made once: a workbook may hold only so many."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._made: dict[frozenset[tuple[str, Any]], Any] = {}

    def of(self, **properties: Any) -> Any:
        key = frozenset(properties.items())
        if key not in self._made:
            self._made[key] = self._book.add_format(properties)
        return self._made[key]

"""Reports as files: each `sql/reports/<name>.sql` becomes a workbook to print and a CSV to compute with.

The select gives one row a meter and day; its header names the columns with their widths (headings, units and formats are those of
the tables in `deps`), and how the workbook turns them: rows of `sheet.lead`, one column for each day. The workbook is in the
site's language. The total of a meter is the difference of its register where both ends of the days are known. The same figures
give the same bytes, whenever they are written.

A report that was issued stays as it is. Where its figures are others by now, the next export is a further edition beside it: the
workbook and the CSV name the edition that they restate, and the workbook lists the cells that changed.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import xlsxwriter

from assets import calendar, columns, register_differences
from assets.columns import Column
from assets.warehouse import frame
from assets.workbench import Workbench
from ingest_daemon.contract import formulas
from ingest_daemon.contract.files import replace_file
from ingest_daemon.contract.headers import SQL, read_header

A4 = 9
HEADINGS_ROW = 2
MOST_ROWS = 1_048_576 - HEADINGS_ROW - 2
"""Rows that a worksheet takes below the headings, its totals aside."""


class Words(NamedTuple):
    """What a workbook says besides titles and columns, in one language; `{}` takes values."""

    total: str
    all_meters: str
    legend: str
    period: str
    unit: str
    edition: str
    changes: str
    change_headings: tuple[str, str, str]
    run: str
    page: str


WORDS = {
    "zh": Words(
        total="合计",
        all_meters="总计",
        legend="灰色斜体：当日数据不完整；空白：无数据",
        period="{} 至 {}",
        unit="单位",
        edition="第 {} 版，更正第 {} 版",
        changes="更正",
        change_headings=("项目", "原值", "现值"),
        run="运行",
        page="第 &P 页 / 共 &N 页",
    ),
    "en": Words(
        total="Total",
        all_meters="All meters",
        legend="Grey italics: day incomplete; blank: no data",
        period="{} to {}",
        unit="Unit",
        edition="Edition {}, restates edition {}",
        changes="Changes",
        change_headings=("Column", "Before", "Now"),
        run="Run",
        page="Page &P of &N",
    ),
}
"""By language of the site."""

INCOMPLETE = {"italic": True, "font_color": "#7f7f7f"}


FORMULA = "^[" + "".join(formulas.SIGNS).replace("-", r"\-") + "]"
"""A text that a spreadsheet takes for a formula."""


class NothingToReport(ValueError):
    """No figure is made yet."""


class Report(NamedTuple):
    """A written file for the ledger: report, period (`first…last`), file, SHA-256 of its bytes, data rows, run shown on it,
    edition and SHA-256 of its figures."""

    report: str
    period: str
    file: Path
    sha256: str
    rows: int
    run_id: str
    edition: int
    figures_sha256: str


class Sheet(NamedTuple):
    """Which columns of the select become what: `lead` the first columns, `across` the day of each further one, with its
    `value`, its `coverage` (0 to 1) and whether it is `complete`."""

    lead: Sequence[str]
    across: str
    value: str
    coverage: str
    complete: str


class Shown(NamedTuple):
    """A column of a report: its words, its width in characters, and the format of its total."""

    column: Column
    width: float
    total: str


class Definition(NamedTuple):
    """A report as its SQL file describes it; `titles` by language."""

    name: str
    titles: Mapping[str, str]
    description: str
    deps: tuple[str, ...]
    grain: Sequence[str]
    columns: Mapping[str, Shown]
    sheet: Sheet
    csv: Sequence[str]
    query: str


def names(queries: Path = SQL / "reports") -> list[str]:
    """Every report there is."""
    return sorted(file.stem for file in queries.glob("*.sql"))


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
) -> list[Report]:
    """Write the report's XLSX and CSV for the local days first..last into `folder` (made if absent), each whole or not at all.

    `language`: `zh` or `en`, of the workbook; the CSV has the names of the columns.

    Where the last edition has the same figures, gives its files and writes none. Raises `ValueError` where the report is unknown,
    the days are in the wrong order or a worksheet is too small for the rows.
    """
    report = definition(name)
    if first_day > last_day:
        raise ValueError(f"report {name}: the first day {first_day} is after the last day {last_day}")
    rows = warehouse.sql(report.query, params={"first_day": first_day, "last_day": last_day}).pl().rechunk()
    totals = _register_totals(warehouse, first_day, last_day, zone)
    folder.mkdir(parents=True, exist_ok=True)
    figures = _sha256(_csv(report, rows) + totals.write_csv().encode())
    period, stem = f"{first_day}…{last_day}", f"{name}_{first_day}_{last_day}"
    last = _last_edition(warehouse, name, period, folder, stem)
    csv = folder / f"{_named(stem, last.edition)}.csv"
    is_same = last.figures_sha256 == figures or (csv.exists() and csv.read_bytes() == _csv(report, rows, last.edition))
    edition = last.edition if is_same else last.edition + 1
    page = _Page(
        report,
        first_day,
        last_day,
        utility,
        language,
        last.run_id if is_same and last.run_id else run_id,
        _before(folder, stem, edition),
    )
    written = []
    # The CSV first: an export that was cut off is taken up again by what it has.
    for suffix, count, make in (
        (".csv", rows.height, partial(_csv, report, rows, edition)),
        (".xlsx", rows.select(report.sheet.lead).n_unique(), partial(_workbook, page, rows, totals)),
    ):
        file = folder / f"{_named(stem, edition)}{suffix}"
        if not file.exists():
            replace_file(file, [make()])
        written.append(Report(name, period, file, _sha256(file.read_bytes()), count, page.run_id, edition, figures))
    return written[::-1]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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


def _csv(report: Definition, rows: pl.DataFrame, edition: int = 1) -> bytes:
    """The rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    shown = rows.select(report.csv).with_columns(pl.col(pl.String).str.replace(FORMULA, "'$0"))
    if edition > 1:
        shown = shown.with_columns(edition=pl.lit(edition), restates_edition=pl.lit(edition - 1))
    return shown.write_csv(include_bom=True).encode()


class _Last(NamedTuple):
    """The last edition of a report: its number (0: none), and what the ledger has of it (empty: nothing)."""

    edition: int
    figures_sha256: str
    run_id: str


def _last_edition(warehouse: duckdb.DuckDBPyConnection, name: str, period: str, folder: Path, stem: str) -> _Last:
    """By the ledger, or by the files where these are more: a file that is there may have been sent."""
    _ensure_ledger(warehouse)
    query = (
        "select edition, figures_sha256, run_id from report_ledger where report = ? and period = ? "
        "order by edition desc, exported_at desc limit 1"
    )
    noted = warehouse.execute(query, [name, period]).fetchall()
    names = (re.fullmatch(rf"{re.escape(stem)}(?:_edition-(\d+))?\.csv", file.name) for file in folder.glob(f"{stem}*.csv"))
    there = max((int(match[1] or 1) for match in names if match), default=0)
    last = _Last(*noted[0]) if noted else _Last(0, "", "")
    return _Last(there, "", "") if there > last.edition else last


def _named(stem: str, edition: int) -> str:
    return stem if edition <= 1 else f"{stem}_edition-{edition}"


class _Before(NamedTuple):
    """The edition that a report restates: its number and its CSV, None where that is not there any more."""

    edition: int
    rows: pl.DataFrame | None


def _before(folder: Path, stem: str, edition: int) -> _Before | None:
    if edition <= 1:
        return None
    file = folder / f"{_named(stem, edition - 1)}.csv"
    return _Before(edition - 1, pl.read_csv(file, infer_schema=False) if file.exists() else None)


def make(name: str, days: tuple[date, date] | None, bench: Workbench, warehouse: duckdb.DuckDBPyConnection) -> list[Report]:
    """Write the report's files into the site's reports and note them in the ledger. Raises `ValueError`.

    `days`: first and last day; None: the month up to the newest day that has a figure.
    """
    known = newest(warehouse)
    if known is None:
        raise NothingToReport("nothing is computed yet, so there is nothing to report; compute with: mainflow run")
    newest_day, run_id = known
    written = export(
        name,
        *(days or (calendar.month_of(newest_day), newest_day)),
        warehouse=warehouse,
        folder=bench.site.reports,
        utility=bench.utility,
        language=bench.language,
        run_id=run_id,
        zone=bench.zone,
    )
    record(warehouse, written)
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


def _ensure_ledger(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Make `report_ledger` where it is absent; a row of an earlier version is of the first edition."""
    for statement in (
        "create table if not exists report_ledger (report varchar, period varchar, file varchar, sha256 varchar, rows bigint, "
        "run_id varchar, exported_at timestamptz, edition integer, figures_sha256 varchar)",
        "alter table report_ledger add column if not exists edition integer default 1",
        "alter table report_ledger add column if not exists figures_sha256 varchar default ''",
    ):
        warehouse.execute(statement).fetchall()


def record(warehouse: duckdb.DuckDBPyConnection, reports: Iterable[Report]) -> None:
    """Note the files in `report_ledger`, each once: a file that was issued does not change."""
    _ensure_ledger(warehouse)
    for report in reports:
        row = {**report._asdict(), "file": str(report.file), "exported_at": datetime.now(UTC)}
        warehouse.execute(
            f"insert into report_ledger by name select {', '.join(f'${name} as {name}' for name in row)} "
            "where not exists (select 1 from report_ledger where file = $file)",
            row,
        ).fetchall()


def definition(name: str) -> Definition:
    if name not in names():
        raise ValueError(f"no report {name!r}; there are: {', '.join(names())}")
    path = SQL / "reports" / f"{name}.sql"
    header, query = read_header(path)
    shown = {column: _shown(path, header["deps"], column, own) for column, own in header["columns"].items()}
    return Definition(
        name,
        {language: header[language] for language in WORDS},
        header["description"],
        tuple(header["deps"]),
        header["grain"],
        shown,
        Sheet(**header["sheet"]),
        header["csv"],
        query,
    )


def _shown(path: Path, tables: Sequence[str], name: str, own: Mapping[str, Any]) -> Shown:
    """The column as the first of `tables` that has it describes it, with what the report's header has of its own."""
    described = columns.of(tables, name)
    words = {key: value for key, value in own.items() if key not in ("width", "total")}
    base = described._asdict() if described else {}
    return Shown(columns.describe(path, name, words, base), own["width"], own.get("total", ""))


class _Page(NamedTuple):
    """What a workbook shows besides its rows."""

    report: Definition
    first_day: date
    last_day: date
    utility: str
    language: str
    run_id: str
    before: _Before | None

    @property
    def words(self) -> Words:
        return WORDS[self.language]

    @property
    def title(self) -> str:
        return self.report.titles[self.language]

    def heading(self, column: str) -> str:
        return self.report.columns[column].column.heading(self.language)

    @property
    def period(self) -> str:
        return self.words.period.format(self.first_day, self.last_day)

    @property
    def restates(self) -> str:
        """Which edition this is and which it restates; "" for the first."""
        return self.words.edition.format(self.before.edition + 1, self.before.edition) if self.before else ""


def _workbook(shown: _Page, rows: pl.DataFrame, totals: pl.DataFrame) -> bytes:
    """The report as an XLSX file. Its properties carry the last day, not the clock: equal figures, equal bytes."""
    report, words, before = shown.report, shown.words, shown.before
    sheet, days = report.sheet, calendar.days_between(shown.first_day, shown.last_day)
    table = _across(sheet, rows, totals)
    if table.height > MOST_ROWS:
        raise ValueError(
            f"report {report.name}: {table.height} rows, a worksheet takes {MOST_ROWS}; the CSV of fewer meters does"
        )
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties(
        {
            "title": shown.title,
            "author": shown.utility,
            "comments": shown.run_id,
            "created": datetime.combine(shown.last_day, time()),
        }
    )
    page = book.add_worksheet(shown.title)
    formats = _Formats(book)
    widths = _columns(shown, days)
    _set_up_page(page, shown, widths)

    last_column = len(widths) - 1
    title = f"{shown.utility}  {shown.title}"
    page.merge_range(0, 0, 0, last_column, title, formats.of(bold=True, font_size=14, align="center"))
    unit = f"{words.unit} {shown.heading(sheet.value)}"
    below = "    ".join(filter(None, (shown.period, unit, words.legend, shown.restates)))
    page.merge_range(1, 0, 1, last_column, below, formats.of(align="center"))

    heading = {"bold": True, "border": 1, "align": "center", "text_wrap": True, "bg_color": "#d9e2f0"}
    day_format = formats.of(**heading, num_format=report.columns[sheet.across].column.format)
    for column, text in enumerate(width.heading for width in widths):
        if isinstance(text, date):
            page.write_datetime(HEADINGS_ROW, column, datetime.combine(text, time()), day_format)
        else:
            page.write_string(HEADINGS_ROW, column, text, formats.of(**heading))

    value_format = report.columns[sheet.value].column.format
    tails = (value_format, "0", report.columns[sheet.coverage].column.format)
    for line, row in enumerate(table.iter_rows(named=True), start=HEADINGS_ROW + 1):
        for column, name in enumerate(sheet.lead):
            _put(page, line, column, row[name], formats.of(border=1, num_format=report.columns[name].column.format or "@"))
        for column, day in enumerate(days, start=len(sheet.lead)):
            look = {} if row.get(f"{sheet.complete}_{day}") else INCOMPLETE
            _put(page, line, column, row.get(f"{sheet.value}_{day}"), formats.of(border=1, num_format=value_format, **look))
        for column, (name, form) in enumerate(
            zip(("total", "days_complete", "coverage"), tails, strict=True), start=len(sheet.lead) + len(days)
        ):
            _put(page, line, column, row[name], formats.of(border=1, num_format=form))

    total_formats = (report.columns[sheet.value].total, *tails[1:])
    _write_totals(page, formats, shown, rows, table["total"], days, HEADINGS_ROW + 1 + table.height, total_formats)
    if before and before.rows is not None:
        _write_changes(book.add_worksheet(words.changes), formats, shown, before.rows, rows)
    book.close()
    return buffer.getvalue()


class _Width(NamedTuple):
    heading: str | date
    width: float


def _columns(shown: _Page, days: Sequence[date]) -> list[_Width]:
    report = shown.report
    lead = [_Width(shown.heading(name), report.columns[name].width) for name in report.sheet.lead]
    wide = report.columns[report.sheet.value].width
    return [
        *lead,
        *(_Width(day, wide) for day in days),
        _Width(shown.words.total, wide + 3),
        _Width(columns.shared("days_complete").heading(shown.language), 6),
        _Width(shown.heading(report.sheet.coverage), 7),
    ]


def _across(sheet: Sheet, rows: pl.DataFrame, register: pl.DataFrame) -> pl.DataFrame:
    """One row a meter: `lead`, `<value>_<day>` and `<complete>_<day>` of every day, `total`, `days_complete`, `coverage`.

    `total` is the difference of the register where `register` has it, else the sum of the known days, null where none is known;
    a meter that passed to another customer within the days has a row for each, of its own days. The coverage is the mean of the
    days on which the meter was there.
    """
    summed = rows.group_by(sheet.lead, maintain_order=True).agg(_totals(sheet))
    is_alone = pl.len().over("meter") == 1
    totals = (
        summed.join(register.rename({"total": "difference"}), on="meter", how="left", maintain_order="left")
        .with_columns(total=pl.when(is_alone).then(pl.coalesce("difference", "total")).otherwise("total"))
        .drop("difference")
    )
    if rows.is_empty():
        return totals
    text_days = rows.with_columns(pl.col(sheet.across).cast(pl.String))
    wide = text_days.pivot(on=sheet.across, index=sheet.lead, values=[sheet.value, sheet.complete])
    return totals.join(wide, on=sheet.lead, how="left", nulls_equal=True, maintain_order="left")


def _totals(sheet: Sheet) -> list[pl.Expr]:
    return [
        _sum(pl.col(sheet.value)).alias("total"),
        pl.col(sheet.complete).sum().cast(pl.Int64).alias("days_complete"),
        pl.col(sheet.coverage).mean().alias("coverage"),
    ]


def _sum(value: pl.Expr) -> pl.Expr:
    """The sum of the known values; null where there is none."""
    return pl.when(value.count() > 0).then(value.sum())


def _write_totals(
    page: Any,
    formats: "_Formats",
    shown: _Page,
    rows: pl.DataFrame,
    totals: pl.Series,
    days: Sequence[date],
    line: int,
    tails: Sequence[str],
) -> None:
    sheet, look = shown.report.sheet, {"bold": True, "border": 1, "bg_color": "#f2f2f2"}
    for column in range(len(sheet.lead)):
        _put(page, line, column, shown.words.all_meters if column == 0 else None, formats.of(**look))
    by_day = {row[sheet.across]: row["total"] for row in rows.group_by(sheet.across).agg(_totals(sheet)).iter_rows(named=True)}
    whole = rows.select(_totals(sheet)).row(0)
    of_all = (totals.to_frame().select(_sum(pl.col("total"))).item(), *whole[1:])
    values = [*((by_day.get(day), tails[0]) for day in days), *zip(of_all, tails, strict=True)]
    for column, (value, form) in enumerate(values, start=len(sheet.lead)):
        _put(page, line, column, value, formats.of(**look, num_format=form))


def _write_changes(page: Any, formats: "_Formats", shown: _Page, before: pl.DataFrame, rows: pl.DataFrame) -> None:
    """The cells of the CSV that are others than in the edition before, with both values."""
    report = shown.report
    now = pl.read_csv(_csv(report, rows), infer_schema=False)
    key = list(report.grain)
    compared = [name for name in report.csv if name not in key and name in before.columns]
    old, new = (table.select(*key, *compared).unpivot(index=key, variable_name="column") for table in (before, now))
    both = old.join(new, on=[*key, "column"], how="full", coalesce=True, nulls_equal=True)
    changed = both.filter(pl.col("value").ne_missing(pl.col("value_right"))).sort(*key, "column")
    heading = formats.of(bold=True, border=1, bg_color="#d9e2f0")
    page.write_string(0, 0, shown.restates, formats.of(bold=True))
    for column, text in enumerate((*map(shown.heading, key), *shown.words.change_headings)):
        page.write_string(1, column, text, heading)
        page.set_column(column, column, 14)
    for line, row in enumerate(changed.head(MOST_ROWS).iter_rows(), start=2):
        for column, value in enumerate(row):
            _put(page, line, column, value, formats.of(border=1))


def _set_up_page(page: Any, shown: _Page, widths: Sequence[_Width]) -> None:
    """Screen and paper: frozen headings and lead columns, A4 landscape, as wide as the page, headings on every page."""
    for column, width in enumerate(widths):
        page.set_column(column, column, width.width)
    page.freeze_panes(HEADINGS_ROW + 1, len(shown.report.sheet.lead))
    page.set_landscape()
    page.set_paper(A4)
    page.set_margins(left=0.4, right=0.4, top=0.7, bottom=0.7)
    page.fit_to_pages(1, 0)
    page.repeat_rows(HEADINGS_ROW)
    page.set_row(HEADINGS_ROW, 30)
    page.set_header(f"&L{_plain(shown.utility)}&C{shown.title}&R{shown.first_day} – {shown.last_day}")
    page.set_footer(f"&L{shown.words.run} {_plain(shown.run_id)}&C{shown.words.page}")


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

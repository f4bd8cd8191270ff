"""A cell of an issued workbook led back: its row, the rows of the mart, the steps of the register, readings and their frames.

    file, cell ──checksum──▶ ledger ──▶ row of the sheet ──▶ mart ──▶ steps between two readings ──▶ frames of the journal

A volume of a day, month or of all days is led back to the frames, and the sum of its steps is compared with the cell. Other
figures are led back to the rows of their mart.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import openpyxl
import polars as pl
import polars.selectors as cs
from openpyxl.utils.cell import column_index_from_string, coordinate_from_string
from openpyxl.utils.exceptions import CellCoordinatesException

from assets import calendar, warehouse
from assets.kernel import Flag
from assets.reports import ledger
from assets.reports.definition import Across, Definition, Sheet, definition
from assets.reports.editions import read_edition
from assets.reports.ledger import Issued
from assets.reports.writing import HEADINGS_ROW
from assets.workbench import Workbench

RULES = Flag(~Flag.HOLE & ~Flag.OFF_GRID & ~Flag.PRESSURE_RANGE & (2 * max(Flag) - 1))
"""Flags of intervals whose volume is not the plain difference of the register."""

STEP: dict[str, pl.DataType] = {
    "begin": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "share": pl.Float64(),
    "volume_m3": pl.Float64(),
    "rule": pl.String(),
    "terminal": pl.String(),
    "register_m3": pl.Float64(),
    "stream": pl.String(),
    "frame": pl.Int64(),
    "begin_register_m3": pl.Float64(),
    "begin_stream": pl.String(),
    "begin_frame": pl.Int64(),
}
"""What lies between two readings: times, how much of it is in the period, the volume of that part, the rule (flags of the
intervals; `flow`; empty: the difference of the register), the register at both readings, and the places of their frames in the
journal."""


class Volume(NamedTuple):
    """A volume led back to its steps; `days`: first and last local day. `steps`: rows of `STEP` in order. `is_whole`: they reach
    from the beginning of the days to their end."""

    meter: str
    days: tuple[date, date]
    intervals: int
    steps: pl.DataFrame

    is_whole: bool

    @property
    def total_m3(self) -> float | None:
        """The sum of the steps; None where they do not reach from the beginning of the days to their end."""
        known = self.steps["volume_m3"].drop_nulls()
        return float(known.sum()) if self.is_whole and len(known) else None

    @property
    def frames(self) -> list[tuple[str, int]]:
        """Streams and positions of the frames of its readings."""
        both = pl.concat([self.steps.select("stream", "frame"), self.steps.select(stream="begin_stream", frame="begin_frame")])
        return [(stream, frame) for stream, frame in both.unique().sort("stream", "frame").iter_rows() if frame is not None]


class Explanation(NamedTuple):
    """A cell: its file in the ledger, sheet, column and value, what names its row, the mart with its rows, and its volume."""

    issued: Issued
    sheet: str
    column: str
    value: Any
    key: dict[str, Any]
    mart: str
    rows: pl.DataFrame
    volume: Volume | None
    later_edition: int | None


def explain(file: Path, cell: str, bench: Workbench, connection: duckdb.DuckDBPyConnection, sheet_name: str = "") -> Explanation:
    """Lead back a cell such as `E5`. `sheet_name`: of the workbook; empty: the first.

    Raises `ValueError` where the file is not an issued workbook or the cell no figure; `StoreAway`.
    """
    found = _ledger_row(file, connection)
    report = definition(found.report)
    page, sheet = _page(file, report, bench.language, sheet_name)
    line, column = _place(cell)
    first, last = (date.fromisoformat(day) for day in found.period.split("…"))
    value = page.cell(line, column).value
    key, name = _row_of(page, line, column, report, sheet, found, bench)
    mart = sheet.deps[0]
    span = _span(sheet, name, key, first, last)
    rows = _mart_rows(connection, mart, key, span)
    volume = _volume(bench, connection, *span) if span else None
    if name == TOTAL and volume and not volume.is_whole:
        volume = None  # the sum of the known days
    newest = ledger.issued(connection, found.report, found.period)[0].edition
    later = newest if newest > found.edition else None
    return Explanation(found, str(page.title), name, value, key, mart, rows, volume, later)


def _ledger_row(file: Path, connection: duckdb.DuckDBPyConnection) -> Issued:
    """By the bytes: a copy that was sent is the same edition."""
    own = ledger.checksum(file)
    found = next((issued for issued in ledger.issued(connection) if issued.sha256 == own), None)
    if found is None:
        raise ValueError(
            f"{file}: expected a file as it was issued; no file of the ledger has its SHA-256 {own[:16]}… "
            "(see mainflow reports list): it was changed since, or another site issued it"
        )
    if found.file.suffix != ".xlsx":
        raise ValueError(f"{file}: expected a workbook (.xlsx); a line of the CSV is a row of the workbook of the same name")
    return found


def _page(file: Path, report: Definition, language: str, sheet_name: str) -> tuple[Any, Sheet]:
    book = openpyxl.load_workbook(file)
    titles = [sheet.titles[language] for sheet in report.sheets]
    wanted = sheet_name or book.sheetnames[0]
    if wanted not in book.sheetnames[: len(titles)]:
        raise ValueError(f"{file}: no sheet of figures {wanted!r}; there are: {', '.join(book.sheetnames[: len(titles)])}")
    return book[wanted], report.sheets[book.sheetnames.index(wanted)]


def _place(cell: str) -> tuple[int, int]:
    try:
        letters, line = coordinate_from_string(cell.upper())
    except CellCoordinatesException:
        raise ValueError(f"cell {cell!r}: expected a letter and a number like E5") from None
    return int(line), column_index_from_string(letters)


TOTAL = "total"
"""The column with the volume of all days."""


def _row_of(
    page: Any, line: int, column: int, report: Definition, sheet: Sheet, found: Issued, bench: Workbench
) -> tuple[dict[str, Any], str]:
    """What names the row of a cell, and the column of the select that it shows. Raises `ValueError` for a cell of no figure."""
    figures = [row[0].row for row in page.iter_rows(min_row=HEADINGS_ROW + 2) if row[0].border.left.style and not row[0].font.b]
    if line not in figures or column > page.max_column:
        raise ValueError(
            f"{page.title}!{page.cell(line, column).coordinate}: expected a cell of a row of figures; headings and totals are "
            "made from the rows of the sheet"
        )
    if isinstance(sheet.layout, Across):
        lead = list(sheet.layout.lead)
        key = {"meter": page.cell(line, lead.index("meter") + 1).value}
        if column <= len(lead):
            return key, lead[column - 1]
        heading = page.cell(HEADINGS_ROW + 1, column).value
        if isinstance(heading, datetime):
            return {**key, sheet.layout.across: heading.date()}, sheet.layout.value
        tail = (column - page.max_column) + 2
        if [page.cell(row, lead.index("meter") + 1).value for row in figures].count(key["meter"]) > 1:
            return key, "sum of days"  # it passed to another customer within the days
        return key, (TOTAL, "periods_complete", sheet.layout.coverage)[tail]
    shown = [name for name, own in sheet.columns.items() if own.width and not (sheet.layout.blocks and name in sheet.layout.by)]
    days = found.period.replace("…", "_")
    rows = read_edition(report, bench.site.reports, days, found.edition).get(sheet.name)
    if rows is None:
        raise ValueError(
            f"{sheet.name}: the CSV of edition {found.edition} is not in {bench.site.reports} any more; its rows name the cells"
        )
    row = rows.row(figures.index(line), named=True)
    return {name: row[name] for name in sheet.grain}, shown[column - 1]


Span = tuple[str, date, date]
"""A meter, first and last local day."""


def _span(sheet: Sheet, name: str, key: dict[str, Any], first: date, last: date) -> Span | None:
    """Of a cell that is a volume; None of another."""
    meter = str(key.get("meter", ""))
    if name == TOTAL:
        return meter, first, last
    if name != "volume_m3" or sheet.deps[0] not in ("daily_usage", "monthly_usage"):
        return None
    if "day" in key:
        day = date.fromisoformat(str(key["day"]))
        return meter, day, day
    month = date.fromisoformat(str(key["month"]))
    return meter, month, calendar.next_month(month) - timedelta(days=1)


def _mart_rows(connection: duckdb.DuckDBPyConnection, mart: str, key: dict[str, Any], span: Span | None) -> pl.DataFrame:
    """The rows of the mart that the cell shows."""
    kinds = dict(warehouse.columns_of(connection, mart))
    wanted = dict(key)
    if "grain" in kinds:
        wanted |= {"grain": "day", "period": key["day"]} if "day" in key else {"grain": "month"}
    conditions = {name: value for name, value in wanted.items() if name in kinds}
    if span and "day" in kinds and "day" not in conditions:
        conditions |= {"day": span[1:]}
    elif span and "month" in kinds and "month" not in conditions:
        conditions |= {"month": (calendar.month_of(span[1]), span[2])}
    terms: list[str] = []
    values: list[Any] = []
    for name, value in conditions.items():
        if isinstance(value, tuple):
            terms.append(f"{name} between ? and ?")
            values += value
        elif value is None:
            terms.append(f"{name} is null")
        else:
            terms.append(f"{name} = ?::{kinds[name]}")
            values.append(value)
    return _frame(connection, f"select * from {mart} where {' and '.join(terms)} order by all", values)


def _frame(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any]) -> pl.DataFrame:
    """The rows of a query, times in UTC."""
    rows: pl.DataFrame = connection.sql(query, params=list(values)).pl()
    return rows.with_columns(cs.datetime(time_zone="*").dt.convert_time_zone("UTC"))


# --- volumes ------------------------------------------------------------------------------------------------------------------


def _volume(bench: Workbench, connection: duckdb.DuckDBPyConnection, meter: str, first: date, last: date) -> Volume:
    """Steps over holes count whole: the volume is the difference of the register between the ends of the days."""
    begin, end = calendar.midnight(first, bench.zone), calendar.midnight(last + timedelta(days=1), bench.zone)
    intervals = _frame(
        connection,
        "select interval_start, interval_end, volume_m3, flags from interval_reading "
        "where meter = ? and day between ? and ? order by interval_start",
        [meter, first, last],
    )
    held = _frame(
        connection,
        "select distinct terminal, valid_from, valid_to, reads from meter_history where meter = ? and terminal is not null",
        [meter],
    ).rows()
    reads_flow = any(reads == "flow" for *_, reads in held)
    parts = [_readings(bench, terminal, since, until, begin, end) for terminal, since, until, _ in held]
    readings = pl.concat(parts).sort("ts") if parts else _NO_READINGS
    steps = _steps(readings, intervals, begin, end, reads_flow, bench.max_hole)
    reaches = not steps.is_empty() and steps["begin"][0] <= begin and steps["end"][-1] >= end
    return Volume(meter, (first, last), intervals.height, steps, reads_flow or reaches)


COLUMNS = ("terminal", "ts", "forward_m3", "stream", "frame")
_NO_READINGS = pl.DataFrame(
    schema={
        "terminal": pl.String,
        "ts": pl.Datetime("us", "UTC"),
        "forward_m3": pl.Float64,
        "stream": pl.String,
        "frame": pl.Int64,
    }
)


def _readings(
    bench: Workbench, terminal: str, since: datetime | None, until: datetime | None, begin: datetime, end: datetime
) -> pl.DataFrame:
    """The readings of a terminal while it measured, and the nearest ones before and after the period. Raises `StoreAway`."""
    near = bench.max_hole + timedelta(hours=1)
    rows = bench.store.read(begin - near, end + near, columns=COLUMNS, terminals={terminal})
    rows = rows.with_columns(pl.col("ts").dt.cast_time_unit("us"))
    if since:
        rows = rows.filter(pl.col("ts") >= since)
    if until:
        rows = rows.filter(pl.col("ts") < until)
    return rows.select(COLUMNS)


def _steps(
    readings: pl.DataFrame,
    intervals: pl.DataFrame,
    begin: datetime,
    end: datetime,
    reads_flow: bool,
    max_hole: timedelta,
) -> pl.DataFrame:
    """The steps of `STEP` that lie in the period in part at least; of a hole only where it lies in the period whole."""
    rows: list[dict[str, Any]] = []
    own = list(intervals.iter_rows(named=True))
    place = 0
    pairs = list(readings.iter_rows(named=True))
    for before, after in pairwise(pairs):
        start, stop = max(before["ts"], begin), min(after["ts"], end)
        if start >= stop:
            continue
        while place < len(own) and own[place]["interval_end"] <= start:
            place += 1
        inside = _inside(own, place, stop)
        share = (stop - start) / (after["ts"] - before["ts"])
        flags = Flag(0)
        for interval in inside:
            flags |= Flag(interval["flags"]) & RULES
        is_plain = not flags and not reads_flow and before["terminal"] == after["terminal"]
        is_hole = after["ts"] - before["ts"] > max_hole
        if is_hole and share < 1:
            continue
        known = [interval["volume_m3"] for interval in inside if interval["volume_m3"] is not None]
        volume = (after["forward_m3"] - before["forward_m3"]) * share if is_plain and _are_known(before, after) else None
        if volume is None and known:
            volume = sum(known)
        rule = "flow" if reads_flow else "|".join(str(flag.name) for flag in flags) or ("" if is_plain else "TERMINAL")
        rows.append(
            {
                "begin": before["ts"],
                "end": after["ts"],
                "share": share,
                "volume_m3": volume,
                "rule": rule,
                "terminal": after["terminal"],
                "register_m3": after["forward_m3"],
                "stream": after["stream"],
                "frame": after["frame"],
                "begin_register_m3": before["forward_m3"],
                "begin_stream": before["stream"],
                "begin_frame": before["frame"],
            }
        )
    return pl.DataFrame(rows, schema=STEP)


def _are_known(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return before["forward_m3"] is not None and after["forward_m3"] is not None


def _inside(intervals: Sequence[dict[str, Any]], place: int, stop: datetime) -> list[dict[str, Any]]:
    """The intervals from a place on that begin before `stop`."""
    found = []
    while place < len(intervals) and intervals[place]["interval_start"] < stop:
        found.append(intervals[place])
        place += 1
    return found

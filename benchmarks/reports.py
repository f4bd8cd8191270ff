"""What a workbook costs (P14): a data sheet against xlsxwriter's plain loop with the same content, in one process."""

import random
import time
from collections.abc import Callable
from datetime import date, datetime
from datetime import time as midnight
from io import BytesIO

import openpyxl
import polars as pl
import xlsxwriter

from assets.calendar import days_between
from assets.reports.layouts import Band, Look, Page
from assets.reports.writing import Paper, workbook
from benchmarks.figures import Figure, at_least, ratios
from benchmarks.run import Run

METERS = 2_000
FORMATS = {
    "meter": "@",
    "customer_name": "@",
    "day": "yyyy-mm-dd",
    "volume_m3": "#,##0.0",
    "coverage": "0.0%",
    "readings": "0",
}


def data_sheet(run: Run) -> list[Figure]:
    """P14: 2,000 customers × 31 days × 6 columns: the writer of reports against xlsxwriter's loop, CPU."""
    rows = month_of(run.sized(METERS))
    assert cells(ours(rows.head(100))) == cells(plain(rows.head(100)))
    own, loop = [], []
    for _ in run.each_round("P14"):
        own.append(cpu_s(ours, rows))
        loop.append(cpu_s(plain, rows))
    size = f"{rows.height:,} rows × {rows.width} columns"
    return [
        Figure("P14", "xlsxwriter's loop ÷ the writer of reports", ratios(loop, own), "×", at_least(8), size),
        Figure("P14", "rows a second of CPU", [rows.height / used for used in own], "", None, size),
    ]


def month_of(meters: int) -> pl.DataFrame:
    """Invented rows of a month."""
    rng = random.Random(1)
    days = days_between(date(2026, 10, 1), date(2026, 10, 31))
    rows = [
        (f"M{meter:05}", f"客户 {meter}", day, round(rng.random() * 1000, 2), rng.random(), 96)
        for meter in range(meters)
        for day in days
    ]
    return pl.DataFrame(rows, schema=list(FORMATS), orient="row")


def ours(rows: pl.DataFrame) -> bytes:
    """The workbook as reports are written."""
    looks = [Look(name, 10, "", form, form) for name, form in FORMATS.items()]
    page = Page("report", "", looks, [Band(rows, pl.DataFrame(), [])], 0)
    return workbook([page], Paper("utility", "report", "", "", "&P", "run", date(2026, 10, 31)))


def plain(rows: pl.DataFrame) -> bytes:
    """The same rows by xlsxwriter, in its mode that is the fastest and needs the least memory."""
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"constant_memory": True})
    sheet = book.add_worksheet("report")
    formats = [book.add_format({"border": 1, "num_format": form}) for form in FORMATS.values()]
    for line, row in enumerate(rows.iter_rows(), start=3):
        for column, (value, form) in enumerate(zip(row, formats, strict=True)):
            if isinstance(value, date):
                sheet.write_datetime(line, column, datetime.combine(value, midnight()), form)
            elif isinstance(value, str):
                sheet.write_string(line, column, value, form)
            else:
                sheet.write_number(line, column, value, form)
    book.close()
    return buffer.getvalue()


def cells(data: bytes) -> list[tuple[object, ...]]:
    """The rows of the first sheet, as openpyxl reads them; xlsxwriter keeps 16 digits of a number."""
    sheet = openpyxl.load_workbook(BytesIO(data)).worksheets[0]
    rows = sheet.iter_rows(min_row=4, values_only=True)
    return [tuple(round(value, 12) if isinstance(value, float) else value for value in row) for row in rows]


def cpu_s(write: Callable[[pl.DataFrame], bytes], rows: pl.DataFrame) -> float:
    """CPU seconds of one writing."""
    begin = time.process_time()
    write(rows)
    return time.process_time() - begin

"""The registry's files as people send them, CSV or XLSX, and as they get them: text, cell by cell.

    upload ──`read_upload`──▶ columns, rows ──`csv_bytes`──▶ registry/<name>.csv ──`download_csv`, `download_xlsx`──▶ spreadsheet

A cell that a spreadsheet would run as a formula leaves with an apostrophe before it, which `read_upload` takes off again; a
formula that comes in is a problem, and never a value.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import xlsxwriter
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from ingest_daemon.contract.formulas import SIGNS
from ingest_daemon.contract.registry_schema import NotWhole, Problem, read_csv

BOM = b"\xef\xbb\xbf"
ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
MOST_CELLS = 1_000_000
"""Of a workbook; a larger table comes as CSV."""
MOST_UNPACKED = 64 << 20
EXACT_DIGITS = 15
"""Digits of a number that a spreadsheet keeps."""
MOST_PROBLEMS = 1000

ROW_HEIGHT_HEAD, WIDEST = 22, 40


class Upload(NamedTuple):
    """A table as text: its columns, its rows (row 2 of the spreadsheet first, empty ones included), and what is wrong already."""

    columns: list[str]
    rows: list[list[str]]
    problems: list[Problem]


def read_upload(file: str, data: bytes) -> Upload:
    """The table in the bytes of a CSV file, or in the first sheet of an XLSX workbook.

    `file`: of the registry, for problems. Raises `NotWhole` where there is no table.
    """
    path = Path(f"{file}.csv")
    if data.startswith(OLD_EXCEL):
        raise NotWhole(
            "a workbook of the old format (.xls); save it as .xlsx or as CSV", "旧格式工作簿 (.xls)；请另存为 .xlsx 或 CSV"
        )
    problems: list[Problem] = []
    if data.startswith(ZIP):
        head, *rows = _of_workbook(path, data, problems)
        data = csv_bytes(head, rows)  # so that both are read alike from here on
    table = read_csv(data)
    columns, rows = table.columns, [[_without_guard(cell) for cell in row] for row in table.rows]
    problems += [Problem(path, (row,), name, "a NUL character", "含有 NUL 字符") for row, name in table.with_nul]
    for number, row in enumerate(rows, 2):
        for place, cell in enumerate(row):
            if cell.startswith("=") and len(problems) < MOST_PROBLEMS:
                problems.append(_formula(path, number, columns[place] if place < len(columns) else "", cell))
    return Upload(columns, rows, problems)


def _formula(path: Path, row: int, column: str, cell: str) -> Problem:
    shown = repr(cell[:80])
    return Problem(
        path, (row,), column, f"{shown} is a formula, expected a value: paste values", f"{shown} 是公式，应为值：请粘贴为值"
    )


def _without_guard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(SIGNS) else cell


# --- XLSX ---------------------------------------------------------------------------------------------------------------------


def _of_workbook(path: Path, data: bytes, problems: list[Problem]) -> list[list[str]]:
    """The rows of the first sheet that is not hidden, as text; the first has the names of the columns."""
    try:
        with ZipFile(io.BytesIO(data)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > MOST_UNPACKED:
                raise NotWhole("the workbook is too large; save the sheet as CSV", "工作簿过大；请另存为 CSV")
        workbook = load_workbook(io.BytesIO(data), rich_text=False, keep_links=False)
        sheet = next(sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible")
    except NotWhole:
        raise
    except (BadZipFile, StopIteration, KeyError, ValueError, TypeError, AttributeError, OSError, SyntaxError) as error:
        raise NotWhole(f"not a workbook that can be read: {error}", f"不是可读取的工作簿：{error}") from None
    if sheet.max_row * sheet.max_column > MOST_CELLS:
        raise NotWhole(
            f"the sheet has {sheet.max_row:,} rows and {sheet.max_column:,} columns; delete the empty ones, or save it as CSV",
            f"工作表有 {sheet.max_row:,} 行、{sheet.max_column:,} 列；请删除空行空列，或另存为 CSV",
        )
    rows = _cells(path, sheet, problems)
    if not any(rows[0]):
        raise NotWhole("the first row is empty; expected the names of the columns", "首行是空的；应为列名")
    return rows


def _cells(path: Path, sheet: Worksheet, problems: list[Problem]) -> list[list[str]]:
    """Every row of a sheet as text. A cell merged downwards holds for each of its rows; other merged ones are problems."""
    rows: list[list[str]] = []
    for number, row in enumerate(sheet.iter_rows(), 1):
        if len(problems) < MOST_PROBLEMS:
            unfit = (_unfit(path, number, rows[0][place] if rows else "", cell) for place, cell in enumerate(row))
            problems += [problem for problem in unfit if problem]
        rows.append([_text(cell.value) for cell in row])
    for merged in sheet.merged_cells.ranges:
        first, last = merged.min_row, merged.max_row
        if merged.min_col != merged.max_col or first == 1:
            problems.append(
                Problem(
                    path,
                    (first,),
                    "",
                    f"{merged.coord} are merged cells; unmerge them",
                    f"{merged.coord} 是合并单元格；请取消合并",
                )
            )
            continue
        for cells in rows[first:last]:
            cells[merged.min_col - 1] = rows[first - 1][merged.min_col - 1]
    return rows


def _unfit(path: Path, row: int, column: str, cell: Any) -> Problem | None:
    """What is wrong with a cell for what it is, not for what it says."""
    if cell.data_type == "e":
        return Problem(path, (row,), column, f"the cell has the error {cell.value}", f"单元格为错误值 {cell.value}")
    if cell.data_type == "f" and not isinstance(cell.value, str):
        return _formula(path, row, column, "{=…}")
    if isinstance(cell.value, int | float) and abs(cell.value) >= 10**EXACT_DIGITS:
        return Problem(
            path,
            (row,),
            column,
            f"a number of more than {EXACT_DIGITS} digits, which spreadsheets round: make the column text, enter it again",
            f"超过 {EXACT_DIGITS} 位的数字会被电子表格取整：请把该列设为文本后重新填写",
        )
    return None


def _text(value: Any) -> str:
    """A cell's value as somebody would type it into a CSV file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.isoformat() if value.time() != time() else value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value).replace("_x000D_", "").strip()


# --- what people get ----------------------------------------------------------------------------------------------------------


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV file in UTF-8 with a byte order mark, which spreadsheets need to read Chinese."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return BOM + text.getvalue().encode()


def download_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """The same for a person: no cell is a formula."""
    return csv_bytes(columns, ([_guarded(cell) for cell in row] for row in rows))


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(SIGNS) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def download_xlsx(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook of one sheet, all of it text: a spreadsheet drops no zero, rounds no number and runs no formula."""
    target = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(target, options) as book:
        sheet = book.add_worksheet(name)
        text = book.add_format({"num_format": "@"})
        head = book.add_format({"num_format": "@", "bold": True, "bg_color": "#E7EEF7", "bottom": 1})
        sheet.set_row(0, ROW_HEIGHT_HEAD)
        for place, column in enumerate(columns):
            widest = max((_width(row[place]) for row in rows[:500] if place < len(row)), default=0)
            sheet.set_column(place, place, min(max(widest, _width(column)) + 3, WIDEST), text)
            sheet.write_string(0, place, column, head)
        for number, row in enumerate(rows, 1):
            for place, cell in enumerate(row):
                if cell:
                    sheet.write_string(number, place, cell, text)
        sheet.freeze_panes(1, 0)
        if columns:
            sheet.autofilter(0, 0, len(rows), len(columns) - 1)
        sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
    return target.getvalue()


def _width(text: str) -> int:
    """Columns of a spreadsheet that a text takes; Chinese letters take two."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def without_empty(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """The rows in which something is written."""
    return (row for row in rows if any(row))

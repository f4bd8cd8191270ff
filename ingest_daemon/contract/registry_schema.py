"""The columns of `registry/terminals.csv`, and how a CSV file that a spreadsheet saved is read. Daemon and figures share both."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.identifiers import HALF_WIDTH_OF


class Problem(NamedTuple):
    """What is wrong in a file of the registry, in English (`str`) and Chinese.

    `rows` as the spreadsheet counts, 1 for the names of the columns, none where it is the whole file; the last is the one that is
    refused. `column`: of the cell, or empty.
    """

    path: Path
    rows: tuple[int, ...]
    column: str
    en: str
    zh: str

    def __str__(self) -> str:
        place = f" row{'s'[: len(self.rows) > 1]} {', '.join(map(str, self.rows))}" if self.rows else ""
        return f"{self.path}{place}{', ' if self.column else ''}{self.column}: {self.en}"


class NotWhole(ValueError):
    """Bytes that are no table; the text is English, `zh` the same in Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.zh = zh


class Column(NamedTuple):
    """One column: its Polars type, whether each cell must be filled, the allowed values if few, whether it must be above 0.

    `extra`: the file need not have the column at all. `moment`: text that is a day or a time with its offset. `identifier`: text
    that other tables refer to (`contract/identifiers.py`).
    """

    dtype: pl.DataType
    required: bool = False
    allowed: tuple[str, ...] = ()
    positive: bool = False
    extra: bool = False
    moment: bool = False
    identifier: bool = False


TEXT, NUMBER, WHOLE, DAY, TIME = pl.String(), pl.Float64(), pl.Int64(), pl.Date(), pl.Datetime("us", "UTC")

READS = ("register", "flow")
SOURCES = ("smart", "amr", "manual")

TERMINAL_COLUMNS: dict[str, Column] = {
    "terminal": Column(TEXT, required=True, identifier=True),
    "meter": Column(TEXT, required=True, identifier=True),
    "customer_no": Column(TEXT, identifier=True),
    "protocol": Column(TEXT, required=True),
    "dn_mm": Column(WHOLE, positive=True),
    "technology": Column(TEXT),
    "q1_m3h": Column(NUMBER, positive=True),
    "q2_m3h": Column(NUMBER, positive=True),
    "q3_m3h": Column(NUMBER, positive=True),
    "q4_m3h": Column(NUMBER, required=True, positive=True),
    "digits": Column(WHOLE, required=True, positive=True),
    "resolution_m3": Column(NUMBER, required=True, positive=True),
    "step_min": Column(WHOLE, required=True, positive=True),
    "reads": Column(TEXT, required=True, allowed=READS),
    "pressure_low_mpa": Column(NUMBER),
    "pressure_high_mpa": Column(NUMBER),
    "installed_on": Column(DAY),
    "removed_on": Column(DAY),
    "upload_min": Column(WHOLE, positive=True, extra=True),
    "profile": Column(TEXT, extra=True),
    "link": Column(TEXT, extra=True),
    "address": Column(TEXT, extra=True),
    "phone": Column(TEXT, extra=True),
    "password": Column(TEXT, extra=True),
    "source": Column(TEXT, allowed=SOURCES, extra=True),
    "vendor": Column(TEXT, extra=True),
    "valid_from": Column(TEXT, extra=True, moment=True),
    "valid_to": Column(TEXT, extra=True, moment=True),
}
"""`terminals.csv`: the figures need every column that is not `extra`, the daemon only `terminal` and `meter`."""


IDENTIFIERS = ("meter", "customer_no")
"""Columns that the billing system refers to, perhaps in other characters."""


class CsvTable(NamedTuple):
    """A CSV file as text: names of its columns, and its rows, the first of which is row 2 of the spreadsheet.

    Cells are without blanks at their ends and without NUL characters, which no database takes; `with_nul` lists the (row, column)
    that held one. Identifiers are in half-width characters. A row may have more or fewer cells than there are columns.
    """

    columns: list[str]
    rows: list[list[str]]
    with_nul: list[tuple[int, str]]


def decode_text(data: bytes) -> str:
    """The text of a file saved as UTF-8, UTF-16 or GB18030 (GBK), with or without a byte order mark. Raises `NotWhole`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in data[:2]:
        encodings = ["utf-16-be" if data[0] == 0 else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # NUL in the names of the columns: another encoding. At the end: a file that was not written whole.
        if "\0" not in text.partition("\n")[0] and not text.endswith("\0"):
            return text
    raise NotWhole(
        f"not a text in UTF-8, UTF-16 or GB18030 (tried: {', '.join(encodings)}); save it as CSV UTF-8",
        "不是 UTF-8、UTF-16 或 GB18030 文本；请另存为 CSV UTF-8",
    )


def read_csv(data: bytes) -> CsvTable:
    """A whole CSV file whose cells are parted by tabs, commas or semicolons, full-width ones, too.

    Raises `NotWhole` where it is none, or cut off: a file may lack the end of its last line, but not a cell or a closing quote
    of it: then it is still being written.
    """
    text = decode_text(data).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise NotWhole("the file is empty; expected a line with the names of the columns", "文件是空的；应有一行列名")
    if text.count('"') % 2:
        raise NotWhole(
            "a quote is opened and not closed; the file is not whole, or a cell holds a lone quote",
            "引号没有成对；文件不完整，或单元格中有单个引号",
        )
    first, _, rest = text.partition("\n")
    if re.fullmatch(r'"?sep=.?"?', first):  # a word to Excel, which does not show the line
        first, text = rest.partition("\n")[0], rest
    separator = max(",;\t，；", key=first.count)
    try:
        lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text), delimiter=separator)]
    except csv.Error as error:
        raise NotWhole(f"{error}; is a quote missing?", f"{error}；是否缺少引号？") from None
    columns, rows = [name.lstrip("\ufeff") for name in lines[0]], lines[1:]
    with_nul = [
        (number, columns[place])
        for number, cells in enumerate(rows, 2)
        for place, cell in enumerate(cells[: len(columns)])
        if "\0" in cell
    ]
    rows = [[cell.replace("\0", "").strip() for cell in cells] for cells in rows] if "\0" in text else rows
    for place in (place for place, name in enumerate(columns) if name in IDENTIFIERS):
        for cells in rows:
            cells[place : place + 1] = [cell.translate(HALF_WIDTH_OF) for cell in cells[place : place + 1]]
    while columns and not columns[-1]:  # a spreadsheet may save empty columns behind the last one
        columns.pop()
    if not text.endswith("\n") and rows and len(rows[-1]) < len(columns):
        raise NotWhole(
            f"the last line ends after {len(rows[-1])} of {len(columns)} cells; the file is not whole",
            f"末行只有 {len(rows[-1])} 个单元格，应有 {len(columns)} 个；文件不完整",
        )
    if not text.endswith("\n") and not rows:
        raise NotWhole("the line of column names has no end; the file is not whole", "列名行没有行尾；文件不完整")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise NotWhole(f"column {', '.join(twice)} is there twice; expected once", f"列 {', '.join(twice)} 重复；只应有一列")
    return CsvTable(columns, rows, with_nul)

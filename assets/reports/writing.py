"""Pages as an XLSX file: xlsxwriter makes the workbook, its rows of data are put in as bytes made by Polars.

xlsxwriter spends 30 µs a cell, most of the time of a large report. So of each band it writes one row, blank, whose cells have the
formats; that row is replaced by all rows of the band.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

import polars as pl
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from assets.reports.layouts import Band, Look, Page, Plot, Value

A4 = 9
HEADINGS_ROW = 2
MOST_ROWS = 1_048_576
MOST_LETTERS = 31
"""Of the name of a worksheet."""
CHART_ROWS, CHART_PIXELS, LEAST_WIDTH, CHARACTER_PIXELS = 16, 300, 480, 7.3
INCOMPLETE = {"italic": True, "font_color": "#7f7f7f"}
EPOCH, DAYS_TO_1970 = datetime(1899, 12, 30), 25_569
"""Day 0 of a spreadsheet."""
LEVEL = 1
"""Of compression: the highest halves nothing, and costs as much as all the rest."""


class Paper(NamedTuple):
    """What stands on every sheet of paper and in the file's properties."""

    utility: str
    title: str
    period: str
    foot: str
    page: str
    run_id: str
    last_day: date


class TooLong(ValueError):
    """A worksheet is too small for the rows."""


def workbook(pages: Sequence[Page], paper: Paper) -> bytes:
    """The XLSX file. Its properties carry the last day, not the clock. Raises `TooLong`."""
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    created = datetime.combine(paper.last_day, time())
    book.set_properties({"title": paper.title, "author": paper.utility, "comments": paper.run_id, "created": created})
    formats = _Formats(book)
    for page in pages:
        _check_length(page)
    placed = [_write_page(book, formats, page, paper) for page in pages]
    book.close()
    return _with_rows(buffer, pages, placed)


def _check_length(page: Page) -> None:
    lines = HEADINGS_ROW + sum(band.rows.height + 3 for band in page.bands)
    if lines + (CHART_ROWS * len(page.bands) if page.plot else 0) > MOST_ROWS:
        raise TooLong(f"{page.title}: {lines} rows, a worksheet takes {MOST_ROWS}; the CSV, or fewer days or meters, do")


def _write_page(book: Any, formats: "_Formats", page: Page, paper: Paper) -> dict[int, Band]:
    """All but the rows; gives the bands by the line (from 0) at which their rows begin."""
    sheet = book.add_worksheet(page.title[:MOST_LETTERS])
    last_column = max(len(page.looks) - 1, 1)
    _set_up(sheet, page, paper)
    sheet.merge_range(0, 0, 0, last_column, f"{paper.utility}  {page.title}", formats.of(bold=True, font_size=14, align="center"))
    sheet.merge_range(1, 0, 1, last_column, page.notes, formats.of(align="center"))
    placed, line, breaks = {}, HEADINGS_ROW, []
    if page.is_blocks:
        _write_headings(sheet, formats, page.looks, line)
        line += 1
    for band in page.bands:
        if band.title:
            if line > HEADINGS_ROW + 1:
                breaks.append(line)
            sheet.merge_range(line, 0, line, last_column, band.title, formats.of(bold=True, bg_color="#eef2f8"))
            line += 1
        if band.headings and not page.is_blocks:
            _write_headings(sheet, formats, page.looks, line)
            line += 1
        first = line
        if not band.rows.is_empty():
            placed[line] = band
            _write_formats(sheet, formats, page.looks, line, has_marks=not band.marks.is_empty())
            line += band.rows.height
        if band.totals:
            for column, (value, look) in enumerate(zip(band.totals, page.looks, strict=True)):
                _put(
                    sheet, line, column, value, formats.of(bold=True, border=1, bg_color="#f2f2f2", num_format=look.total_format)
                )
            line += 1
        if page.plot and not band.rows.is_empty():
            _insert_chart(book, sheet, page, band, first, line + 1)
            line += CHART_ROWS + 1
    sheet.set_h_pagebreaks(breaks[:1023])
    return placed


def _write_headings(sheet: Any, formats: "_Formats", looks: Sequence[Look], line: int) -> None:
    heading = {"bold": True, "border": 1, "align": "center", "valign": "vcenter", "text_wrap": True, "bg_color": "#d9e2f0"}
    for column, look in enumerate(looks):
        if isinstance(look.heading, date):
            day = datetime.combine(look.heading, time())
            sheet.write_datetime(line, column, day, formats.of(**heading, num_format=look.heading_format))
        else:
            sheet.write_string(line, column, look.heading, formats.of(**heading))
    sheet.set_row(line, 30)


def _write_formats(sheet: Any, formats: "_Formats", looks: Sequence[Look], line: int, *, has_marks: bool) -> None:
    """A blank row with the format of each column, and behind them those of incomplete cells."""
    for column, look in enumerate(looks):
        sheet.write_blank(line, column, None, formats.of(border=1, num_format=look.format))
    if has_marks:
        for column, look in enumerate(looks, start=len(looks)):
            sheet.write_blank(line, column, None, formats.of(border=1, num_format=look.format, **INCOMPLETE))


def _insert_chart(book: Any, sheet: Any, page: Page, band: Band, first: int, line: int) -> None:
    plot: Plot = page.plot  # type: ignore[assignment]
    last = first + min(band.rows.height, plot.rows) - 1
    chart = book.add_chart({"type": plot.kind})
    name = sheet.get_name()
    for column in plot.values:
        series = {
            "name": str(page.looks[column].heading),
            "categories": [name, first, plot.x, last, plot.x],
            "values": [name, first, column, last, column],
        }
        chart.add_series(series)
    width = sum(round(look.width * CHARACTER_PIXELS) for look in page.looks)
    chart.set_size({"width": max(width, LEAST_WIDTH), "height": CHART_PIXELS})
    chart.set_legend({"position": "bottom"})
    chart.set_title({"name": band.title or page.title, "name_font": {"size": 11}})
    chart.show_blanks_as("gap")
    sheet.insert_chart(line, 0, chart)


def _set_up(sheet: Any, page: Page, paper: Paper) -> None:
    """Screen and paper: frozen headings and first columns, A4 landscape, as wide as the page, headings on every page."""
    for column, look in enumerate(page.looks):
        sheet.set_column(column, column, look.width)
    sheet.freeze_panes(HEADINGS_ROW + 1, page.frozen)
    sheet.set_landscape()
    sheet.set_paper(A4)
    sheet.set_margins(left=0.4, right=0.4, top=0.7, bottom=0.7)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(HEADINGS_ROW)
    sheet.set_header(f"&L{_plain(paper.utility)}&C{_plain(page.title)}&R{paper.period}")
    sheet.set_footer(f"&L{_plain(paper.foot)}&C{paper.page}")


def _plain(text: str) -> str:
    """Text for a page header, in which `&` begins a code and 255 characters are the limit of the whole."""
    return text[:70].replace("&", "&&")


def _put(sheet: Any, line: int, column: int, value: Value, form: Any) -> None:
    """A cell with a border also where there is no value: missing stays blank."""
    if value is None:
        sheet.write_blank(line, column, None, form)
    elif isinstance(value, str):
        sheet.write_string(line, column, value, form)
    else:
        sheet.write_number(line, column, value, form)


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


# --- rows as bytes ------------------------------------------------------------------------------------------------------------


def _with_rows(made: BytesIO, pages: Sequence[Page], placed: Sequence[Mapping[int, Band]]) -> bytes:
    """The workbook with the rows of its bands in place of their blank ones."""
    done = BytesIO()
    with ZipFile(made) as old, ZipFile(done, "w", ZIP_DEFLATED, compresslevel=LEVEL) as new:
        for name in old.namelist():
            found = re.fullmatch(r"xl/worksheets/sheet(\d+)\.xml", name)
            number = int(found[1]) - 1 if found else None
            pieces: Iterable[bytes] = [old.read(name)]
            if number is not None:
                pieces = _sheet_pieces(old.read(name), len(pages[number].looks), placed[number])
            # `open`, and not `writestr`, dates every file 1980: equal figures, equal bytes.
            with new.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
    return done.getvalue()


ROW = re.compile(rb'<row r="(\d+)"[^>]*>(.*?)</row>')
DIMENSION = re.compile(rb'(<dimension ref="A1:)[A-Z]+(\d+")')


def _sheet_pieces(xml: bytes, width: int, bands: Mapping[int, Band]) -> Iterator[bytes]:
    xml = DIMENSION.sub(rb"\g<1>" + xl_col_to_name(max(width - 1, 1)).encode() + rb"\2", xml, count=1)
    done = 0
    for row in ROW.finditer(xml):
        band = bands.get(int(row[1]) - 1)
        if band is not None:
            yield xml[done : row.start()]
            styles = [style.decode() for style in re.findall(rb' s="(\d+)"', row[2])]
            yield from _rows_xml(band, int(row[1]), styles[:width], styles[width:])
            done = row.end()
    yield xml[done:]


AT_ONCE = 5_000
"""Rows that are text at a time: memory stays bounded."""


def _rows_xml(band: Band, first: int, styles: Sequence[str], marked: Sequence[str]) -> Iterator[bytes]:
    """The rows, the first of them on the line `first` (from 1)."""
    for start in range(0, band.rows.height, AT_ONCE):
        rows = band.rows.slice(start, AT_ONCE)
        marks = band.marks.slice(start, AT_ONCE).select(pl.all().name.prefix("is_incomplete_"))
        line = (pl.int_range(pl.len()) + (first + start)).cast(pl.String)
        parts: list[pl.Expr] = [pl.lit('<row r="'), line, pl.lit('">')]
        for place, (name, kind) in enumerate(rows.schema.items()):
            mark = f"is_incomplete_{name}"
            style: pl.Expr = pl.lit(styles[place])
            if mark in marks.columns:
                style = pl.when(mark).then(pl.lit(marked[place])).otherwise(style)
            text, is_text = _cell(name, kind)
            opening = [pl.lit(f'<c r="{xl_col_to_name(place)}'), line, pl.lit('" s="'), style]
            before, after = (
                ('" t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>") if is_text else ('"><v>', "</v></c>")
            )
            content = pl.concat_str(pl.lit(before), text, pl.lit(after)).fill_null('"/>')
            parts += [*opening, content]
        lines = rows.hstack(marks) if marks.width else rows
        yield "".join(lines.select(pl.concat_str(*parts, pl.lit("</row>"))).to_series()).encode()


def _around(texts: pl.Series) -> tuple[str, str]:
    """What stands before and after each text of a column; blanks at its ends are kept."""
    has_blanks = bool(texts.cast(pl.String).str.contains(r"^\s|\s$").any())
    keeps = ' xml:space="preserve"' if has_blanks else ""
    return f'" t="inlineStr"><is><t{keeps}>', "</t></is></c>"


def _cell(name: str, kind: pl.DataType) -> tuple[pl.Expr, bool]:
    """The text of a column's cells, and whether they are texts and not numbers; null where there is no value."""
    value = pl.col(name)
    if kind == pl.Date:
        return (value.cast(pl.Int32) + DAYS_TO_1970).cast(pl.String), False
    if isinstance(kind, pl.Datetime):
        days = (value.dt.replace_time_zone(None) - pl.lit(EPOCH)).dt.total_milliseconds() / 86_400_000
        return days.cast(pl.String), False
    if kind.is_numeric():
        return value.cast(pl.String), False
    return _escaped(value.cast(pl.String)), True


NO_XML = r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
"""Characters that an XML file cannot hold."""


def _escaped(text: pl.Expr) -> pl.Expr:
    # Excel reads _x0041_ as a character: the underscore of such a text is written as one.
    return (
        text.str.replace_all(r"_(x[0-9A-Fa-f]{4}_)", "_x005F_$1")
        .str.replace_all(NO_XML, "\ufffd")
        .str.replace_all("&", "&amp;", literal=True)
        .str.replace_all("<", "&lt;", literal=True)
        .str.replace_all(">", "&gt;", literal=True)
        .str.replace_all("\r", "&#13;", literal=True)
    )

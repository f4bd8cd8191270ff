"""Rows of a select laid out as a page to print: a column for each day, a list with totals, or a block for each point."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import polars as pl

from assets import calendar, columns
from assets.reports.definition import Across, Definition, Listing, Sheet, Shown

Value = str | float | int | date | None
"""Of a cell outside of the rows; a date of a heading is shown by the column's format."""


class Words(NamedTuple):
    """What a workbook says besides titles and columns, in one language; `{}` takes values."""

    total: str
    all_rows: str
    all_meters: str
    legend: str
    period: str
    unit: str
    edition: str
    changes: str
    change_headings: tuple[str, str, str]
    run: str
    page: str
    months_complete: str
    truth: tuple[str, str]


WORDS = {
    "zh": Words(
        total="合计",
        all_rows="合计",
        all_meters="总计",
        legend="灰色斜体：数据不完整；空白：无数据",
        period="{} 至 {}",
        unit="单位",
        edition="第 {} 版，更正第 {} 版",
        changes="更正",
        change_headings=("项目", "原值", "现值"),
        run="运行",
        page="第 &P 页 / 共 &N 页",
        months_complete="完整月数",
        truth=("否", "是"),
    ),
    "en": Words(
        total="Total",
        all_rows="Total",
        all_meters="All meters",
        legend="Grey italics: incomplete; blank: no data",
        period="{} to {}",
        unit="Unit",
        edition="Edition {}, restates edition {}",
        changes="Changes",
        change_headings=("Column", "Before", "Now"),
        run="Run",
        page="Page &P of &N",
        months_complete="Complete months",
        truth=("no", "yes"),
    ),
}
"""By language of the site."""


class Look(NamedTuple):
    """A column of a page: its heading, width in characters, and the formats of its heading, rows and totals."""

    heading: str | date
    width: float
    heading_format: str
    format: str
    total_format: str


class Band(NamedTuple):
    """Rows under each other; `marks`: cells that are incomplete (of the columns it has); `totals`: empty for none.

    `title`, `headings`: whether they stand above. `rows` has as many columns as the page has looks.
    """

    rows: pl.DataFrame
    marks: pl.DataFrame
    totals: Sequence[Value]
    title: str = ""
    headings: bool = True


class Plot(NamedTuple):
    """A chart below each band: places of its columns."""

    kind: str
    x: int
    values: Sequence[int]
    rows: int


class Page(NamedTuple):
    """A worksheet without its looks; `notes`: the line below the title; `is_blocks`: each band on a page of its own."""

    title: str
    notes: str
    looks: Sequence[Look]
    bands: Sequence[Band]
    frozen: int
    plot: Plot | None = None
    is_blocks: bool = False


def laid_out(
    report: Definition,
    sheet: Sheet,
    rows: pl.DataFrame,
    register: pl.DataFrame,
    days: tuple[date, date],
    language: str,
    note: str,
) -> Page:
    """The page of a sheet. `register`: `meter`, `total` over the days. `note`: ends the line below the title."""
    words = WORDS[language]
    period = words.period.format(*days)
    title = sheet.titles[language]
    if isinstance(sheet.layout, Across):
        unit = f"{words.unit} {sheet.columns[sheet.layout.value].column.heading(language)}"
        notes = [period, unit, words.legend, note]
        looks, band = _across(sheet, sheet.layout, rows, register, days, language)
        return Page(title, _line(notes), looks, [band], len(sheet.layout.lead))
    notes = [period, words.legend if sheet.layout.complete else "", note]
    return _listing(sheet, sheet.layout, rows, title, _line(notes), language)


def _line(notes: Sequence[str]) -> str:
    return "    ".join(filter(None, notes))


def _across(
    sheet: Sheet, layout: Across, rows: pl.DataFrame, register: pl.DataFrame, days: tuple[date, date], language: str
) -> tuple[list[Look], Band]:
    """`value` of each day or month, and behind them `total`, number of complete ones, and coverage."""
    words, shown = WORDS[language], sheet.columns
    is_daily = layout.across == "day"
    over = calendar.days_between(*days) if is_daily else _months(*days)
    value, coverage = shown[layout.value], shown[layout.coverage]
    counted = columns.shared("days_complete").heading(language) if is_daily else words.months_complete
    across_format = shown[layout.across].column.format
    looks = [
        *(_look(shown[name], language) for name in layout.lead),
        *(Look(day, value.width, across_format, value.column.format, value.total_format) for day in over),
        Look(words.total, value.width + 3, "", value.column.format, value.total_format),
        Look(counted, 6, "", "0", "0"),
        Look(coverage.column.heading(language), 7, "", coverage.column.format, coverage.column.format),
    ]
    table = _turned(layout, rows, register)
    table = table.with_columns(_shown_values(shown, table, language))
    tails = ("total", "periods_complete", "coverage")

    def column(prefix: str, day: date, empty: pl.Expr) -> pl.Expr:
        name = f"{prefix}_{day}"
        return (pl.col(name) if name in table.columns else empty).alias(name)

    values = [column(layout.value, day, pl.lit(None, pl.Float64)) for day in over]
    marks = table.select(~column(layout.complete, day, pl.lit(False)).fill_null(False) for day in over)
    marks = marks.rename({f"{layout.complete}_{day}": f"{layout.value}_{day}" for day in over})
    by_period = {
        row[layout.across]: row["total"] for row in rows.group_by(layout.across).agg(_totals(layout)).iter_rows(named=True)
    }
    whole = rows.select(_totals(layout)).row(0)
    of_all = table.select(_sum(pl.col("total"))).item()
    totals: list[Value] = [
        words.all_meters,
        *(None for _ in layout.lead[1:]),
        *(by_period.get(day) for day in over),
        of_all,
        *whole[1:],
    ]
    return looks, Band(table.select(*layout.lead, *values, *tails), marks, totals)


def _months(first: date, last: date) -> list[date]:
    months = [calendar.month_of(first)]
    while calendar.next_month(months[-1]) <= last:
        months.append(calendar.next_month(months[-1]))
    return months


def _turned(layout: Across, rows: pl.DataFrame, register: pl.DataFrame) -> pl.DataFrame:
    """A row a `lead`: `<value>_<day>` and `<complete>_<day>` of every day, `total`, `periods_complete`, `coverage`.

    `total` is the difference of the register where `register` has it, else the sum of the known days, null where none is known;
    a meter that passed to another customer within the days has a row for each, of its own days. The coverage is the mean of the
    days on which the meter was there.
    """
    summed = rows.group_by(layout.lead, maintain_order=True).agg(_totals(layout))
    is_alone = pl.len().over("meter") == 1
    totals = (
        summed.join(register.rename({"total": "difference"}), on="meter", how="left", maintain_order="left")
        .with_columns(total=pl.when(is_alone).then(pl.coalesce("difference", "total")).otherwise("total"))
        .drop("difference")
    )
    if rows.is_empty():
        return totals
    text_days = rows.with_columns(pl.col(layout.across).cast(pl.String))
    wide = text_days.pivot(on=layout.across, index=layout.lead, values=[layout.value, layout.complete])
    return totals.join(wide, on=layout.lead, how="left", nulls_equal=True, maintain_order="left")


def _totals(layout: Across) -> list[pl.Expr]:
    return [
        _sum(pl.col(layout.value)).alias("total"),
        pl.col(layout.complete).sum().cast(pl.Int64).alias("periods_complete"),
        pl.col(layout.coverage).mean().alias("coverage"),
    ]


def _sum(value: pl.Expr) -> pl.Expr:
    """The sum of the known values; null where there is none."""
    return pl.when(value.count() > 0).then(value.sum())


def _listing(sheet: Sheet, layout: Listing, rows: pl.DataFrame, title: str, notes: str, language: str) -> Page:
    shown = {name: column for name, column in sheet.columns.items() if column.width and not (layout.blocks and name in layout.by)}
    looks = [_look(column, language) for column in shown.values()]
    bands = list(_bands(sheet, layout, rows, list(shown), language))
    names = list(shown)
    chart = layout.chart
    plot = Plot(chart.kind, names.index(chart.x), [names.index(name) for name in chart.values], chart.rows) if chart else None
    return Page(title, notes, looks, bands, layout.frozen, plot, layout.blocks)


def _bands(sheet: Sheet, layout: Listing, rows: pl.DataFrame, names: list[str], language: str) -> Iterator[Band]:
    words = WORDS[language]
    has_totals = any(column.total for column in sheet.columns.values())
    groups = rows.partition_by(layout.by, maintain_order=True, as_dict=True) if layout.by and not rows.is_empty() else {(): rows}
    for number, (key, own) in enumerate(groups.items()):
        values = own.with_columns(_shown_values(sheet.columns, own, language)).select(names)
        marks = _incomplete(sheet, layout, own, names)
        title = "  ".join(str(part) for part in key if part is not None) if layout.blocks else ""
        label = words.total if layout.blocks or not key else f"{words.total} {key[-1] if key[-1] is not None else ''}".strip()
        totals = _totals_of(sheet, own, names, label) if has_totals else []
        yield Band(values, marks, totals, title, headings=layout.blocks or number == 0)
    if layout.by and not layout.blocks and has_totals and len(groups) > 1:
        nothing = rows.select(names).clear()
        yield Band(nothing, pl.DataFrame(), _totals_of(sheet, rows, names, words.all_rows), headings=False)


def _incomplete(sheet: Sheet, layout: Listing, rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Marks of the numbers of rows that are not complete."""
    if not layout.complete:
        return pl.DataFrame()
    numbers = [name for name in names if rows.schema[name].is_numeric() and name not in sheet.grain]
    return rows.select((~pl.col(layout.complete).fill_null(False)).alias(name) for name in numbers)


def _totals_of(sheet: Sheet, rows: pl.DataFrame, names: list[str], label: str) -> list[Value]:
    totals: list[Value] = []
    for name in names:
        column, value = sheet.columns[name], pl.col(name)
        of = {"sum": _sum(value), "mean": _mean(value, column.weight), "max": value.max(), "min": value.min()}
        total = rows.select(of[column.total]).item() if column.total else None
        totals.append(float(total) if total is not None else None)
    return [label if totals[0] is None else totals[0], *totals[1:]]


def _mean(value: pl.Expr, weight: str) -> pl.Expr:
    """The mean of the known values, weighed where there is a weight."""
    if not weight:
        return value.mean()
    weights = pl.when(value.is_not_null()).then(pl.col(weight))
    return pl.when(weights.sum() > 0).then((value * weights).sum() / weights.sum())


def _look(shown: Shown, language: str) -> Look:
    form = shown.column.format
    return Look(shown.column.heading(language), shown.width, "", form or "@", shown.total_format)


def _shown_values(columns: Mapping[str, Shown], rows: pl.DataFrame, language: str) -> list[pl.Expr]:
    """Codes and truth values as words."""
    no, yes = WORDS[language].truth
    codes = {
        name: column.values[language] for name, column in columns.items() if name in rows.columns and column.values[language]
    }
    truths = [pl.col(name) for name, kind in rows.schema.items() if kind == pl.Boolean and name in columns]
    return [
        *(pl.col(name).replace(texts) for name, texts in codes.items()),
        *(pl.when(truth).then(pl.lit(yes)).when(~truth).then(pl.lit(no)).alias(truth.meta.output_name()) for truth in truths),
    ]

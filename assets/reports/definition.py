"""A report as the headers in `sql/reports/` describe it: a file a sheet, a workbook of one sheet or several."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from assets import calendar, columns
from assets.columns import Column
from ingest_daemon.contract.headers import SQL, read_header

LANGUAGES = ("zh", "en")
Total = Literal["", "sum", "mean", "max", "min"]
Period = Literal["days", "month", "year"]

KEYS = {"zh", "en", "description", "grain", "deps", "columns", "layout", "csv"}
"""What every header has."""
OTHER_KEYS = {"period", "sheet_of", "workbook"}
COLUMN_KEYS = {"width", "total", "weight", "total_format", "values"}
"""What a report says of a column besides its words."""


class Shown(NamedTuple):
    """A column of a sheet: its words, width in characters (0: in the CSV alone), total, and the words of its codes by language.

    `weight`: the column that weighs a mean.
    """

    column: Column
    width: float
    total: Total
    weight: str
    total_format: str
    values: Mapping[str, Mapping[str, str]]


class Across(NamedTuple):
    """Rows of `lead`, a column for each `across` (day or month): its `value`, `coverage` (0 to 1), whether it is `complete`."""

    lead: Sequence[str]
    across: str
    value: str
    coverage: str
    complete: str


class Chart(NamedTuple):
    """A figure below the rows: `values` over `x`, of the first `rows` rows at most."""

    kind: Literal["line", "column"]
    x: str
    values: Sequence[str]
    rows: int = 400


class Listing(NamedTuple):
    """A row a row of the select, totals below.

    `by`: rows of one value stand together with totals of their own; with `blocks` each under a title and headings, on a page of
    its own. `complete`: a column that is true where the row's figures are complete. `frozen`: columns that stay on the screen.
    """

    by: Sequence[str] = ()
    blocks: bool = False
    complete: str = ""
    frozen: int = 0
    chart: Chart | None = None


class Sheet(NamedTuple):
    """A sheet and its CSV; `titles` by language, `grain` the columns that name a row."""

    name: str
    titles: Mapping[str, str]
    grain: Sequence[str]
    deps: tuple[str, ...]
    columns: Mapping[str, Shown]
    layout: Across | Listing
    csv: Sequence[str]
    query: str


class Definition(NamedTuple):
    """A workbook; `period` is what it covers when nobody asks for other days."""

    name: str
    titles: Mapping[str, str]
    description: str
    deps: tuple[str, ...]
    period: Period
    sheets: tuple[Sheet, ...]

    @property
    def version(self) -> str:
        """A hash of the selects."""
        return sha256("\n".join(sheet.query for sheet in self.sheets).encode()).hexdigest()[:8]


@cache
def _headers() -> Mapping[str, tuple[Path, dict[str, Any], str]]:
    """Path, header and select of every sheet by name. Raises `ValueError` naming the file."""
    found = {path.stem: (path, *read_header(path)) for path in sorted((SQL / "reports").glob("*.sql"))}
    for path, header, _ in found.values():
        if wrong := sorted(KEYS - header.keys()):
            raise ValueError(f"{path}: the header has no {', '.join(wrong)}")
        if wrong := sorted(header.keys() - KEYS - OTHER_KEYS):
            raise ValueError(
                f"{path}: the header has unknown {', '.join(wrong)}; allowed: {', '.join(sorted(KEYS | OTHER_KEYS))}"
            )
        if header.get("sheet_of", path.stem) not in found:
            raise ValueError(f"{path}: sheet_of: expected a report of the folder; there is {header['sheet_of']!r}")
    return found


def names() -> list[str]:
    """Every report there is."""
    return sorted(name for name, (_, header, _) in _headers().items() if "sheet_of" not in header)


@cache
def definition(name: str) -> Definition:
    """The report. Raises `ValueError` where there is none, or its header is wrong."""
    if name not in names():
        raise ValueError(f"no report {name!r}; there are: {', '.join(names())}")
    path, header, _ = _headers()[name]
    further = [other for other, (_, others, _) in _headers().items() if others.get("sheet_of") == name]
    sheets = tuple(_sheet(*_headers()[sheet]) for sheet in (name, *further))
    deps = tuple(dict.fromkeys(dep for sheet in sheets for dep in sheet.deps))
    period = header.get("period", "days")
    if period not in get_args(Period):
        raise ValueError(f"{path}: period is {period!r}, allowed: {', '.join(get_args(Period))}")
    titles = header.get("workbook", header)
    return Definition(name, {language: titles[language] for language in LANGUAGES}, header["description"], deps, period, sheets)


def _sheet(path: Path, header: Mapping[str, Any], query: str) -> Sheet:
    shown = {name: _shown(path, header["deps"], name, own or {}) for name, own in header["columns"].items()}
    layout = _layout(path, header["layout"])
    named = {*header["grain"], *header["csv"], *(shown[name].weight for name in shown if shown[name].weight), *_named(layout)}
    if absent := sorted(named - shown.keys()):
        raise ValueError(f"{path}: {', '.join(absent)}: expected columns that are listed: {', '.join(shown)}")
    titles = {language: header[language] for language in LANGUAGES}
    return Sheet(path.stem, titles, header["grain"], tuple(header["deps"]), shown, layout, header["csv"], query)


def _layout(path: Path, header: Mapping[str, Any]) -> Across | Listing:
    own = dict(header)
    kind = own.pop("kind", "")
    try:
        if kind == "across":
            return Across(**own)
        if kind in ("list", "blocks"):
            chart = Chart(**own.pop("chart")) if "chart" in own else None
            return Listing(**own, blocks=kind == "blocks", chart=chart)
    except TypeError as error:
        raise ValueError(f"{path}: layout: {error}") from None
    raise ValueError(f"{path}: layout: kind is {kind!r}, allowed: across, list, blocks")


def _named(layout: Across | Listing) -> set[str]:
    if isinstance(layout, Across):
        return {*layout.lead, layout.across, layout.value, layout.coverage, layout.complete}
    chart = {layout.chart.x, *layout.chart.values} if layout.chart else set()
    return {*layout.by, *chart, *filter(None, [layout.complete])}


def _shown(path: Path, tables: Sequence[str], name: str, own: Mapping[str, Any]) -> Shown:
    """The column as the first of `tables` that has it describes it, with what the report's header has of its own."""
    described = columns.of(tables, name)
    words = {key: value for key, value in own.items() if key not in COLUMN_KEYS}
    column = columns.describe(path, name, words, described._asdict() if described else {})
    total = own.get("total", "")
    if total not in get_args(Total):
        raise ValueError(f"{path}: column {name}: total is {total!r}, allowed: {', '.join(filter(None, get_args(Total)))}")
    values = own.get("values", {})
    by_language = {language: {code: texts[place] for code, texts in values.items()} for place, language in enumerate(LANGUAGES)}
    return Shown(column, own.get("width", 0), total, own.get("weight", ""), own.get("total_format", column.format), by_language)


def usual_days(period: Period, first_known: date, newest: date) -> tuple[date, date]:
    """What a report covers when nobody asks for other days.

    `days`: the month up to the newest day. `month`: the last month that is over, of a site without one the month so far. `year`:
    the year up to the end of that month.
    """
    month = calendar.month_of(newest)
    if period == "days":
        return month, newest
    is_over = newest + timedelta(days=1) == calendar.next_month(month)
    last = newest if is_over else month - timedelta(days=1)
    if last < first_known:
        last = newest
    return (calendar.month_of(last) if period == "month" else last.replace(month=1, day=1)), last

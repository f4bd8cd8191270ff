"""How things look: Grafana's unit and decimals of a column, colours, and the sentence fragments that make a column readable.

Not here: words (`vocabulary.py`, `columns.py`), limits (`thresholds.py`), panel shapes (`panels.py`).
"""

from typing import NamedTuple

from dashboards import Json
from dashboards.vocabulary import Column

GOOD, WARN, BAD, CALM, NEUTRAL = "green", "orange", "red", "blue", "text"
FLOW, PRESSURE, VOLUME = "#3274D9", "#1A9E77", "#5794F2"
QUIET = "#2A6F63"
"""What is as it should be, where a cell has to have a colour."""
FORMER = "#8E8E8E"
"""What is there to compare with: the period before, last year."""
TINT = "rgba(110, 159, 255, 0.16)"
"""Behind a row that sums up the others."""
SHADE = "rgba(140, 140, 150, 0.25)"
"""Of days off and nights on a curve."""

COVERED = "#2B4A4A"
"""Of a day in a strip that is as it should be."""

MISSING = "—"
"""What stands where a value is missing."""


WIDTHS: dict[str, Json] = {"meter": {"custom__width": 84}, "customer_no": {"custom__width": 92}}
"""Properties that a column has in every table unless it is given others: where only one column is free, none is pushed out."""


WRAPPED = {
    "customer_name",
    "customer",
    "name",
    "candidate_words",
    "candidate",
    "industry_name",
    "address",
    "kind",
    "reason_words",
}
"""Columns of names, which take a second line where one does not do."""


class Unit(NamedTuple):
    """Grafana's unit id, its id in a table whose head has the unit, the unit as printed there, and decimals."""

    id: str
    in_cell: str
    printed: str
    decimals: int | None


TEXT = Unit("string", "string", "", None)
"""Text stays text: with any other unit Grafana reads the terminal number 0012 as the number 12."""

TIMES = {"yyyy-mm-dd hh:mm": "time:YYYY-MM-DD HH:mm", "hh:mm": "time:HH:mm"}
"""Grafana's unit of a spreadsheet format. Not for a civil date: it has no zone, boards select it as text."""

PREDEFINED = {"%": "percent", "s": "s"}
"""Units that Grafana prints itself, beside each value."""


GROUPED = "currency:financial:"
"""The one unit of Grafana's with separators of thousands and fixed decimals; a prefix follows, or with `:suffix` a suffix."""

BETTER, WORSE = "\u200b", "\u200c"
"""Unseen at the end of a text whose colour they decide (`panels.tables.senses`)."""

_NOTHING = "\u200b"


def unit(column: Column) -> Unit:
    """The unit of a column, from its unit and its format."""
    if column.format in TIMES:
        return Unit(TIMES[column.format], TIMES[column.format], "", None)
    if not column.format or "y" in column.format:
        return TEXT
    decimals = len(column.format.rstrip("%").partition(".")[2])
    if column.format.endswith("%"):
        return Unit("percentunit", "percentunit", "", decimals)
    if column.unit in PREDEFINED:
        return Unit(PREDEFINED[column.unit], PREDEFINED[column.unit], "", decimals)
    in_cell = f"{GROUPED}{_NOTHING}:suffix" if column.format.startswith("#,##0") else "none"
    if column.unit == "¥":
        return Unit(f"{GROUPED}¥", in_cell, column.unit, decimals)
    if not column.unit:
        return Unit(in_cell, in_cell, "", decimals)
    grouped = f"{GROUPED} {column.unit}:suffix" if column.format.startswith("#,##0") else f"suffix: {column.unit}"
    return Unit(grouped, in_cell, column.unit, decimals)

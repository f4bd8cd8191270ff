"""How things look: Grafana's unit and decimals of a column, colours, and the sentence fragments that make a column readable.

Not here: words (`vocabulary.py`, `columns.py`), limits (`thresholds.py`), panel shapes (`panels.py`).
"""

from typing import NamedTuple

from dashboards.vocabulary import Column

GOOD, WARN, BAD, CALM, NEUTRAL = "green", "orange", "red", "blue", "text"
FLOW, PRESSURE, VOLUME = "#3274D9", "#1A9E77", "#5794F2"

MISSING = "—"
"""What stands where a value is missing."""


class Unit(NamedTuple):
    """Grafana's unit id, the unit as printed in a table head, and decimals."""

    id: str
    printed: str
    decimals: int | None


TEXT = Unit("string", "", None)
"""Text stays text: with any other unit Grafana reads the terminal number 0012 as the number 12."""

TIMES = {"yyyy-mm-dd hh:mm": "time:YYYY-MM-DD HH:mm", "hh:mm": "time:HH:mm"}
"""Grafana's unit of a spreadsheet format. Not for a civil date: it has no zone, boards select it as text."""

PREDEFINED = {"%": "percent", "s": "s"}
"""Units that Grafana prints itself, beside each value."""


def unit(column: Column) -> Unit:
    """The unit of a column, from its unit and its format."""
    if column.format in TIMES:
        return Unit(TIMES[column.format], "", None)
    if not column.format or "y" in column.format:
        return TEXT
    decimals = len(column.format.rstrip("%").partition(".")[2])
    if column.format.endswith("%"):
        return Unit("percentunit", "", decimals)
    if column.unit in PREDEFINED:
        return Unit(PREDEFINED[column.unit], "", decimals)
    return Unit(f"suffix:{column.unit}" if column.unit else "none", column.unit, decimals)

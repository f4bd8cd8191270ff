"""How things look: units and decimals by column, colours, and the sentence fragments that make a column readable.

Not here: words (`vocabulary.py`), limits (`thresholds.py`), panel shapes (`panels.py`).
"""

from typing import NamedTuple

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
TIME = Unit("time:YYYY-MM-DD HH:mm", "", None)
COUNT = Unit("none", "", 0)
VOLUME_M3 = Unit("suffix:m³", "m³", 1)
FLOW_M3H = Unit("suffix:m³/h", "m³/h", 2)
PRESSURE_MPA = Unit("suffix:MPa", "MPa", 3)
SHARE = Unit("percentunit", "", 1)
RATE = Unit("percent", "", 1)

BY_SUFFIX: tuple[tuple[str, Unit], ...] = (
    ("_m3h", FLOW_M3H),
    ("_m3", VOLUME_M3),
    ("_mpa", PRESSURE_MPA),
    ("_at", TIME),
    ("_pct", RATE),
    ("_v", Unit("suffix:V", "V", 2)),
    ("_mm", Unit("suffix:mm", "mm", 0)),
    ("_min", Unit("suffix:min", "min", 0)),
    ("_s", Unit("s", "", 0)),
    ("value", Unit("none", "", 3)),
    ("coverage", SHARE),
    ("coefficient", Unit("none", "", 2)),
    ("days_complete", COUNT),
    ("meters", COUNT),
    ("reporting", COUNT),
    ("alarms", COUNT),
    ("hour_start", Unit("time:HH:mm", "", None)),
)


def unit(column: str) -> Unit:
    """The unit of a column, from its name (marts carry units in the names)."""
    return next((found for suffix, found in BY_SUFFIX if column.endswith(suffix)), TEXT)

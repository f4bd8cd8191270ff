"""One file a board; its name is the board's uid and it offers `board()`. Found by folder, no list to edit."""

from dashboards import Json, style
from dashboards.panels import mapping, painted
from dashboards.vocabulary import ALARMS, ORIGINS, STATES

ALARM_COLUMNS: dict[str, Json] = {
    "event_at": {"custom__width": 140},
    "state": painted(mappings=mapping(STATES, {"raised": style.BAD, "cleared": style.GOOD}), custom__width=120),
    "code": {"mappings": mapping(ALARMS), "custom__width": 190},
    "value": {},
    "limit_value": {},
    "unit": {"custom__width": 60},
    "origin": {"mappings": mapping(ORIGINS)},
    "received_at": {"custom__width": 140},
}
"""The columns of an alarm table, on whichever board it is; value and limit carry their unit in a column of its own."""

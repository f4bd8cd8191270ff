"""One file a board; its name is the board's uid and it offers `board()`. Found by folder, no list to edit.

Here also how an alarm looks, on whichever board it is.
"""

from dashboards import Json, style, thresholds
from dashboards.panels import mapping, painted, to_desk
from dashboards.vocabulary import ALARM_LINK, ALARM_STATES, ALARMS, ORIGINS, SEVERITIES

STATE = """CASE WHEN a.retracted_at IS NOT NULL THEN 'retracted' WHEN a.cleared_at IS NOT NULL THEN 'cleared'
    WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END"""
"""The state of the alarm `a`; whether it is acknowledged is told of open ones, of the others there is a column."""

_MS = "CAST(CAST(1000 * (extract(epoch FROM a.raised_at) {} {}) AS bigint) AS text) AS {}"
AROUND = ",\n  ".join(_MS.format(sign, thresholds.ALARM_AROUND_S, name) for sign, name in (("-", "from_ms"), ("+", "to_ms")))
"""The range of the chart of the alarm `a`, as Grafana has times in links."""

HIDDEN: dict[str, Json] = {name: {"custom__hidden": True} for name in ("alarm_id", "meter", "from_ms", "to_ms")}
"""Columns that only links need."""


def alarm_words(column: str) -> str:
    """The words of an alarm code."""
    cases = " ".join(f"WHEN '{code}' THEN '{alarm}'" for code, alarm in ALARMS.items())
    return f"CASE {column} {cases} ELSE {column} END"


def alarm_columns() -> dict[str, Json]:
    """How each column of an alarm is shown; a board takes those that it selects."""
    severities = dict(zip(SEVERITIES, ("dark-red", style.WARN, "#8F7B3B", style.CALM), strict=True))
    chart = "/d/customer?var-meter=${__data.fields.meter:percentencode}&from=${__data.fields.from_ms}&to=${__data.fields.to_ms}"
    links = {"links": [{"title": str(ALARM_LINK["chart"]), "url": chart}]}
    return {
        "severity": painted(mappings=mapping(SEVERITIES, severities), custom__width=104),
        "code": {"mappings": mapping(ALARMS), "custom__minWidth": 150, **to_desk()},
        "state": {
            "mappings": mapping(ALARM_STATES, {"open": style.BAD}),
            "custom__cellOptions": {"type": "color-text"},
            "custom__width": 116,
        },
        "raised_at": {"custom__width": 136},
        "cleared_at": {"custom__width": 136},
        "open_for": {"custom__width": 90},
        "customer": {"custom__minWidth": 130, **links},
        "measured_value": {"custom__minWidth": 90},
        "measured_limit": {"custom__minWidth": 90},
        "origin": {"mappings": mapping(ORIGINS)},
        "acknowledged_by": {},
        "cause": {},
        **HIDDEN,
    }


def shown(names: str) -> dict[str, Json]:
    """The columns (names apart by spaces) of an alarm table, and the hidden ones."""
    columns = alarm_columns()
    return {name: columns[name] for name in (*names.split(), *HIDDEN)}

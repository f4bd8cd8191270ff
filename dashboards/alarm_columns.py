"""How an alarm looks in a table, on whichever board it is, and the filters by which alarms are found and counted."""

from dashboards import Json, style, thresholds
from dashboards.links import to_desk
from dashboards.panels.core import mapping
from dashboards.panels.tables import coloured, hidden, painted
from dashboards.ticker import WHO, number
from dashboards.variables import fixed_choice, region, text_box
from dashboards.vocabulary import ALARM_LINK, ALARM_STATES, ALARMS, ALL, ORIGINS, SEVERITIES, TELLING, language

STATE = """CASE WHEN a.retracted_at IS NOT NULL THEN 'retracted' WHEN a.cleared_at IS NOT NULL THEN 'cleared'
    WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END"""
"""The state of the alarm `a`; whether it is acknowledged is told of open ones, of the others there is a column."""

_MS = "CAST(CAST(1000 * (extract(epoch FROM a.raised_at) {} {}) AS bigint) AS text) AS {}"
AROUND = ",\n  ".join(_MS.format(sign, thresholds.ALARM_AROUND_S, name) for sign, name in (("-", "from_ms"), ("+", "to_ms")))
"""The range of the chart of the alarm `a`, as Grafana has times in links."""

VALUE_LIMIT = f"""nullif(rtrim(concat_ws(' / ', {number("a.peak_value")}, {number("a.limit_value")}) || ' ' || a.unit), '')
    AS value_limit"""
"""Value and limit of the alarm `a`, with their unit."""

SELECTED = f"""a.raised_at, a.severity, a.code, {STATE} AS state, {WHO}, {VALUE_LIMIT},
  a.cleared_at, a.acknowledged_by, a.cause, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}"""
"""What lists of alarms, open and past, select of the alarm `a`."""

HIDDEN = hidden("alarm_id meter from_ms to_ms")
"""Columns that only links need."""

PRESSING = "array_position(array['critical', 'warning', 'maintenance', 'info'], a.severity)"
"""The place of the alarm `a` among the severities, the most pressing first."""

CHOSEN = f"""ops.alarm AS a LEFT JOIN mart.customer AS c ON c.customer_no = a.customer_no
WHERE $__timeFilter(a.raised_at)
  AND ${{alarm_code:sqlstring}} IN ('all', a.code) AND ${{severity:sqlstring}} IN ('all', a.severity)
  AND ${{region:sqlstring}} IN ('all', coalesce(c.region, ''))
  AND concat_ws(' ', a.customer_no, a.customer_name, a.meter) ILIKE '%' || ${{customer:sqlstring}} || '%'
  AND (${{state:sqlstring}} IN ('all', {STATE}) OR ${{state:sqlstring}} = 'acknowledged' AND a.acknowledged_at IS NOT NULL)"""
"""The alarms that the filters choose; `acknowledged` are all that somebody has acknowledged."""


def filters() -> list[Json]:
    """The variables that `CHOSEN` goes by."""
    every = {"all": ALL}
    return [
        fixed_choice("alarm_code", every | {name: alarm.word for name, alarm in ALARMS.items()}),
        text_box("customer"),
        region(),
        fixed_choice("state", every | ALARM_STATES),
        fixed_choice("severity", every | SEVERITIES),
    ]


def alarm_words(column: str) -> str:
    """The words of an alarm code."""
    cases = " ".join(f"WHEN '{code}' THEN '{alarm}'" for code, alarm in ALARMS.items())
    return f"CASE {column} {cases} ELSE {column} END"


def lasted(since: str = "a.raised_at") -> str:
    """How long ago the instant `since` is, in words; at first for how long the alarm `a` has been open."""
    minutes, hours, days = (TELLING[name] for name in ("minutes", "hours", "days"))
    return f"""CASE WHEN now() < {since} + interval '1 hour'
    THEN floor(extract(epoch FROM now() - {since}) / 60) || '{minutes}'
    WHEN now() < {since} + interval '2 days' THEN floor(extract(epoch FROM now() - {since}) / 3600) || '{hours}'
    ELSE floor(extract(epoch FROM now() - {since}) / 86400) || '{days}' END"""


def code_width() -> int:
    """Pixels of the longest words of an alarm; Grafana would not give a mapped value a second line."""
    return 146 if language() == "en" else 126


def alarm_columns() -> dict[str, Json]:
    """How each column of an alarm is shown; a board takes those that it selects."""
    severities = dict(zip(SEVERITIES, ("dark-red", style.WARN, "#8F7B3B", style.CALM), strict=True))
    chart = "/d/recall?var-meter=${__data.fields.meter:percentencode}&from=${__data.fields.from_ms}&to=${__data.fields.to_ms}"
    links = {"links": [{"title": str(ALARM_LINK["chart"]), "url": chart}]}
    return {
        "severity": painted(mappings=mapping(SEVERITIES, severities), custom__width=96),
        "code": {"mappings": mapping(ALARMS), "custom__width": code_width(), **to_desk()},
        "state": coloured(mappings=mapping(ALARM_STATES, {"open": style.BAD}), custom__width=104),
        "raised_at": {"custom__width": 142},
        "cleared_at": {"custom__width": 142},
        "open_for": {"custom__width": 80},
        "customer": {"custom__minWidth": 108, **links},
        "value_limit": {"custom__width": 140},
        "origin": {"mappings": mapping(ORIGINS), "custom__width": 96},
        "acknowledged_by": {"custom__width": 72, "custom__wrapText": True},
        "cause": {"custom__width": 84, "custom__wrapText": True},
        **HIDDEN,
    }


def shown(names: str) -> dict[str, Json]:
    """The columns (names apart by spaces) of an alarm table, and the hidden ones."""
    columns = alarm_columns()
    return {name: columns[name] for name in (*names.split(), *HIDDEN)}

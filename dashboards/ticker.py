"""The alarms that stand on every board until they are over and acknowledged, and how an alarm's value is written in SQL."""

from dashboards import Json, columns, style, thresholds
from dashboards.links import to_desk
from dashboards.panels.core import mapping
from dashboards.panels.tables import hidden, painted, table
from dashboards.vocabulary import ALARMS, TICKER_STATES, words

HEIGHT = 4
"""Rows of the grid."""


def number(column: str) -> str:
    """A value of the alarm `a` with the decimals of its unit."""
    digits_of = {alarm.unit: columns.decimals(alarm.unit) for alarm in ALARMS.values()}
    forms = " ".join(f"WHEN '{unit}' THEN 'FM999999990{'.' * bool(digits)}{'0' * digits}'" for unit, digits in digits_of.items())
    return f"to_char(CAST({column} AS numeric), CASE a.unit {forms} ELSE 'FM999999990.00' END)"


def measured(column: str) -> str:
    """A value of the alarm `a` with its unit."""
    return f"rtrim({number(column)} || ' ' || a.unit)"


WHO = "concat_ws(' · ', nullif(a.customer_name, ''), a.meter) AS customer"
"""Customer and meter of the alarm `a`."""

TICKER = f"""SELECT a.state, a.raised_at, a.code, {WHO},
  {measured("a.value")} AS measured_value, CAST(a.alarm_id AS text) AS alarm_id
FROM ops.alarm_ticker AS a
WHERE a.role = 'viewer'
ORDER BY a.state = 'open' DESC, a.raised_at DESC
LIMIT {thresholds.TICKER_ROWS}"""

WORDS = words(
    "报警提醒",
    "Alarms now",
    "未恢复或未确认的报警；点击报警到工作台。",
    "Alarms that are open or not acknowledged; click one to see it in the desk.",
)


def ticker() -> Json:
    """The panel; a row leads to the alarm in the desk."""
    shown: dict[str, Json] = {
        "state": painted(mappings=mapping(TICKER_STATES, {"open": style.BAD}), custom__width=90),
        "raised_at": {"custom__width": 140},
        "code": {"mappings": mapping(ALARMS), "custom__minWidth": 130, **to_desk()},
        "customer": {"custom__minWidth": 150},
        "measured_value": {"custom__width": 120},
        **hidden("alarm_id"),
    }
    return table(WORDS, TICKER, shown)

"""One file a rule; its name is the rule's uid and it offers `alert()`. Found by folder, no list to edit.

Here also what rules are made of: every rule's SQL gives **every** meter with its value, and a threshold expression decides.
A query that gave only the bad ones would lose the values, and resolve for lack of data, at the moment of recovery.
"""

from dashboards import Json
from dashboards.panels import DATASOURCE
from dashboards.vocabulary import ALARMS

EXPRESSION = "__expr__"

METER = "{{ $labels.customer_name }} ({{ $labels.customer_no }})", "{{ $labels.meter }}"
"""Customer and meter in an annotation (annotations are not interpolated from the environment: one dollar)."""


def at(ref: str) -> str:
    """The epoch of query `ref` in an annotation, as civil time with its offset, in the zone that the server runs in (TZ).

    A time among the labels would make a new alert with each reading, so it comes as a value.
    """
    return f'{{{{ (toTime $values.{ref}.Value).Local.Format "2006-01-02 15:04:05 -07:00" }}}}'


def number(ref: str, form: str) -> str:
    """The value of query `ref` in an annotation, printed by `form`."""
    return f'{{{{ printf "{form}" $values.{ref}.Value }}}}'


def sql(ref: str, text: str) -> Json:
    """A query: text columns become labels (unique a row), the one numeric column the value."""
    model = {"refId": ref, "datasource": DATASOURCE, "editorMode": "code", "format": "table", "rawQuery": True, "rawSql": text}
    return {"refId": ref, "datasourceUid": DATASOURCE["uid"], "relativeTimeRange": {"from": 600, "to": 0}, "model": model}


def math(ref: str, expression: str) -> Json:
    """A formula over queries with the same labels."""
    model = {"refId": ref, "type": "math", "expression": expression, "datasource": {"type": EXPRESSION, "uid": EXPRESSION}}
    return {"refId": ref, "datasourceUid": EXPRESSION, "model": model}


def threshold(ref: str, of: str, kind: str, limit: float) -> Json:
    """The decision: `of` is `gt` (above) or `lt` (below) `limit`."""
    model = {
        "refId": ref,
        "type": "threshold",
        "expression": of,
        "datasource": {"type": EXPRESSION, "uid": EXPRESSION},
        "conditions": [{"evaluator": {"type": kind, "params": [limit]}}],
    }
    return {"refId": ref, "datasourceUid": EXPRESSION, "model": model}


def rule(uid: str, code: str, severity: str, data: list[Json], *, value: str, limit: str, event: str, every: str) -> Json:
    """A rule that decides by the last of `data`; `every` (evaluation interval) is taken out when rules are grouped.

    `value`, `limit` (with unit) and `event` (time) are annotation templates; the words are those of alarm `code`.
    An empty mart is no alarm; a query that fails is one.
    """
    customer, meter = METER
    words = ALARMS[code]
    summary = f"{words.zh}：{customer} 水表 {meter}，{value}（限值 {limit}），{event}"
    summary_en = f"{words.en}: {customer} meter {meter}, {value} (limit {limit}), {event}"
    return {
        "every": every,
        "uid": uid,
        "title": str(words),
        "condition": data[-1]["refId"],
        "data": data,
        "for": "0s",
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"code": code, "severity": severity},
        "annotations": {
            "summary": summary,
            "summary_en": summary_en,
            "customer": customer,
            "meter": meter,
            "value": value,
            "limit": limit,
            "event_at": event,
            "board": "{{ externalURL }}d/customer?var-meter={{ $labels.meter }}",
        },
        "isPaused": False,
    }

"""One file a rule; its name is the rule's uid and it offers `alert(links)`. Found by folder, no list to edit.

Here also what rules are made of. What an alarm is, is decided before it is a row (`sql/alarms/*.sql`, terminals): rules look at
rows and tell of them, in the language in which they are made.
"""

from dashboards import Json
from dashboards.panels.core import DATASOURCE

EXPRESSION = "__expr__"


def sql(ref: str, text: str) -> Json:
    """A query: text columns become labels (unique a row), the one numeric column the value."""
    model = {"refId": ref, "datasource": DATASOURCE, "editorMode": "code", "format": "table", "rawQuery": True, "rawSql": text}
    return {"refId": ref, "datasourceUid": DATASOURCE["uid"], "relativeTimeRange": {"from": 600, "to": 0}, "model": model}


def math(ref: str, expression: str) -> Json:
    """A formula over queries with the same labels."""
    return _expression(ref, {"type": "math", "expression": expression})


def above(ref: str, of: str, limit: float) -> Json:
    """The decision: `of` is above `limit`."""
    conditions = [{"evaluator": {"type": "gt", "params": [limit]}}]
    return _expression(ref, {"type": "threshold", "expression": of, "conditions": conditions})


def _expression(ref: str, model: Json) -> Json:
    datasource = {"type": EXPRESSION, "uid": EXPRESSION}
    return {"refId": ref, "datasourceUid": EXPRESSION, "model": {"refId": ref, "datasource": datasource, **model}}


# --- templates of annotations: one that fails is sent as it stands, so none may, whatever is missing ---------------------------


def label(name: str) -> str:
    """A label, "" where there is none."""
    return f'(index $labels "{name}")'


def chosen(cases: dict[str, str], otherwise: str = "") -> str:
    """The text of the first condition that holds."""
    parts = [f"{{{{ {'else if' if number else 'if'} {case} }}}}{text}" for number, (case, text) in enumerate(cases.items())]
    return "".join(parts) + (f"{{{{ else }}}}{otherwise}" if otherwise else "") + "{{ end }}"


def given(ref: str, text: str) -> str:
    """The text where query `ref` has a value: it gave a row, and no missing number, which is not equal to itself."""
    return chosen({f"$values.{ref}": chosen({f"eq $values.{ref}.Value $values.{ref}.Value": text})})


def encoded(value: str) -> str:
    """A value in a link; `urlquery` alone would write a blank as a plus."""
    return f'{{{{ reReplaceAll "[+]" "%20" (urlquery {value}) }}}}'

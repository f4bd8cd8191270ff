"""The rule of all alarms: each row of `ops.alarm_open` is an alert, which fires while `is_firing` and then resolves, once each.

Labels are what never changes over the life of an alarm; all that may (peak, times, how it ended) comes as values. A query that
fails or finds nothing new changes nothing (`KeepLast`): the rule `source` tells of that.
"""

import re

from dashboards import Json, Links, thresholds, uid
from dashboards.alerts import above, chosen, encoded, given, label, math, sql
from dashboards.columns import decimals
from dashboards.vocabulary import ALARMS, TELLING

_OPEN = """SELECT CAST(alarm_id AS text) AS alarm, code, severity, meter, customer_no, customer_name,
  CAST({} AS double precision) AS value
FROM ops.alarm_open"""

QUERIES = {
    "A": _OPEN.format("is_firing"),
    "P": _OPEN.format("peak_value"),
    "L": _OPEN.format("limit_value"),
    "E": _OPEN.format("extract(epoch FROM raised_at)"),
    "C": _OPEN.format("extract(epoch FROM cleared_at)"),
    "S": _OPEN.format("60 * floor(extract(epoch FROM cleared_at - raised_at) / 60)"),
    "R": _OPEN.format("CAST(is_retracted AS integer)"),
}
"""Every query gives every row, so that each value is found by its labels; what there is not is null."""

LOCAL = '(toTime $values.{}.Value).Local.Format "2006-01-02 15:04"'
"""An epoch (s) as civil time in the zone that the server runs in (TZ)."""


def alert(links: Links) -> Json:
    """The rule: A whether it fires, P peak, L limit, E raised, C cleared (epoch s), S open for (s), R whether it was retracted.

    D the decision; F and T the chart's range (ms).
    """
    data = [sql(ref, text) for ref, text in QUERIES.items()]
    data += [math(ref, f"($E {sign} {thresholds.ALARM_AROUND_S}) * 1000") for ref, sign in (("F", "-"), ("T", "+"))]
    return {
        "every": thresholds.ALARMS_EVERY,
        "uid": uid(__name__),
        "title": str(TELLING["rule"]),
        "condition": "D",
        "data": [*data, above("D", "A", 0.5)],
        "for": "0s",
        "noDataState": "OK",
        "execErrState": "KeepLast",
        "labels": {},
        "annotations": annotations(links),
        "isPaused": False,
    }


def annotations(links: Links) -> dict[str, str]:
    """What a notification says of an alarm."""
    told = {state: str(TELLING[state]) for state in ("firing", "cleared", "retracted")}
    summary = "".join(chosen({f'eq $state "{state}"': text}) for state, text in told.items())
    window = '&from={{ printf "%.0f" $values.F.Value }}&to={{ printf "%.0f" $values.T.Value }}'
    texts = {
        "title": f"{TELLING['title']}",
        "summary": summary,
        **{name: f"{{{{ ${name} }}}}" for name in ("customer", "meter", "value", "limit", "event_at")},
        "alarm_url": f"{links.desk}/alarms/{{{{ {label('alarm')} }}}}",
        "chart_url": "{{ externalURL }}d/customer?var-meter=" + encoded("$meter") + given("F", given("T", window)),
        "runbook_url": links.what_to_do("{{ toLower $code }}"),
    }
    return {name: _with_variables(text) for name, text in texts.items()}


def _with_variables(text: str) -> str:
    """The template, after the statements that set the variables in it."""
    needed: list[str] = []
    for name, statement in reversed(_variables().items()):
        if re.search(rf"\${name}\b", "".join([*needed, text])):
            needed.insert(0, statement)
    return "".join([*needed, text])


def _variables() -> dict[str, str]:
    """Statements by the variable that they set to a text; "" where a value is missing. Later ones use earlier ones."""
    customer, number = label("customer_name"), label("customer_no")
    known = {
        f"and {customer} {number}": f'printf "%s (%s)" {customer} {number}',
        f"or {customer} {number}": f"or {customer} {number}",
    }
    over = given("R", chosen({"gt $values.R.Value 0.5": _set("state", '"retracted"')}))
    minute = {"lt $values.S.Value 60.0": _set("lasted", f'"{TELLING["moment"]}"')}
    return {
        "code": f"{{{{ $code := {label('code')} }}}}",
        "meter": f"{{{{ $meter := {label('meter')} }}}}",
        "state": '{{ $state := "firing" }}' + given("A", chosen({"lt $values.A.Value 0.5": _set("state", '"cleared"') + over})),
        "name": "{{ $name := $code }}"
        + chosen({f'eq $code "{code}"': _set("name", f'"{alarm}"') for code, alarm in ALARMS.items()}),
        "form": '{{ $form := "%.4g" }}' + chosen({case: _set("form", f'"{form}"') for case, form in _forms().items()}),
        "customer": f'{{{{ $customer := "{TELLING["no_customer"]}" }}}}'
        + chosen({case: _set("customer", text) for case, text in known.items()}),
        "value": _text("value", "P", "printf $form $values.P.Value"),
        "limit": _text("limit", "L", "printf $form $values.L.Value"),
        "event_at": _text("event_at", "E", LOCAL.format("E")),
        "cleared_at": _text("cleared_at", "C", LOCAL.format("C")),
        "lasted": '{{ $lasted := "" }}' + given("S", chosen(minute, _set("lasted", _duration()))),
    }


def _set(name: str, value: str) -> str:
    return f"{{{{ ${name} = {value} }}}}"


def _text(name: str, ref: str, value: str) -> str:
    return f'{{{{ ${name} := "" }}}}' + given(ref, _set(name, value))


def _duration() -> str:
    """The seconds of S, whole minutes, in words."""
    text = "humanizeDuration $values.S.Value"
    for pattern, word in ((" 0s$", ""), ("m", TELLING["minutes"]), ("h", TELLING["hours"]), ("d", TELLING["days"])):
        text = f'reReplaceAll "{pattern}" "{word}" ({text})'
    return text


def _forms() -> dict[str, str]:
    """How a value is printed, by a condition on the code: with its unit, and the decimals of the unit."""
    codes: dict[str, list[str]] = {}
    for code, alarm in ALARMS.items():
        codes.setdefault(f"%.{decimals(alarm.unit)}f {alarm.unit}".strip(), []).append(f'"{code}"')
    return {f"eq $code {' '.join(of_form)}": form for form, of_form in codes.items()}

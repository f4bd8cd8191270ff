"""Who is told of alarms, and when: receivers as Grafana's contact points, policies, times of rest and message templates.

    rule (dashboards/alerts) ─▶ policy by severity and hour ─▶ contact point ─▶ webhook, e-mail, SMS channel, group robot

Each alarm is a group of its own, so that a new one does not send the old ones again, and is told once, however long it is open.
Not here: what a notification says of an alarm (`alerts/alarm.py`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dashboards import Json
from dashboards.vocabulary import SEVERITIES, TELLING, spoken

WEBHOOK, EMAIL, SMS, DINGTALK, WECOM = KINDS = ("webhook", "email", "sms", "dingtalk", "wecom")

LEAST_PRESSING_FIRST = tuple(reversed(SEVERITIES))

NEVER_AGAIN = "8760h"
"""An alarm is told once; Grafana must also remember for so long that it was (`notification_log_retention`)."""

SAID = (
    '{{{{ if and (eq .Status "resolved") .Annotations.{0}_resolved }}}}{{{{ .Annotations.{0}_resolved }}}}'
    "{{{{ else if .Annotations.{0} }}}}{{{{ .Annotations.{0} }}}}{{{{ else }}}}{{{{ .Labels.alertname }}}}{{{{ end }}}}"
)
"""What an alert says of itself; of a rule that is not ours, its name."""

ALWAYS = "mainflow always"
"""The time that is all of the time: what no receiver wants is silent for it."""


class Receiver(NamedTuple):
    """Somebody who is told of alarms of at least the severity `by_day`, and in the hours of `rest` (from, to) of `at_rest`.

    `kind`: one of `KINDS`. `address`: URL, e-mail addresses apart by commas. `secret`: sent as a bearer's by webhook and sms.
    """

    name: str
    kind: str
    address: str
    secret: str = ""
    by_day: str = LEAST_PRESSING_FIRST[0]
    at_rest: str = LEAST_PRESSING_FIRST[0]
    rest: tuple[str, str] | None = None

    @property
    def uid(self) -> str:
        """The uid of its contact point."""
        return f"mainflow-{self.name}"

    @property
    def resting(self) -> str:
        """The name of its hours of rest."""
        return f"mainflow {self.name}"


def notifications(receivers: Sequence[Receiver], former: Mapping[str, object], zone: str, language: str) -> Json:
    """The content of `alerting/notifications.yaml`.

    `former`: the content of before, whose contact points are taken back where they are gone. `zone`: of the hours of rest.
    """
    points = [{"orgId": 1, "name": each.name, "receivers": [_contact_point(each)]} for each in receivers]
    gone = sorted(_uids(former) - {each.uid for each in receivers})
    times = [_time(each.resting, *each.rest, zone) for each in receivers if each.rest]
    content: Json = {
        "apiVersion": 1,
        "templates": [{"orgId": 1, "name": "mainflow", "template": _templates(language)}],
        "muteTimes": [_time(ALWAYS, "00:00", "24:00", zone), *times],
        "contactPoints": points,
        "policies": [_policy(receivers)],
        "deleteContactPoints": [{"orgId": 1, "uid": uid} for uid in gone],
    }
    return {key: value for key, value in content.items() if value}


def _uids(content: Mapping[str, object]) -> set[str]:
    """The contact points of a file of before, and those that it took back: nobody knows whether Grafana has read it."""
    points: list[Json] = list(content.get("contactPoints") or [])  # type: ignore[call-overload]
    gone: list[Json] = list(content.get("deleteContactPoints") or [])  # type: ignore[call-overload]
    return {each["uid"] for point in points for each in point["receivers"]} | {each["uid"] for each in gone}


def _contact_point(receiver: Receiver) -> Json:
    said: Json = {"title": '{{ template "mainflow.title" . }}', "message": '{{ template "mainflow.message" . }}'}
    if receiver.kind == EMAIL:
        settings = {"addresses": receiver.address, "singleEmail": True, "subject": said["title"], "message": said["message"]}
        return {"uid": receiver.uid, "type": "email", "settings": settings, "disableResolveMessage": False}
    settings = {"url": receiver.address, "httpMethod": "POST"}
    if receiver.kind in (DINGTALK, WECOM):
        settings["payload"] = {"template": f'{{{{ template "mainflow.{receiver.kind}" . }}}}'}
    else:
        settings |= said
        if receiver.secret:
            settings |= {"authorization_scheme": "Bearer", "authorization_credentials": receiver.secret}
    return {"uid": receiver.uid, "type": "webhook", "settings": settings, "disableResolveMessage": False}


def _policy(receivers: Sequence[Receiver]) -> Json:
    first = receivers[0].name if receivers else "grafana-default-email"
    return {
        "orgId": 1,
        "receiver": first,
        "group_by": ["alarm"],
        "group_wait": "0s",
        "group_interval": "30s",
        "repeat_interval": NEVER_AGAIN,
        # What matches none would go to the receiver of all.
        "routes": [
            *(route for each in receivers for route in _routes(each)),
            {"receiver": first, "mute_time_intervals": [ALWAYS]},
        ],
    }


def _routes(receiver: Receiver) -> list[Json]:
    """One route for what is pressing at any hour, one for what is told by day only. An unknown severity is pressing."""
    by_day = LEAST_PRESSING_FIRST.index(receiver.by_day)
    always = max(by_day, LEAST_PRESSING_FIRST.index(receiver.at_rest)) if receiver.rest else by_day
    route: Json = {"receiver": receiver.name, "continue": True}
    routes = [{**route, **({"object_matchers": [["severity", "!~", "|".join(LEAST_PRESSING_FIRST[:always])]]} if always else {})}]
    if always > by_day:
        among = [["severity", "=~", "|".join(LEAST_PRESSING_FIRST[by_day:always])]]
        routes.append({**route, "object_matchers": among, "mute_time_intervals": [receiver.resting]})
    return routes


def _time(name: str, begin: str, end: str, zone: str) -> Json:
    """A time of each day; one over midnight has two parts."""
    parts = [(begin, end)] if begin < end else [(begin, "24:00"), ("00:00", end)]
    times = [{"start_time": start, "end_time": stop} for start, stop in parts if start != stop]
    return {"orgId": 1, "name": name, "time_intervals": [{"times": times, "location": zone}]}


def _templates(language: str) -> str:
    with spoken(language):
        look, chart, do = (str(TELLING[key]) for key in ("look", "chart", "what_to_do"))
    colon = "：" if language == "zh" else ": "
    return f"""{{{{ define "mainflow.title" -}}}}
{{{{ range .Alerts }}}}{SAID.format("title")}{{{{ end }}}}
{{{{- end }}}}
{{{{ define "mainflow.message" -}}}}
{{{{ range .Alerts }}}}{SAID.format("summary")}
{look}{colon}{{{{ .Annotations.alarm_url }}}}
{chart}{colon}{{{{ .Annotations.chart_url }}}}
{do}{colon}{{{{ .Annotations.runbook_url }}}}
{{{{ end }}}}
{{{{- end }}}}
{{{{ define "mainflow.markdown" -}}}}
{{{{ range .Alerts }}}}{SAID.format("summary")}

[{look}]({{{{ .Annotations.alarm_url }}}}) · [{chart}]({{{{ .Annotations.chart_url }}}})

{do}{colon}{{{{ .Annotations.runbook_url }}}}

{{{{ end }}}}Mainflow
{{{{- end }}}}
{{{{ define "mainflow.dingtalk" -}}}}
{{{{ coll.Dict "msgtype" "markdown" "markdown"
  (coll.Dict "title" (tmpl.Exec "mainflow.title" .) "text" (tmpl.Exec "mainflow.markdown" .)) | data.ToJSON }}}}
{{{{- end }}}}
{{{{ define "mainflow.wecom" -}}}}
{{{{ coll.Dict "msgtype" "markdown" "markdown" (coll.Dict "content" (tmpl.Exec "mainflow.markdown" .)) | data.ToJSON }}}}
{{{{- end }}}}
"""

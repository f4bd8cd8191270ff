"""Grafana's alarm posts → the text of an SMS, and whether one may go out at this hour. Pure.

The body is that of Grafana's contact point "webhook": `alerts[]` with `status`, `labels`, `annotations`, `fingerprint`. The
text is the annotation `summary`, the urgency the label `severity`.
"""

import json
from collections.abc import Mapping
from datetime import time
from hashlib import sha256
from typing import Any, NamedTuple

from ingest_daemon.contract.severities import SEVERITIES

LETTERS = 70
"""UCS-2 letters (16-bit units) of one SMS."""

RESOLVED = "resolved"
OF_FIRING = ("【报警】", "[ALARM]")
OWN_WORDS = (*OF_FIRING, "【恢复】", "【撤销】", "[CLEARED]", "[RETRACTED]")
"""How the summaries of our own rules begin, which say themselves what happened."""


class BadAlarms(ValueError):
    """The body is no post of Grafana; the text names what was expected."""


class Alarm(NamedTuple):
    """One alert. `key`: the same for the same alert in the same state."""

    alert: str
    state: str
    severity: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.alert} {self.state}"


def read_alarms(body: bytes) -> list[Alarm]:
    """The alerts of a body. Raises `BadAlarms`."""
    try:
        value = json.loads(body)
        alerts = value["alerts"] if isinstance(value, dict) else None
    except (ValueError, KeyError, RecursionError) as error:
        raise BadAlarms(f"expected JSON with alerts: {type(error).__name__} {error}") from None
    if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
        raise BadAlarms("expected JSON with a list of alerts")
    return [_alarm(alert) for alert in alerts]


def _alarm(alert: Mapping[str, Any]) -> Alarm:
    labels, annotations = (part if isinstance(part := alert.get(name), dict) else {} for name in ("labels", "annotations"))
    severity = str(labels.get("severity", "warning"))
    state = RESOLVED if alert.get("status") == RESOLVED else "firing"
    resolved = annotations.get("summary_resolved") if state == RESOLVED else None
    said = resolved or annotations.get("summary") or labels.get("alertname") or labels.get("code") or "未命名报警"
    name = alert.get("fingerprint") or sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()
    text = " ".join(str(said).split())
    if not text.startswith(OWN_WORDS) or (state == RESOLVED and text.startswith(OF_FIRING)):
        # A rule of somebody else, or one that ended without a word.
        text = ("【恢复】" if state == RESOLVED else "【报警】") + text
    # An unknown severity is sent at night too: better one SMS too many than an unseen alarm.
    return Alarm(_clean(str(name)), state, severity if severity in SEVERITIES else "critical", _clean(text))


def split(text: str, most: int) -> list[str]:
    """The text as at most `most` SMS, numbered where there are several; a longer text is cut off and ends in `…`."""
    if _units(text) <= LETTERS:
        return [text]
    pieces = [""]
    room = LETTERS - (len("(1/2)") if most > 1 else 0)
    for letter in text:
        if _units(pieces[-1] + letter) > room:
            if len(pieces) == most:
                while _units(pieces[-1]) > room - 1:
                    pieces[-1] = pieces[-1][:-1]
                pieces[-1] += "…"
                break
            pieces.append("")
        pieces[-1] += letter
    return [f"({number}/{len(pieces)}){piece}" for number, piece in enumerate(pieces, 1)] if len(pieces) > 1 else pieces


def is_night(at: time, start: time, end: time) -> bool:
    """Whether a local time of day is in the night, which may lie over midnight."""
    return start <= at < end if start <= end else at >= start or at < end


def may_wake(severity: str, least: str) -> bool:
    """Whether the severity is pressing enough to be sent at night."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def _clean(text: str) -> str:
    """The text without lone surrogates, which JSON can hold and files cannot."""
    return text.encode("utf-8", "replace").decode()


def _units(text: str) -> int:
    return len(text.encode("utf-16-be", "replace")) // 2

"""The rule of the source: the database does not answer, or nobody has looked for alarms of late."""

from dashboards import Json, Links, thresholds, uid
from dashboards.alerts import above, chosen, sql
from dashboards.vocabulary import TELLING

CODE = "OUTAGE"
"""Stands where alarms have their code; a section of the runbook."""

STALE = """SELECT CAST(coalesce(extract(epoch FROM now() - max(looked_at)) / 60, 0) + 0 * (SELECT count(*) FROM ops.alarm_open)
  AS double precision) AS value
FROM ops.alarm_look"""
"""Minutes since alarms were last looked for, 0 where nobody ever did; it fails where the view of alarms cannot be read."""


def alert(links: Links) -> Json:
    """The rule: A minutes since alarms were last looked for, 0 where nobody ever did; D the decision.

    A query that fails fires as well, and gives no A.
    """
    is_stale = f"gt $values.A.Value {thresholds.STALE_MIN:.1f}"
    words = {key: str(word) for key, word in TELLING.items()}
    return {
        "every": thresholds.ALARMS_EVERY,
        "uid": uid(__name__),
        "title": words["source"],
        "condition": "D",
        "data": [sql("A", STALE), above("D", "A", thresholds.STALE_MIN)],
        "for": thresholds.OUTAGE_AFTER,
        "noDataState": "OK",
        "execErrState": "Alerting",
        "labels": {"alarm": "source", "code": CODE, "severity": "critical"},
        # Grafana keeps the texts of the last answer when there is none, so that of an outage must stand in a good one as well.
        "annotations": {
            "title": words["source_title"],
            "summary": chosen({"$values.A": chosen({is_stale: words["stale"]}, words["outage"])}, words["outage"]),
            "title_resolved": words["back_title"],
            "summary_resolved": words["back"],
            "alarm_url": f"{links.desk}/alarms",
            "chart_url": "{{ externalURL }}",
            "runbook_url": links.what_to_do(CODE.lower()),
        },
        "isPaused": False,
    }

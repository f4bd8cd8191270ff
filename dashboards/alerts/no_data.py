"""Alert NO_DATA: a terminal that is in use has sent nothing for too long; it resolves with the next reading."""

from dashboards import Json, thresholds, uid
from dashboards.alerts import at, math, number, rule, sql, threshold

# A meter that has never sent counts from its installation; one with neither has nothing to count from.
_SILENT = """SELECT m.meter, coalesce(m.customer_no, '') AS customer_no, coalesce(m.customer_name, '') AS customer_name,
  CAST(extract(epoch FROM {}) AS double precision) {} AS value
FROM (
  SELECT DISTINCT ON (meter) meter, customer_no, customer_name, installed_on, silent_after_h
  FROM mart.meter WHERE removed_on IS NULL AND source <> 'manual' ORDER BY meter, installed_on DESC NULLS LAST
) AS m
LEFT JOIN mart.latest_status AS s ON s.meter = m.meter
WHERE s.reading_at IS NOT NULL OR m.installed_on IS NOT NULL"""

_SINCE = "coalesce(s.reading_at, CAST(m.installed_on AS timestamptz))"

HOURS = _SILENT.format(f"now() - {_SINCE}", "/ 3600")
LIMIT = _SILENT.replace("CAST(extract(epoch FROM {}) AS double precision) {} AS value", "m.silent_after_h AS value")
EVENT = _SILENT.format(_SINCE, "")


def alert() -> Json:
    """The rule: A hours since the last reading, B the hours allowed, T its time (epoch s), C the excess, D the decision."""
    data = [sql("A", HOURS), sql("B", LIMIT), sql("T", EVENT), math("C", "$A - $B"), threshold("D", "C", "gt", 0.0)]
    value, limit = (f"{number(ref, '%.0f')} h" for ref in "AB")
    return rule(
        uid(__name__), "NO_DATA", "warning", data, value=value, limit=limit, event=at("T"), every=thresholds.NO_DATA_EVERY
    )

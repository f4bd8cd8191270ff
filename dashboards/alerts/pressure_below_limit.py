"""Alert P_LO: a meter's latest pressure is below its own lower limit; it resolves when the pressure is back."""

from dashboards import Json, thresholds, uid
from dashboards.alerts import at, math, number, rule, sql, threshold

_LATEST = """SELECT meter, coalesce(customer_no, '') AS customer_no, coalesce(customer_name, '') AS customer_name, {} AS value
FROM mart.latest_status
WHERE pressure_mpa IS NOT NULL AND pressure_low_mpa IS NOT NULL AND pressure_at IS NOT NULL"""

PRESSURE = _LATEST.format("pressure_mpa")
LIMIT = _LATEST.format("pressure_low_mpa")
EVENT = _LATEST.format("CAST(extract(epoch FROM pressure_at) AS double precision)")


def alert() -> Json:
    """The rule: A pressure (MPa), B limit (MPa), T time of the pressure (epoch s), C margin (MPa), D the decision."""
    data = [
        sql("A", PRESSURE),
        sql("B", LIMIT),
        sql("T", EVENT),
        math("C", "$A - $B"),
        threshold("D", "C", "lt", thresholds.PRESSURE_MARGIN_MPA),
    ]
    value, limit = (f"{number(ref, '%.3f')} MPa" for ref in "AB")
    return rule(uid(__name__), "P_LO", "warning", data, value=value, limit=limit, event=at("T"), every=thresholds.PRESSURE_EVERY)

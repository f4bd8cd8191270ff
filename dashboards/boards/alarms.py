"""The board of alarms: what is open, what was (by filters), and how many there were of which kind, customer, region and month.

Figures are counted from `ops.alarm` itself, so that they follow the filters; those that were taken back are in no count.
"""

from dashboards import Json, style, thresholds, uid
from dashboards.boards import AROUND, STATE, alarm_words, shown
from dashboards.panels import WHO, bars, choice, dashboard, fixed_choice, layout, measured, plain, stat, steps, table, text_box
from dashboards.vocabulary import ALARM_STATES, ALARMS, ALL, SEVERITIES, TELLING, VALUES

_MEASURED = f"{measured('a.peak_value')} AS measured_value, {measured('a.limit_value')} AS measured_limit"

ACTIVE = f"""SELECT a.severity, a.code, {STATE} AS state, a.raised_at,
  {{open_for}} AS open_for, {WHO},
  {_MEASURED}, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE a.cleared_at IS NULL AND a.retracted_at IS NULL
ORDER BY array_position(array['critical', 'warning', 'maintenance', 'info'], a.severity),
  a.acknowledged_at IS NOT NULL, a.raised_at DESC
LIMIT {thresholds.ALARM_ROWS}"""

LASTED = """CASE WHEN now() < a.raised_at + interval '1 hour'
    THEN floor(extract(epoch FROM now() - a.raised_at) / 60) || '{minutes}'
    WHEN now() < a.raised_at + interval '2 days' THEN floor(extract(epoch FROM now() - a.raised_at) / 3600) || '{hours}'
    ELSE floor(extract(epoch FROM now() - a.raised_at) / 86400) || '{days}' END"""
"""For how long the alarm `a` has been open, in words."""

OPEN = """SELECT count(*) AS alarms FROM ops.alarm
WHERE cleared_at IS NULL AND retracted_at IS NULL AND """
TILES = {
    "alarms_critical": ("severity = 'critical'", style.BAD),
    "alarms_warning": ("severity = 'warning'", style.WARN),
    "alarms_others": ("severity IN ('maintenance', 'info')", style.NEUTRAL),
    "alarms_unacknowledged": ("acknowledged_at IS NULL", style.WARN),
}
"""What each tile counts of the open alarms, and its colour where there are some."""

CHOSEN = f"""ops.alarm AS a LEFT JOIN mart.customer AS c ON c.customer_no = a.customer_no
WHERE $__timeFilter(a.raised_at)
  AND ${{code:sqlstring}} IN ('all', a.code) AND ${{severity:sqlstring}} IN ('all', a.severity)
  AND ${{region:sqlstring}} IN ('all', coalesce(c.region, ''))
  AND concat_ws(' ', a.customer_no, a.customer_name, a.meter) ILIKE '%' || ${{customer:sqlstring}} || '%'
  AND (${{state:sqlstring}} IN ('all', {STATE}) OR ${{state:sqlstring}} = 'acknowledged' AND a.acknowledged_at IS NOT NULL)"""
"""The alarms that the filters choose; `acknowledged` are all that somebody has acknowledged."""

FOUND = f"""SELECT a.raised_at, a.severity, a.code, {STATE} AS state, {WHO}, {_MEASURED},
  a.cleared_at, a.acknowledged_by, a.cause, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM {CHOSEN}
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT {thresholds.ALARM_ROWS}"""

_FIGURES = """count(*) AS times, count(*) FILTER (WHERE a.cleared_at IS NULL) AS still_open,
  CAST(avg(extract(epoch FROM a.cleared_at - a.raised_at)) / 60 AS double precision) AS minutes_open,
  CAST(avg(extract(epoch FROM a.acknowledged_at - a.first_seen_at)) / 60 AS double precision) AS minutes_to_acknowledge"""

REGIONS = """SELECT __value, __text FROM (
  SELECT 0 AS place, 'all' AS __value, {} AS __text
  UNION SELECT 1, region, coalesce(region_name, region) FROM mart.customer WHERE region IS NOT NULL
) AS region ORDER BY place, __text"""


def by(key: str, name: str, order: str = "2 DESC, 1") -> str:
    """The figures of the chosen alarms by a key."""
    return f"""SELECT {key} AS {name}, {_FIGURES}
FROM {CHOSEN} AND a.retracted_at IS NULL
GROUP BY 1
ORDER BY {order}
LIMIT {thresholds.STATISTICS_ROWS}"""


def pareto(key: str, name: str) -> str:
    """How many of the chosen alarms a key has, most first, and the share of those up to it."""
    return f"""SELECT {name}, times,
  CAST(sum(times) OVER (ORDER BY times DESC, {name}) / sum(times) OVER () AS double precision) AS share_so_far
FROM (SELECT {key} AS {name}, count(*) AS times FROM {CHOSEN} AND a.retracted_at IS NULL GROUP BY 1) AS counted
ORDER BY times DESC, {name}
LIMIT {thresholds.PARETO_ROWS}"""


MONTH = "to_char(a.raised_at AT TIME ZONE ${__timezone:sqlstring}, 'YYYY-MM')"
"""In the zone that the board is looked at."""


def some(colour: str) -> Json:
    """Thresholds of a count: plain for none, else the colour."""
    return steps((None, style.NEUTRAL), (1, colour))


def board() -> Json:
    """The dashboard JSON."""
    none = f"'{VALUES['none']}'"
    code = alarm_words("a.code")
    cause = f"coalesce(nullif(a.cause, ''), {none})"
    figures = plain("times still_open minutes_open minutes_to_acknowledge")
    active = ACTIVE.format(open_for=LASTED.format(**{name: TELLING[name] for name in ("minutes", "hours", "days")}))
    panels = layout(
        [
            (4, [(6, stat(key, OPEN + which, ["alarms"], thresholds=some(colour))) for key, (which, colour) in TILES.items()]),
            (
                10,
                [
                    (
                        24,
                        table(
                            "alarms_active",
                            active,
                            shown("severity code state raised_at open_for customer measured_value measured_limit"),
                        ),
                    )
                ],
            ),
            (
                11,
                [
                    (
                        24,
                        table(
                            "alarms_found",
                            FOUND,
                            shown(
                                "raised_at severity code state customer measured_value measured_limit "
                                "cleared_at acknowledged_by cause"
                            ),
                        ),
                    )
                ],
            ),
            (
                10,
                [
                    (
                        12,
                        bars("alarms_pareto_code", pareto(code, "kind"), "kind", "times", horizontal=True, beside="share_so_far"),
                    ),
                    (
                        12,
                        bars(
                            "alarms_pareto_cause",
                            pareto(cause, "cause"),
                            "cause",
                            "times",
                            horizontal=True,
                            beside="share_so_far",
                        ),
                    ),
                ],
            ),
            (
                10,
                [
                    (12, table("alarms_by_code", by(code, "kind"), {"kind": {"custom__minWidth": 150}, **figures})),
                    (12, table("alarms_by_month", by(MONTH, "month", "1 DESC"), {"month": {}, **figures})),
                ],
            ),
            (
                10,
                [
                    (
                        12,
                        table(
                            "alarms_by_customer",
                            by(f"coalesce(nullif(a.customer_name, ''), {none})", "customer_name"),
                            {"customer_name": {}, **figures},
                        ),
                    ),
                    (
                        12,
                        table(
                            "alarms_by_region",
                            by(f"coalesce(c.region_name, c.region, {none})", "region_name"),
                            {"region_name": {}, **figures},
                        ),
                    ),
                ],
            ),
        ]
    )
    every = {"all": ALL}
    variables = [
        fixed_choice("code", every | {name: alarm.word for name, alarm in ALARMS.items()}),
        text_box("customer"),
        choice("region", REGIONS.format(f"'{ALL}'")),
        fixed_choice("state", every | ALARM_STATES),
        fixed_choice("severity", every | SEVERITIES),
    ]
    return dashboard(uid(__name__), panels, variables, since="now-30d")

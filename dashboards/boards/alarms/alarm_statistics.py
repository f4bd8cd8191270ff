"""How many alarms there were of which kind, cause, customer, region and month; those that were taken back are in no count.

Figures are counted from `ops.alarm` itself, so that they follow the filters.
"""

from dashboards import Json, thresholds
from dashboards.alarm_columns import CHOSEN, alarm_words, filters
from dashboards.board import dashboard, row
from dashboards.panels.charts import bars
from dashboards.panels.tables import table
from dashboards.variables import ZONE
from dashboards.vocabulary import VALUES, Word, words

TITLE = Word("报警统计", "Alarm statistics")
MORE = Word("按类型、原因、客户、区域、月份统计报警。", "Alarms by kind, cause, customer, region and month.")

_FIGURES = """count(*) AS times, count(*) FILTER (WHERE a.cleared_at IS NULL) AS still_open,
  CAST(avg(extract(epoch FROM a.cleared_at - a.raised_at)) / 60 AS double precision) AS minutes_open,
  CAST(avg(extract(epoch FROM a.acknowledged_at - a.first_seen_at)) / 60 AS double precision) AS minutes_to_acknowledge"""

MONTH = f"to_char(a.raised_at AT TIME ZONE {ZONE}, 'YYYY-MM')"
"""In the zone that the board is looked at."""


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


def board() -> Json:
    """The dashboard JSON."""
    none = f"'{VALUES['none']}'"
    code, cause = alarm_words("a.code"), f"coalesce(nullif(a.cause, ''), {none})"
    customer, region = f"coalesce(nullif(a.customer_name, ''), {none})", f"coalesce(c.region_name, c.region, {none})"
    figures: dict[str, Json] = {
        "times": {"custom__width": 60},
        "still_open": {"custom__width": 70},
        "minutes_open": {"custom__width": 96},
        "minutes_to_acknowledge": {"custom__width": 104},
    }
    most_first = ("次数由多到少；提示中有累计占比。", "Most first; the tooltip has the share so far.")
    not_retracted = ("已撤销的不计。", "Retracted ones do not count.")
    by_kind = table(
        words("分类型统计", "By kind", *not_retracted), by(code, "kind"), {"kind": {"custom__minWidth": 120}, **figures}
    )
    by_month = table(words("分月统计", "By month", *not_retracted), by(MONTH, "month", "1 DESC"), {"month": {}, **figures})
    by_customer = table(
        words("分客户统计", "By customer", "最多 50 户；已撤销的不计。", "At most 50; retracted ones do not count."),
        by(customer, "customer_name"),
        {"customer_name": {"custom__minWidth": 120}, **figures},
    )
    by_region = table(words("分区域统计", "By region", *not_retracted), by(region, "region_name"), {"region_name": {}, **figures})
    kinds = bars(
        words("按类型排列", "Pareto by kind", *most_first),
        pareto(code, "kind"),
        "kind",
        "times",
        horizontal=True,
        beside="share_so_far",
    )
    causes = bars(
        words("按原因排列", "Pareto by cause", *most_first),
        pareto(cause, "cause"),
        "cause",
        "times",
        horizontal=True,
        beside="share_so_far",
    )
    return dashboard(
        __name__,
        [row(10, kinds, causes), row(10, by_kind, by_month), row(10, by_customer, by_region)],
        filters(),
        since="now-30d",
    )

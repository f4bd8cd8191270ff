"""Volumes by day, month and year of a class, a customer and a meter, and the report of a month: meters by days."""

from collections.abc import Sequence

from dashboards import Json, of_meter, style
from dashboards.board import Row, dashboard, row, section
from dashboards.links import to, to_customer, to_meter
from dashboards.panels.charts import bars
from dashboards.panels.core import steps
from dashboards.panels.tables import hidden, matrix, table, total_first
from dashboards.variables import (
    CODE,
    CUSTOMER,
    FROM_DAY,
    KIND,
    METER,
    NO_INLET,
    THE_MONTH,
    TO_DAY,
    any_class,
    customer,
    meter,
    month,
    of_class,
)
from dashboards.vocabulary import GRAINS, NOT_MEASURED, Column, Word, words

TITLE = Word("用水量", "Volumes")
MORE = Word(
    "日、月、年用水量：分类、客户、水表，与用水量月报表。",
    "Volumes by day, month and year: class, customer, meter; the report of a month.",
)

MONTHS, YEARS = 25, 10
"""Bars of months and years, up to the end of the time range."""

LENGTHS = {
    "day": ("MM-DD", f"PERIOD BETWEEN {FROM_DAY} AND {TO_DAY}"),
    "month": ("YYYY-MM", f"PERIOD <= {TO_DAY} AND PERIOD > {TO_DAY} - interval '{MONTHS} months'"),
    "year": ("YYYY", f"PERIOD <= {TO_DAY} AND PERIOD > {TO_DAY} - interval '{YEARS} years'"),
}
"""The label of a period of each length, and which of them are shown."""

OF_CLASS = f"mart.group_usage AS v WHERE v.kind = {KIND} AND v.code = {CODE}"
OF_CUSTOMER = f"mart.customer_usage AS v WHERE v.customer_no = {CUSTOMER}"
OF_METER = {
    "day": f"mart.daily_usage AS v WHERE v.meter = {METER}",
    "month": f"mart.monthly_usage AS v WHERE v.meter = {METER}",
    "year": f"mart.yearly_usage AS v WHERE v.meter = {METER}",
}

DAYS = f"""WITH days AS (
  SELECT u.day, u.volume_m3, u.reverse_m3, u.flow_max_m3h, u.flow_min_m3h, u.flow_mean_m3h, u.coverage
  FROM mart.daily_usage AS u WHERE u.meter = {METER} AND u.day BETWEEN {FROM_DAY} AND {TO_DAY})
SELECT '' AS day, sum(days.volume_m3) AS volume_m3, sum(days.reverse_m3) AS reverse_m3, min(whole.flow_max_m3h) AS flow_max_m3h,
  min(whole.flow_min_m3h) AS flow_min_m3h, min(whole.flow_mean_m3h) AS flow_mean_m3h, min(whole.coverage) AS coverage
FROM days
CROSS JOIN (SELECT min(day) AS first_day, max(day) AS last_day FROM days) AS span
CROSS JOIN LATERAL mart.peak_valley_between({METER}, span.first_day, span.last_day) AS whole
HAVING count(*) > 0
UNION ALL
(SELECT CAST(day AS text), volume_m3, reverse_m3, flow_max_m3h, flow_min_m3h, flow_mean_m3h,
  coverage FROM days ORDER BY days.day DESC)"""

CUSTOMERS = f"""WITH found AS (
  SELECT v.customer_no, c.name, v.volume_m3, v.meters, v.meters_complete, v.meters_manual, r.rank, r.share
  FROM mart.customer_usage AS v
  LEFT JOIN mart.customer AS c ON c.customer_no = v.customer_no
  LEFT JOIN mart.usage_rank AS r ON r.grain = v.grain AND r.period = v.period AND r.customer_no = v.customer_no
  WHERE v.grain = 'month' AND v.period = {THE_MONTH}
    AND ({KIND} = 'all' OR EXISTS (SELECT 1 FROM mart.relation AS r JOIN mart.meter AS m ON m.meter = r.meter
      WHERE m.customer_no = v.customer_no AND r.kind = {KIND} AND r.code = {CODE} AND r.valid_to IS NULL)))
SELECT '' AS customer_name, CAST(NULL AS bigint) AS rank, sum(volume_m3) AS volume_m3, sum(share) AS share, sum(meters) AS meters,
  sum(meters_complete) AS meters_complete, sum(meters_manual) AS meters_manual, '' AS customer_no
FROM found
HAVING count(*) > 0
UNION ALL
(SELECT coalesce(name, customer_no), rank, volume_m3, share, meters, meters_complete, meters_manual, customer_no
FROM found
ORDER BY volume_m3 DESC NULLS LAST, customer_no)"""

CELLS = {f"d{day:02}": f"{day}" for day in range(1, 32)}
"""A column a day of the month."""

_PIVOT = ", ".join(f"sum(u.volume_m3) FILTER (WHERE extract(day FROM u.day) = {head}) AS {name}" for name, head in CELLS.items())

REPORT = f"""SELECT CASE WHEN grouping(u.meter) = 1 THEN '' ELSE min(coalesce(m.customer_name, m.customer_no,
  u.meter)) END AS customer_name,
  u.meter, sum(u.volume_m3) AS known_m3, CASE WHEN grouping(u.meter) = 0 THEN min(t.coverage) END AS coverage, {_PIVOT},
  CASE WHEN grouping(u.meter) = 0 THEN min(m.customer_no) END AS customer_no
FROM mart.daily_usage AS u
JOIN mart.meter AS m ON m.meter = u.meter
LEFT JOIN mart.monthly_usage AS t ON t.meter = u.meter AND t.month = {THE_MONTH}
WHERE u.day BETWEEN {THE_MONTH} AND {of_meter.MONTH_LAST} AND {of_class("u.meter")} AND u.meter {NO_INLET}
GROUP BY GROUPING SETS ((), (u.meter))
HAVING count(*) > 0
ORDER BY grouping(u.meter) DESC, min(m.customer_no), u.meter"""


def volumes(length: str, source: str, period: str = "period", volume: str = "v.volume_m3") -> str:
    """SQL of the bars of a length; `source`: SQL of the table as `v` and of whom; `period` and `volume`: its columns."""
    label, shown = LENGTHS[length]
    own = f" AND v.grain = '{length}'" if period == "period" else ""
    return f"""SELECT to_char(v.{period}, '{label}') AS period, {of_meter.partly(volume, "v.complete")}
FROM {source}{own} AND {shown.replace("PERIOD", f"v.{period}")}
ORDER BY v.{period}"""


def board() -> Json:
    """The dashboard JSON."""
    by_class = charts(Word("分类", "class"), [volumes(length, OF_CLASS) for length in GRAINS])
    by_customer = charts(Word("客户", "customer"), [volumes(length, OF_CUSTOMER) for length in GRAINS])
    by_meter = charts(
        Word("水表", "meter"),
        [
            volumes("day", OF_METER["day"], "day"),
            volumes("month", OF_METER["month"], "month", "coalesce(v.volume_m3, v.measured_m3)"),
            volumes("year", OF_METER["year"], "year", "coalesce(v.volume_m3, v.measured_m3)"),
        ],
    )
    return dashboard(
        __name__,
        [
            section(Word("所选分类（全部为全体大客户）", "The chosen class (all: everybody)"), by_class),
            section(Word("所选客户", "The chosen customer"), by_customer),
            section(Word("所选水表", "The chosen meter"), by_meter),
            section(Word("水表逐日用水量", "Days of the meter"), row(14, days()), folded=True),
            section(Word("用水量月报表", "Report of the month"), row(18, report()), row(14, customers())),
        ],
        [*any_class(), customer(), meter(), month()],
        since="now-30d",
    )


def charts(whose: Word, queries: Sequence[str]) -> Row:
    """Bars of days, months and years side by side."""
    titles = (
        ("日用水量", "By day", "时间范围内的各日", "Days of the time range"),
        ("月用水量", "By month", f"至时间范围末的 {MONTHS} 个月", f"The {MONTHS} months up to the end of the time range"),
        ("年用水量", "By year", "各年", "Years"),
    )
    more = (
        "；灰色为不完整（有缺数或未完的时段），只计已知部分。",
        "; grey: not complete (a hole, or not over), what is known of it.",
    )
    panels = [
        bars(
            words(whose.zh + zh, f"{en} ({whose.en})", more_zh + more[0], more_en + more[1]),
            sql,
            "period",
            of_meter.PARTLY,
            stacked=True,
            empty=NOT_MEASURED,
        )
        for (zh, en, more_zh, more_en), sql in zip(titles, queries, strict=True)
    ]
    return row(9, *zip((9, 9, 6), panels, strict=True))


def days() -> Json:
    """The days of the chosen meter with the total on top."""
    return table(
        words(
            "逐日用水量与流量",
            "Days of the meter",
            "合计为已知各日之和；流量为最大中的最大、最小中的最小、全部区间的平均。",
            "The total sums the known days; of flows it is the highest, the lowest and the mean of all intervals.",
        ),
        DAYS,
        {
            "day": total_first(
                custom__minWidth=120, **to("flow-pressure", Word("看当日", "See the day"), keep="meter", day="day")
            ),
            "volume_m3": {"custom__width": 120},
            "reverse_m3": {"custom__width": 130},
            "flow_max_m3h": {"custom__width": 140},
            "flow_min_m3h": {"custom__width": 140},
            "flow_mean_m3h": {"custom__width": 140},
            "coverage": {**of_meter.COVERED, "custom__width": 110},
        },
        pages=True,
        empty=NOT_MEASURED,
    )


def customers() -> Json:
    """The customers' volumes in the chosen month."""
    return table(
        words(
            "客户月用水量（$month）",
            "Customers ($month)",
            "所选月各客户的水量与占比；完整水表数少于水表数的客户，其水量只计已知部分。",
            "Volume and share of each customer in the month; where fewer meters are complete, it is what is known.",
        ),
        CUSTOMERS,
        {
            "customer_name": total_first(custom__minWidth=180, **to_customer()),
            "rank": {"custom__width": 80},
            "volume_m3": {"custom__width": 140},
            "share": {"custom__width": 100},
            "meters": {"custom__width": 100},
            "meters_complete": {"custom__width": 120},
            "meters_manual": {"custom__width": 120},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本月无用水量", "No volume in this month"),
    )


def report() -> Json:
    """Meters by days of the chosen month."""
    unit = style.unit(Column(Word("", ""), "m³", "#,##0"))
    return matrix(
        words(
            "用水量月报表（$month，m³）",
            "Report of the month ($month, m³)",
            "每表一行、每日一列；缺数的日为「—」，不计为 0。合计为已知各日之和，覆盖率不足 100% 的标色。",
            "A row a meter, a column a day; a day that is not known is —, never 0. The total sums the known days.",
        ),
        REPORT,
        {
            "customer_name": total_first(custom__width=170, **to_customer()),
            "meter": {"custom__width": 80, **to_meter()},
            "known_m3": {"custom__width": 110},
            "coverage": {**of_meter.COVERED, "custom__width": 84},
            **hidden("customer_no"),
        },
        CELLS,
        steps((None, "transparent")),
        unit=unit.in_cell,
        decimals=0,
        width=66,
        frozen=2,
    )

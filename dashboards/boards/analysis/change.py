"""Volumes against the period before and last year, by day, month and year, and meters whose use has moved to another level."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import bars_against
from dashboards.panels.core import mapping
from dashboards.panels.tables import coloured, hidden, rated, table, total_first
from dashboards.variables import FROM_DAY, GRAIN, METER, NO_INLET, PERIOD, TO_DAY, grain, meter, midnight, period
from dashboards.vocabulary import DIRECTIONS, Word, words

TITLE = Word("同比环比", "Comparisons")
MORE = Word(
    "日、月、年用水量的环比与同比，用水变化清单。", "Days, months and years against before and last year; changes of use."
)

SPANS = {"day": f"{TO_DAY} - 45", "month": f"{TO_DAY} - 760", "year": "'-infinity'"}
"""From which day on each chart has its periods."""


def course(grain_: str, base: str, rate: str) -> str:
    """SQL of the periods of a grain of the chosen meter with the volume and the rate of their base."""
    return f"""SELECT {midnight("c.period")} AS "time", c.{base}, c.volume_m3, c.{rate}
FROM mart.usage_comparison AS c
WHERE c.meter = {METER} AND c.grain = '{grain_}' AND c.period BETWEEN {SPANS[grain_]} AND {TO_DAY}
ORDER BY c.period"""


_PERIOD = f"""c.grain = {GRAIN} AND c.period = (SELECT day FROM mart.calendar WHERE CAST(day AS text) = {PERIOD})
  AND c.meter {NO_INLET}"""
ALL = f"""SELECT '' AS customer, sum(c.volume_m3) AS volume_m3, sum(c.previous_m3) AS previous_m3, sum(c.change_m3) AS change_m3,
  CAST(NULL AS double precision) AS change_pct, sum(c.last_year_m3) AS last_year_m3, sum(c.yoy_m3) AS yoy_m3,
  CAST(NULL AS double precision) AS yoy_pct, NULL AS flag, NULL AS meter
FROM mart.usage_comparison AS c
WHERE {_PERIOD}
HAVING count(*) > 0
UNION ALL
(SELECT concat_ws(' · ', m.customer_name, c.meter), c.volume_m3, c.previous_m3, c.change_m3, c.change_pct,
  c.last_year_m3, c.yoy_m3, c.yoy_pct,
  CASE WHEN c.coverage_warning THEN 'base' WHEN c.previous_comparable AND c.last_year_comparable THEN NULL
    WHEN c.elapsed_part THEN 'part' WHEN c.coverage < 1 THEN 'own' ELSE 'base' END, c.meter
FROM mart.usage_comparison AS c
JOIN mart.meter AS m ON m.meter = c.meter
WHERE {_PERIOD}
ORDER BY abs(c.change_m3) DESC NULLS LAST, c.meter)"""

CHANGES = f"""SELECT coalesce(m.customer_name, p.meter) AS customer_name, p.meter, p.direction, p.change_pct, p.change_m3_day,
  CAST(p.since AS text) AS since, p.days, CAST(p.week AS text) AS week
FROM mart.change_point AS p
JOIN mart.meter AS m ON m.meter = p.meter
WHERE p.week BETWEEN {FROM_DAY} - 7 AND {TO_DAY}
ORDER BY mart_week DESC, abs(p.change_m3_day) DESC, p.meter"""

BASES = {
    "previous_m3": Word("上期", "the period before"),
    "last_year_m3": Word("去年同期", "the same of last year"),
    "aligned_m3": Word("去年同周日（364 天前）", "the same weekday of last year"),
}
FLAGS = {
    "part": Word("同进度", "so far"),
    "own": Word("本期不完整", "incomplete"),
    "base": Word("基期不完整", "base incomplete"),
}


def board() -> Json:
    """The dashboard JSON."""

    def chart(title: Word, grain_: str, span: str, base: str = "last_year_m3", rate: str = "yoy_pct") -> Json:
        of = BASES[base]
        text = words(
            title.zh,
            title.en,
            f"蓝色为本期，灰色为{of.zh}，橙线为增减率；基期缺失时无增减率。",
            f"Blue: the period; grey: {of.en}; line: growth, none where the base is missing.",
        )
        return bars_against(text, course(grain_, base, rate), "volume_m3", base, rate, timeFrom=span, hideTimeOverride=True)

    charts = [
        chart(Word("日用水量同比（45 天）", "Days against last year (45 days)"), "day", "45d", "aligned_m3", "aligned_pct"),
        chart(Word("月用水量环比（25 月）", "Months against the month before"), "month", "760d", "previous_m3", "change_pct"),
        chart(Word("月用水量同比（25 月）", "Months against last year"), "month", "760d"),
        chart(Word("年用水量同比", "Years against the year before"), "year", "5y"),
    ]
    everybody = table(
        words(
            "全部水表（$period）",
            "All meters ($period)",
            "变化量大的在前；合计为已知量之和。「同进度」：未结束的时段与基期同样的天数比较；「不完整」：覆盖率不足，增减只供参考。",
            "The largest change first. So far: against the same days of the bases; incomplete: coverage is short, take care.",
        ),
        ALL,
        {
            "customer": total_first(**to_meter(), custom__width=210),
            "volume_m3": {},
            "previous_m3": {},
            "change_m3": {},
            "change_pct": {**rated(), "custom__minWidth": 76, "noValue": " "},
            "last_year_m3": {},
            "yoy_m3": {},
            "yoy_pct": {**rated(), "custom__minWidth": 76, "noValue": " "},
            "flag": coloured(mappings=mapping(FLAGS, {"own": style.WARN, "base": style.WARN}), noValue=" ", custom__width=104),
            **hidden("meter"),
        },
        pages=True,
    )
    changes = table(
        words(
            "用水变化清单",
            "Changes of use",
            "时间范围内日水量连续多日偏离常态的水表，最新的在前；判据 change.*。点击水表更换下方图表。",
            "Meters whose days left what was usual, the newest first; criteria change.*. A meter's cell changes the charts.",
        ),
        CHANGES.replace("mart_week", "p.week"),
        {
            "customer_name": {**to_meter(), "custom__width": 170},
            "meter": to("change", Word("看其同比环比", "See its comparisons"), keep="grain period", meter="meter"),
            "direction": {"mappings": mapping(DIRECTIONS)},
            "change_pct": {},
            "change_m3_day": {},
            "since": {"custom__width": 104},
            "days": {},
            "week": {"custom__width": 104},
        },
        pages=True,
        empty=Word("本期无用水变化", "no change of use in this period"),
    )
    return dashboard(
        __name__,
        [row(9, *charts[:2]), row(9, *charts[2:]), row(14, everybody), row(10, changes)],
        [meter(), grain("month"), period()],
        since="now-60d",
        refresh="15m",
    )

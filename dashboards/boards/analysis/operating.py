"""The standard chart set of one meter: a week, a day, its days and months, its week's profile and the forecast."""

from dashboards import Json, style
from dashboards.alarm_columns import alarm_words
from dashboards.board import alarms_of_meter, dashboard, days_off, replacements, row
from dashboards.boards.analysis.load import clock
from dashboards.boards.analysis.profile import weekly
from dashboards.of_meter import flow_and_pressure
from dashboards.panels.charts import BEFORE, RIGHT, bars, over
from dashboards.panels.core import fixed
from dashboards.variables import METER, THE_DAY, TO_DAY, day, meter, step
from dashboards.vocabulary import Word, words

TITLE = Word("运行图表", "Operating charts")
MORE = Word(
    "一块水表的标准图表：七日、当日、日月水量、规律、预测。",
    "The standard charts of a meter: week, day, volumes, profile, forecast.",
)

COURSE = f"""SELECT c.clock_h, c.flow_m3h, c.pressure_mpa
FROM mart.load_course({METER}, {THE_DAY}) AS c
ORDER BY c.clock_h"""

DAYS = f"""SELECT to_char(u.day, 'MM-DD') AS day, CASE WHEN u.complete THEN u.volume_m3 END AS volume_m3,
  CASE WHEN NOT u.complete THEN u.volume_m3 END AS measured_m3
FROM mart.daily_usage AS u
WHERE u.meter = {METER} AND u.day BETWEEN {TO_DAY} - 31 AND {TO_DAY}
ORDER BY u.day"""

MONTHS = f"""SELECT to_char(c.period, 'YY-MM') AS period, c.last_year_m3, c.volume_m3, c.coverage
FROM mart.usage_comparison AS c
WHERE c.meter = {METER} AND c.grain = 'month' AND c.period BETWEEN {TO_DAY} - 400 AND {TO_DAY}
ORDER BY c.period"""

FORECAST = f"""SELECT
  CAST(extract(epoch FROM f.hour_start - min(f.hour_start) OVER ()) / 3600 AS double precision) AS hours_ahead,
  f.p10_m3h, f.p90_m3h, f.p50_m3h, u.volume_m3 AS measured_m3h
FROM mart.forecast AS f
LEFT JOIN mart.hourly_usage AS u ON u.meter = f.meter AND u.hour_start = f.hour_start
WHERE f.meter = {METER} AND f.made_on = (SELECT max(made_on) FROM mart.forecast WHERE meter = {METER} AND made_on <= {TO_DAY})
ORDER BY f.hour_start"""


def months() -> Json:
    """The chart of thirteen months beside the same ones a year ago."""
    return bars(
        words(
            "月用水量与去年同期",
            "Months, and the same of last year",
            "灰色为去年同期；未结束的月份与去年同进度比较。",
            "Grey: the same month of last year; the running month against the same days.",
        ),
        MONTHS,
        "period",
        {"last_year_m3": fixed(style.FORMER), "volume_m3": fixed(style.VOLUME)},
        beside="coverage",
    )


def board() -> Json:
    """The dashboard JSON."""
    week = flow_and_pressure(
        words(
            "七日流量与压力（$step）",
            "Flow and pressure of the week ($step)",
            "时段由时间选择器决定；时刻为间隔的结束，缺数处断线。虚线为本表压力下限。",
            "The period is that of the time picker; labelled by the end of each piece, holes stay open. Dashed: the lower limit.",
        ),
    )
    course = over(
        words("24 小时曲线（$day）", "24 hours ($day)", "所选日期的流量与压力。", "Flow and pressure of the chosen day."),
        COURSE,
        "clock_h",
        {
            "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12, "custom__lineInterpolation": "stepBefore"},
            "pressure_mpa": {**RIGHT, **fixed(style.PRESSURE)},
            "clock_h": {"mappings": clock()},
        },
    )
    days = bars(
        words(
            "日用水量",
            "Days",
            "时间范围末日及之前 31 天；橙色为数据不完整的日子，只是已知部分。",
            "The last day of the time range and 31 before it; orange: incomplete days, only what is known of them.",
        ),
        DAYS,
        "day",
        {"volume_m3": fixed(style.VOLUME), "measured_m3": fixed(style.WARN)},
        stacked=True,
    )
    forecast = over(
        words(
            "72 小时预测",
            "Forecast of 72 hours",
            "预测中位与应含五分之四小时的区间；灰线为已发生的实测。",
            "Middle of the forecast and the band that should hold four of five hours; grey: what has been measured since.",
        ),
        FORECAST,
        "hours_ahead",
        {"p50_m3h": {**fixed(style.FLOW), "custom__lineWidth": 2}, "measured_m3h": {**BEFORE, "custom__lineWidth": 2}},
        bounds=("p10_m3h", "p90_m3h", style.FLOW),
    )
    marks = [days_off(), replacements(), alarms_of_meter(alarm_words("code"))]
    return dashboard(
        __name__,
        [row(9, week), row(8, course, forecast), row(8, days, months()), row(8, weekly())],
        [meter(), day(), step()],
        since="now-7d",
        annotations=marks,
        refresh="5m",
    )

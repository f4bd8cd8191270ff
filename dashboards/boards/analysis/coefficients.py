"""Hourly and daily coefficients of a meter, and those of all meters on a day."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import bars
from dashboards.panels.core import mapping, steps
from dashboards.panels.tables import coloured, table
from dashboards.panels.tiles import tile
from dashboards.thresholds import COVERAGE_COMPLETE
from dashboards.variables import METER, THE_DAY, ZONE, day, meter, near
from dashboards.vocabulary import SHIFTS, Word, words

TITLE = Word("时差日差系数", "Hourly and daily coefficients")
MORE = Word("各小时、各日与平均之比，Kh、Kd 及班制。", "Hours and days over their mean, Kh, Kd and the shift type.")

_MONTH = f"CAST(date_trunc('month', {THE_DAY}) AS date)"

HOURS = f"""SELECT to_char(k.hour_start AT TIME ZONE {ZONE}, 'HH24') AS hour_words, k.coefficient, u.volume_m3
FROM mart.hourly_coefficient AS k
LEFT JOIN mart.hourly_usage AS u ON u.meter = k.meter AND u.hour_start = k.hour_start
WHERE k.meter = {METER} AND k.day = {THE_DAY} AND k.hour_start {near(THE_DAY)}
ORDER BY k.hour_start"""

DAYS = f"""SELECT to_char(u.day, 'MM-DD') AS day, k.coefficient, u.volume_m3
FROM mart.daily_usage AS u
LEFT JOIN mart.daily_coefficient AS k ON k.meter = u.meter AND k.day = u.day
WHERE u.meter = {METER} AND u.day >= {_MONTH} AND u.day < {_MONTH} + interval '1 month'
ORDER BY u.day"""

KH = f"""SELECT max(coefficient) AS kh FROM mart.hourly_coefficient
WHERE meter = {METER} AND day = {THE_DAY} AND hour_start {near(THE_DAY)}"""
KD = f"""SELECT max(coefficient) AS kd_max FROM mart.daily_coefficient
WHERE meter = {METER} AND day >= {_MONTH} AND day < {_MONTH} + interval '1 month'"""
DAY_VOLUME = f"SELECT volume_m3, coverage FROM mart.daily_usage WHERE meter = {METER} AND day = {THE_DAY}"
MONTH_VOLUME = f"SELECT measured_m3, coverage FROM mart.monthly_usage WHERE meter = {METER} AND month = {_MONTH}"
SHIFT = f"SELECT shift_type FROM mart.shift_type WHERE meter = {METER} AND month = {_MONTH}"

ALL = f"""SELECT coalesce(m.customer_name, m.meter) AS customer_name, u.meter, u.volume_m3, u.coverage,
  h.kh, h.peak_hour, d.coefficient AS kd, x.kd_max, s.shift_type
FROM mart.daily_usage AS u
JOIN mart.meter AS m ON m.meter = u.meter
LEFT JOIN (
  SELECT DISTINCT ON (meter) meter, coefficient AS kh, to_char(hour_start AT TIME ZONE {ZONE}, 'HH24:MI') AS peak_hour
  FROM mart.hourly_coefficient WHERE day = {THE_DAY} ORDER BY meter, coefficient DESC NULLS LAST, hour_start
) AS h ON h.meter = u.meter AND u.complete
LEFT JOIN mart.daily_coefficient AS d ON d.meter = u.meter AND d.day = u.day
LEFT JOIN (
  SELECT meter, max(coefficient) AS kd_max FROM mart.daily_coefficient WHERE month = {_MONTH} GROUP BY meter
) AS x ON x.meter = u.meter
LEFT JOIN mart.shift_type AS s ON s.meter = u.meter AND s.month = {_MONTH}
WHERE u.day = {THE_DAY}
ORDER BY h.kh DESC NULLS LAST, u.meter"""


def board() -> Json:
    """The dashboard JSON."""
    incomplete = steps((None, style.WARN), (COVERAGE_COMPLETE, style.NEUTRAL))
    hours = bars(
        words(
            "时差系数（$day）",
            "Hourly coefficients ($day)",
            "小时水量与当日平均小时水量之比；完整的一日合计 24。提示中有小时水量。",
            "Volume of the hour over the mean hour of the day; those of a complete day add up to 24. The tooltip has the volume.",
        ),
        HOURS,
        "hour_words",
        "coefficient",
        beside="volume_m3",
        colour=style.FLOW,
    )
    days = bars(
        words(
            "日差系数（$day 所在月）",
            "Daily coefficients (month of $day)",
            "日水量与当月完整日平均之比；不完整的日子没有系数。提示中有日水量与覆盖率。",
            "Volume of the day over the mean of the month's complete days; incomplete days have none. The tooltip has volumes.",
        ),
        DAYS,
        "day",
        "coefficient",
        beside="volume_m3",
        colour=style.PRESSURE,
    )
    tiles = [
        tile(words("Kh", "Kh", "当日最大时差系数。", "Highest hourly coefficient of the day."), KH, ["kh"]),
        tile(
            words("日水量", "Day volume", "所选日期的水量与覆盖率。", "Volume of the chosen day and its coverage."),
            DAY_VOLUME,
            ["volume_m3", "coverage"],
            looks={"coverage": {"thresholds": incomplete}},
        ),
        tile(words("Kd", "Kd", "当月最大日差系数。", "Highest daily coefficient of the month."), KD, ["kd_max"]),
        tile(
            words(
                "月水量",
                "Month volume",
                "所选日期所在月已计的水量与覆盖率。",
                "What is measured of the month of the day, and its coverage.",
            ),
            MONTH_VOLUME,
            ["measured_m3", "coverage"],
            looks={"coverage": {"thresholds": incomplete}},
        ),
        tile(
            words("班制", "Shift type", "由当月完整工作日判断。", "From the month's complete work days."),
            SHIFT,
            ["shift_type"],
            texts=True,
            looks={"shift_type": {"mappings": mapping(SHIFTS)}},
        ),
    ]
    everybody = table(
        words(
            "全部水表（$day）",
            "All meters ($day)",
            "Kh 与最大小时只取完整的日子；当月最大 Kd 只取完整日。点击水表更换上方图表。",
            "Kh and its hour of complete days only. A meter's cell changes the charts above.",
        ),
        ALL,
        {
            "customer_name": {**to_meter(), "custom__width": 170},
            "meter": to("coefficients", Word("看其系数", "See its coefficients"), keep="day", meter="meter"),
            "volume_m3": {"custom__minWidth": 90},
            "coverage": coloured(incomplete),
            "kh": {"custom__minWidth": 90},
            "peak_hour": {},
            "kd": {"custom__minWidth": 90},
            "kd_max": {"custom__minWidth": 90},
            "shift_type": {"mappings": mapping(SHIFTS), "custom__minWidth": 90},
        },
        pages=True,
    )
    return dashboard(
        __name__, [row(4, *tiles), row(9, hours, days), row(16, everybody)], [meter(), day()], since="now-30d", refresh="15m"
    )

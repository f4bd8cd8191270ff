"""How a meter uses water in an ordinary week: the band of each hour, a matrix of them, and the shift type with its evidence."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import over
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import matrix, table
from dashboards.variables import METER, THE_MONTH, meter, month
from dashboards.vocabulary import SHIFTS, WEEKDAYS, Word, words

TITLE = Word("用水规律", "Usage pattern")
MORE = Word("一周各小时的常态、班制及其依据。", "What is usual in each hour of the week, the shift type and its evidence.")

WEEK = f"""SELECT CAST(round(4 * weekday + hour / 6.0, 4) AS double precision) AS hour_of_week, p10_m3h, p90_m3h, median_m3h
FROM mart.usage_profile
WHERE meter = {METER}
ORDER BY weekday, hour"""

_CELLS = {f"day_{place}": word for place, word in enumerate(WEEKDAYS, start=1)}
HOURS = f"""SELECT to_char(hour, 'FM00') || ':00' AS hour_words,
  {", ".join(f"max(median_m3h) FILTER (WHERE weekday = {place}) AS day_{place}" for place in range(1, 8))}
FROM mart.usage_profile
WHERE meter = {METER}
GROUP BY hour
ORDER BY hour"""

EVIDENCE = f"""SELECT left(CAST(month AS text), 7) AS month, shift_type, work_days, hours_active,
  rest_share, peak_hours
FROM mart.shift_type
WHERE meter = {METER}
ORDER BY mart.shift_type.month DESC
LIMIT 24"""

EVERYBODY = f"""SELECT coalesce(m.customer_name, m.meter) AS customer_name, s.meter, s.shift_type, s.work_days,
  s.hours_active, s.centre_h, s.night_share, s.rest_share, s.peak_hours
FROM mart.shift_type AS s
JOIN mart.meter AS m ON m.meter = s.meter
WHERE s.month = {THE_MONTH}
ORDER BY s.shift_type NULLS LAST, m.customer_no, s.meter"""


def hours_of_week() -> list[Json]:
    """Mappings of a place in the week to words; in quarters of a day from 4, so that the marks of an axis fall on hours."""
    names = {}
    for place, weekday in enumerate(WEEKDAYS, start=1):
        for hour in range(24):
            short = Word(str(hour), str(hour)) if hour % 3 == 0 else Word(f"{weekday.zh} {hour}", f"{weekday.en} {hour}")
            names[f"{round(4 * place + hour / 6, 4):g}"] = short if hour else weekday
    return mapping({**names, "32": Word(" ", " ")})


def weekly() -> Json:
    """The chart of the hours of a week with their band."""
    return over(
        words(
            "一周用水规律",
            "Profile of the week",
            "最近数周每周同一小时：中位线，带为 P10 至 P90（五分之四的小时在其中）。",
            "The same hour of the last weeks: the median, and the band P10 to P90 in which four of five hours lie.",
        ),
        WEEK,
        "hour_of_week",
        {
            "median_m3h": {**fixed(style.FLOW), "custom__lineWidth": 2},
            "hour_of_week": {"mappings": hours_of_week(), "custom__axisSoftMin": 4, "min": 4, "max": 32},
        },
        bounds=("p10_m3h", "p90_m3h", style.FLOW),
    )


def board() -> Json:
    """The dashboard JSON."""
    blues = ("transparent", "#7C93B8", "#6C94D6", "#4F86E8", "#2B63D9")
    heat = {
        "mode": "percentage",
        "steps": [{"value": None if place == 0 else 20 * place, "color": colour} for place, colour in enumerate(blues)],
    }
    hours = matrix(
        words(
            "星期 × 小时（中位流量，m³/h）",
            "Hours of the days (median flow, m³/h)",
            "颜色越深流量越大。",
            "The darker, the more flow.",
        ),
        HOURS,
        {"hour_words": {"custom__width": 76}},
        {name: str(word) for name, word in _CELLS.items()},
        heat,
        unit="none",
        decimals=1,
    )
    shift: dict[str, Json] = {
        "shift_type": {"mappings": mapping(SHIFTS), "custom__minWidth": 80},
        "work_days": {},
        "hours_active": {},
        "centre_h": {},
        "load_factor": {},
        "night_share": {},
        "rest_share": {},
        "peak_hours": {"custom__minWidth": 84},
    }
    evidence = table(
        words(
            "班制与依据",
            "Shift type and evidence",
            "每月一行：完整工作日的中位数。休息日比为休息日与工作日水量之比。",
            "A row a month: medians of complete work days. Rest share: volume of days of rest over that of work days.",
        ),
        EVIDENCE,
        {
            "month": {
                **to("flow-characteristic", Word("看流量特性", "See its fit"), keep="meter", month="month"),
                "custom__width": 72,
            },
            **{name: shift[name] for name in shift if name not in ("load_factor", "centre_h", "night_share")},
        },
        pages=True,
    )
    everybody = table(
        words(
            "全部水表的班制（$month）",
            "Shift types of all meters ($month)",
            "完整工作日太少的月份为「—」。点击水表更换上方图表。",
            "«—»: too few complete work days. A meter's cell changes the charts above.",
        ),
        EVERYBODY,
        {
            "customer_name": {**to_meter(), "custom__width": 170},
            "meter": to("profile", Word("看其用水规律", "See its pattern"), keep="month", meter="meter"),
            **{name: shift[name] for name in shift if name != "load_factor"},
        },
        pages=True,
    )
    return dashboard(
        __name__,
        [row(9, weekly()), row(25, (11, hours), (13, evidence)), row(14, everybody)],
        [meter(), month()],
        since="now-30d",
        refresh="15m",
    )

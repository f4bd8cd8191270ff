"""Flow and pressure of a meter through a day, and how the one follows from the other."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import LIMIT, RIGHT, over, points
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import table
from dashboards.panels.tiles import tile
from dashboards.variables import FROM_DAY, METER, THE_DAY, TO_DAY, day, meter
from dashboards.vocabulary import Word, words

TITLE = Word("流量压力拟合", "Flow and pressure")
MORE = Word("一日流量与压力的拟合，快速用水引起的压降。", "The fit of a day's flow and pressure, and drops by fast use.")

COURSE = f"""SELECT c.clock_h, c.flow_m3h, c.pressure_mpa, c.fitted_mpa
FROM mart.load_course({METER}, {THE_DAY}) AS c
ORDER BY c.clock_h"""
CLOUD = f"""SELECT c.flow_m3h, c.pressure_mpa
FROM mart.load_course({METER}, {THE_DAY}) AS c
WHERE c.flow_m3h IS NOT NULL AND c.pressure_mpa IS NOT NULL
ORDER BY c.ends_at"""
LINE = f"""SELECT c.flow_m3h, c.fitted_mpa
FROM mart.load_course({METER}, {THE_DAY}) AS c
WHERE c.fitted_mpa IS NOT NULL
ORDER BY c.flow_m3h"""
FIT = f"SELECT static_mpa, slope, r_squared, intervals FROM mart.flow_pressure_fit WHERE meter = {METER} AND day = {THE_DAY}"

FITS = f"""SELECT coalesce(m.customer_name, m.meter) AS customer_name, f.meter, f.static_mpa, f.slope, f.r_squared, f.intervals,
  p.flow_max_m3h, p.pressure_min_mpa, p.pressure_mean_mpa
FROM mart.flow_pressure_fit AS f
JOIN mart.meter AS m ON m.meter = f.meter
LEFT JOIN mart.peak_valley AS p ON p.meter = f.meter AND p.grain = 'day' AND p.period = f.day
WHERE f.day = {THE_DAY}
ORDER BY f.r_squared DESC NULLS LAST, f.meter"""

DROPS = f"""SELECT CAST(d.day AS text) AS day, coalesce(m.customer_name, m.meter) AS customer_name, d.meter, d.steps
FROM mart.pressure_drop AS d
JOIN mart.meter AS m ON m.meter = d.meter
WHERE d.listed AND d.day BETWEEN {FROM_DAY} AND {TO_DAY}
ORDER BY d.steps DESC, d.day DESC, d.meter
LIMIT 200"""


def clock() -> list[Json]:
    """Mappings of hours of a day, 7.25, to what the clock shows, on a day without a change of the clock."""
    quarters = [divmod(quarter, 4) for quarter in range(100)]
    return mapping({f"{hour + part / 4:g}": Word(*[f"{hour}:{15 * part:02d}"] * 2) for hour, part in quarters})


def board() -> Json:
    """The dashboard JSON."""
    course = over(
        words(
            "24 小时流量压力拟合运行趋势（$day）",
            "Flow and pressure of 24 hours with the fit ($day)",
            "虚线为按当日拟合 P = a − b·Q² 由流量得出的压力。",
            "Dashed: the pressure that the fit P = a − b·Q² of the day gives at the flow.",
        ),
        COURSE,
        "clock_h",
        {
            "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12, "custom__lineInterpolation": "stepBefore"},
            "pressure_mpa": {**RIGHT, **fixed(style.PRESSURE)},
            "clock_h": {"mappings": clock()},
            "fitted_mpa": {**RIGHT, **LIMIT, **fixed(style.WARN)},
        },
    )
    cloud = points(
        words("压力与流量", "Pressure over flow", "每点一个间隔；线为拟合曲线。", "A point an interval; the line is the fit."),
        CLOUD,
        "flow_m3h",
        "pressure_mpa",
        fit=(LINE, "fitted_mpa"),
    )
    fit = tile(
        words(
            "拟合结果",
            "Fit",
            "a 静压，b 斜率（MPa/(m³/h)²），R² 拟合优度；b 为负表示压力随流量上升，拟合无意义。",
            "a static pressure, b slope in MPa/(m³/h)², R²; b below 0: the pressure rises with the flow.",
        ),
        FIT,
        ["static_mpa", "slope", "r_squared", "intervals"],
        looks={"slope": {"unit": "sci", "decimals": 2}},
    )
    fits = table(
        words(
            "全部水表的拟合（$day）",
            "Fits of all meters ($day)",
            "拟合优度高的在前；流量或压力不变的日子没有拟合。点击水表更换上方图表。",
            "The best first; none where flow or pressure did not vary. A meter's cell changes the charts above.",
        ),
        FITS,
        {
            "customer_name": {**to_meter(), "custom__width": 170},
            "meter": to("load", Word("看其拟合", "See its fit"), keep="day", meter="meter"),
            "static_mpa": {},
            "slope": {"unit": "sci", "decimals": 2, "custom__minWidth": 90},
            "r_squared": {},
            "intervals": {},
            "flow_max_m3h": {},
            "pressure_min_mpa": {},
            "pressure_mean_mpa": {},
        },
        pages=True,
    )
    drops = table(
        words(
            "快速用水压降清单",
            "Drops by fast use",
            "时间范围内流量骤升、压力随之骤降次数达到判据的水表与日子。",
            "Meters and days of the time range on which fast steps of flow often pulled the pressure down.",
        ),
        DROPS,
        {
            "day": {"custom__width": 110},
            "customer_name": {**to_meter(), "custom__width": 170},
            "meter": to("load", Word("看当日", "See the day"), meter="meter", day="day"),
            "steps": {},
        },
        pages=True,
        empty=Word("本期无列入清单的压降", "no drops listed in this period"),
    )
    return dashboard(
        __name__,
        [row(10, (14, course), (10, cloud)), row(4, fit), row(13, fits), row(7, drops)],
        [meter(), day()],
        since="now-30d",
        refresh="15m",
    )

"""Service pressure: who meets the standard, the pressure of a group by the hour, and the monthly report of a point."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import LIMIT, band
from dashboards.panels.core import fixed, mapping, steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import CODE, KIND, METER, THE_MONTH, ZONE, code, kind, meter, month
from dashboards.vocabulary import ANSWERS, Word, words

TITLE = Word("压力服务", "Service pressure")
MORE = Word("压力合格率、分组压力分布、月压力报表。", "Compliance, pressures of a group, the monthly report of a point.")

_OF_MONTH = f"c.grain = 'month' AND c.period = {THE_MONTH}"
POINTS = f"SELECT count(*) AS meters FROM mart.pressure_compliance AS c WHERE {_OF_MONTH}"
FAILING = f"{POINTS} AND NOT c.met"
SHARE = f"""SELECT CAST(sum(c.readings_met) AS double precision) / sum(c.readings) AS share_met
FROM mart.pressure_compliance AS c WHERE {_OF_MONTH}"""
BELOW = "SELECT count(*) AS meters FROM mart.latest_status WHERE pressure_mpa < pressure_low_mpa"

COMPLIANCE = f"""SELECT concat_ws(' · ', m.customer_name, c.meter) AS customer, c.share_met, c.met, c.readings,
  c.readings - c.readings_met AS readings_below, p.pressure_min_mpa, p.pressure_min_at, p.pressure_mean_mpa, p.pressure_max_mpa,
  c.meter
FROM mart.pressure_compliance AS c
JOIN mart.meter AS m ON m.meter = c.meter
LEFT JOIN mart.peak_valley AS p ON p.meter = c.meter AND p.grain = 'month' AND p.period = c.period
WHERE {_OF_MONTH}
ORDER BY c.share_met, c.meter"""

GROUP = f"""SELECT h.hour_start AS "time", h.p5_mpa, h.p95_mpa, h.median_mpa, h.pressure_min_mpa
FROM mart.pressure_by_hour AS h
WHERE h.kind = {KIND} AND h.code = {CODE} AND $__timeFilter(h.hour_start)
ORDER BY h.hour_start"""

REPORT = f"""SELECT CAST(p.period AS text) AS day, p.pressure_max_mpa,
  to_char(p.pressure_max_at AT TIME ZONE {ZONE}, 'HH24:MI') AS highest_at,
  p.pressure_min_mpa, to_char(p.pressure_min_at AT TIME ZONE {ZONE}, 'HH24:MI') AS lowest_at, p.pressure_mean_mpa,
  c.readings, c.share_met, c.met
FROM mart.peak_valley AS p
LEFT JOIN mart.pressure_compliance AS c ON c.meter = p.meter AND c.grain = 'day' AND c.period = p.period
WHERE p.meter = {METER} AND p.grain = 'day' AND p.period >= {THE_MONTH} AND p.period < {THE_MONTH} + interval '1 month'
ORDER BY p.period"""

NOW = """SELECT concat_ws(' · ', s.customer_name, s.meter) AS customer, s.pressure_mpa, s.pressure_low_mpa, s.pressure_at, s.meter
FROM mart.latest_status AS s
WHERE s.pressure_mpa < s.pressure_low_mpa
ORDER BY s.pressure_mpa - s.pressure_low_mpa, s.meter"""

PLACES = """SELECT concat_ws(' · ', m.customer_name, m.meter) AS customer, s.pressure_mpa, m.pressure_low_mpa, m.elevation_m,
  m.longitude, m.latitude, m.datum, m.node, m.meter
FROM mart.meter AS m
JOIN mart.latest_status AS s ON s.meter = m.meter
WHERE s.pressure_mpa IS NOT NULL
ORDER BY m.meter"""


def board() -> Json:
    """The dashboard JSON."""
    met = coloured(mappings=mapping(ANSWERS, {"true": style.NEUTRAL, "false": style.BAD}), custom__width=84)
    tiles = [
        tile(
            words("测压点", "Points", "所选月份有压力读数的水表。", "Meters with a pressure in the chosen month."),
            POINTS,
            ["meters"],
        ),
        tile(
            words(
                "不合格点",
                "Points that fail",
                "所选月份合格率低于判据的水表。",
                "Meters whose share of the month is below the criterion.",
            ),
            FAILING,
            ["meters"],
            thresholds=some(style.BAD),
        ),
        tile(
            words(
                "总合格率",
                "Share of readings",
                "所选月份全部读数的合格占比。",
                "Readings of the month that meet the limit of their meter.",
            ),
            SHARE,
            ["share_met"],
        ),
        tile(
            words("当前低于下限", "Below the limit now", "最新压力低于本表下限。", "Latest pressure below the meter's limit."),
            BELOW,
            ["meters"],
            thresholds=some(style.BAD),
        ),
    ]
    compliance = table(
        words(
            "各点合格率（$month）",
            "Compliance by point ($month)",
            "低者在前；合格率为达到本表下限的读数占比，默认下限 0.14 MPa，判据 pressure.*。点击「合格率」看月报表。",
            "The lowest first: readings at or above the meter's limit (else 0.14 MPa). A share leads to the month's report.",
        ),
        COMPLIANCE,
        {
            "customer": {**to_meter(), "custom__width": 230},
            "share_met": to("pressure-service", Word("看月报表", "See its month"), keep="month kind code", meter="meter"),
            "met": met,
            "readings": {},
            "readings_below": {},
            "pressure_min_mpa": {},
            "pressure_min_at": {"custom__width": 140},
            "pressure_mean_mpa": {},
            "pressure_max_mpa": {},
            **hidden("meter"),
        },
        pages=True,
    )
    now = table(
        words("当前低于下限的点", "Points below the limit now", "最新压力与本表下限。", "Latest pressure and the meter's limit."),
        NOW,
        {
            "customer": {**to_meter(), "custom__width": 170},
            "pressure_mpa": coloured(steps((None, style.BAD))),
            "pressure_low_mpa": {},
            **hidden("meter pressure_at"),
        },
        empty=Word("当前没有低于下限的点", "no point is below its limit"),
    )
    group = band(
        words(
            "分组压力分布",
            "Pressures of the group",
            "所选管网、延线或区域成员小时平均压力的 p5、中位、p95；虚线为成员的最低压力。其他分类没有此图。",
            "p5, median and p95 of the members of a network, line or region; dashed: the lowest of them. Not for other classes.",
        ),
        GROUP,
        "p5_mpa",
        "p95_mpa",
        "median_mpa",
        colour=style.PRESSURE,
        joined_gap_ms=thresholds.LONGEST_JOINED_GAP_MS,
        further={"pressure_min_mpa": {**LIMIT, **fixed(style.WARN)}},
    )
    report = table(
        words(
            "月压力报表（$meter，$month）",
            "Pressure report of the month ($meter, $month)",
            "每日最高、最低及其时刻、平均与合格率。",
            "Highest and lowest of each day with their times, the mean and the share that meets the limit.",
        ),
        REPORT,
        {
            "day": {**to("load", Word("看当日流量压力", "See the day"), keep="meter", day="day"), "custom__width": 110},
            "pressure_max_mpa": {},
            "highest_at": {},
            "pressure_min_mpa": {},
            "lowest_at": {},
            "pressure_mean_mpa": {},
            "readings": {},
            "share_met": {},
            "met": met,
        },
        pages=True,
    )
    places = table(
        words(
            "测压点位置",
            "Pressure points",
            "供调度使用的监测点：坐标、高程与管网节点；可由面板菜单导出 CSV。",
            "Points for dispatch: coordinates, elevation and node; the panel's menu exports them as CSV.",
        ),
        PLACES,
        {
            "customer": {**to_meter(), "custom__width": 230},
            "pressure_mpa": {},
            "pressure_low_mpa": {},
            "elevation_m": {},
            "longitude": {},
            "latitude": {},
            "datum": {},
            "node": {},
            **hidden("meter"),
        },
        pages=True,
    )
    return dashboard(
        __name__,
        [row(4, *tiles), row(10, (15, group), (9, now)), row(13, compliance), row(16, report), row(12, places)],
        [month(), kind("network"), code(), meter()],
        since="now-7d",
        refresh="5m",
    )

"""Zones and regions: what came in and what was taken, night flows, volumes and pressures of any period, and the map."""

from dashboards import Json, style
from dashboards.board import dashboard, row
from dashboards.links import to, to_meter
from dashboards.panels.charts import bars, curves
from dashboards.panels.core import fixed, mapping
from dashboards.panels.maps import markers
from dashboards.panels.tables import coloured, hidden, table, total_first
from dashboards.variables import FROM_DAY, KIND, TO_DAY, kind, midnight, zone
from dashboards.vocabulary import ANSWERS, PRESSURE_STATES, Word, language, words

TITLE = Word("分区与地图", "Zones and map")
MORE = Word(
    "区域水量与压力、分区水量平衡、夜间流量与测点地图。",
    "Volumes and pressures by region, balances of zones, night flows, the map.",
)

_ZONE = "b.kind = split_part(${zone:sqlstring}, '/', 1) AND b.code = split_part(${zone:sqlstring}, '/', 2)"
_IN_RANGE = f"b.day BETWEEN {FROM_DAY} AND {TO_DAY}"
DAYS = f"""SELECT to_char(b.day, 'MM-DD') AS day, b.inlet_m3, b.customers_m3, b.balance_m3
FROM mart.zone_balance AS b
WHERE {_ZONE} AND {_IN_RANGE}
ORDER BY b.day"""
NIGHTS = f"""SELECT {midnight("b.day")} AS "time",
  b.inlet_night_m3h, b.customers_night_m3h, b.net_night_m3h
FROM mart.zone_balance AS b
WHERE {_ZONE} AND {_IN_RANGE}
ORDER BY b.day"""
PLACES = """SELECT concat_ws(' · ', m.customer_name, m.meter) AS customer, m.meter, s.pressure_mpa, m.pressure_low_mpa,
  s.flow_m3h, s.today_m3, s.month_m3, m.dn_mm, CASE WHEN s.pressure_mpa < s.pressure_low_mpa THEN 'below'
    WHEN s.pressure_mpa IS NOT NULL THEN 'good' END AS pressure_state, m.latitude, m.longitude
FROM mart.meter AS m
LEFT JOIN mart.latest_status AS s ON s.meter = m.meter
WHERE m.latitude IS NOT NULL AND m.longitude IS NOT NULL AND m.removed_on IS NULL
ORDER BY m.meter"""


def groups_of_period() -> str:
    """SQL of the groups of the chosen kind over the days of the time range, everybody first."""
    return f"""SELECT CASE WHEN g.code = '' THEN '' ELSE coalesce(g.name_{language()}, g.code) END AS name_words,
  g.volume_m3, g.share, g.meters, g.known_share, g.pressure_min_mpa, g.median_mpa, g.code
FROM mart.group_period({KIND}, {FROM_DAY}, {TO_DAY}) AS g"""


def balances() -> str:
    """SQL of the balances of all zones on the days of the time range."""
    return f"""SELECT CAST(b.day AS text) AS day, coalesce(r.name, b.code) AS zone_name, b.inlet_m3, b.customers_m3, b.balance_m3,
  b.balance_share, b.net_night_m3h, b.customers_known || ' / ' || b.customers AS known_words, b.complete,
  b.kind || '/' || b.code AS zone
FROM mart.zone_balance AS b
LEFT JOIN (SELECT kind, code, max(name_{language()}) AS name FROM mart.relation GROUP BY kind, code) AS r
  ON r.kind = b.kind AND r.code = b.code
WHERE {_IN_RANGE}
ORDER BY b.day DESC, b.kind, b.code
LIMIT 2000"""


NIGHT_FLOWS = f"""SELECT concat_ws(' · ', m.customer_name, n.meter) AS customer, CAST(n.day AS text) AS day,
  n.night_min_m3h, n.baseline_m3h, n.limit_m3h, n.nights, n.suspected, n.loss_m3_day, n.loss_cny_month, n.meter
FROM mart.night_flow AS n
JOIN mart.meter AS m ON m.meter = n.meter
WHERE n.day = (SELECT max(day) FROM mart.night_flow WHERE day BETWEEN {FROM_DAY} AND {TO_DAY})
  AND m.inlet_of IS NULL AND n.meter IN (
    SELECT r.meter FROM mart.relation AS r
    WHERE r.kind = split_part(${{zone:sqlstring}}, '/', 1) AND r.code = split_part(${{zone:sqlstring}}, '/', 2)
      AND r.valid_to IS NULL)
ORDER BY n.suspected DESC, n.night_min_m3h DESC NULLS LAST, n.meter"""


def board() -> Json:
    """The dashboard JSON."""
    places = markers(
        words(
            "测点地图",
            "Map",
            "圆越大本月水量越多，红色为压力越下限；点击圆看水表。底图空白，不访问互联网；自有底图见文档。",
            "Size: the month's volume; red: pressure below the limit; click a circle. The ground is blank: no internet.",
        ),
        PLACES,
        {
            "customer": to_meter(),
            "pressure_mpa": {},
            "pressure_low_mpa": {},
            "flow_m3h": {},
            "today_m3": {},
            "month_m3": {},
            "dn_mm": {},
            "pressure_state": {"mappings": mapping(PRESSURE_STATES, {"below": style.BAD, "good": style.CALM})},
            "meter": {},
            "latitude": {},
            "longitude": {},
        },
        colour="pressure_state",
        size="month_m3",
        label="meter",
    )
    groups = table(
        words(
            "分组水量与压力",
            "Volumes and pressures",
            "时间范围内的完整日历日；合计为全部水表各计一次。压力只有管网、延线、区域有。",
            "Over the days of the time range; the total has each meter once. Pressures of networks, lines and regions only.",
        ),
        groups_of_period(),
        {
            "name_words": total_first(
                **to("relations", Word("看其成员", "See its members"), keep="kind", code="code"), custom__width=96
            ),
            "volume_m3": {"custom__width": 100},
            "share": {"custom__width": 66},
            "meters": {"custom__width": 66},
            "known_share": {"custom__width": 72},
            "pressure_min_mpa": {"noValue": " "},
            "median_mpa": {"noValue": " "},
            **hidden("code"),
        },
    )
    balance = bars(
        words(
            "分区水量平衡",
            "Balance of the zone",
            "供入、用户与平衡差；入口或用户有缺数的日子见下表「完整」。",
            "Supplied, customers and their difference; for days with something missing see the table.",
        ),
        DAYS,
        "day",
        {"inlet_m3": fixed(style.FORMER), "customers_m3": fixed(style.VOLUME), "balance_m3": fixed(style.WARN)},
    )
    nights = curves(
        words(
            "分区夜间流量",
            "Night flow of the zone",
            "入口夜间流量、大用户夜间流量与净值（供入减大用户）。",
            "Night flow of the inlets, of the customers, and the rest.",
        ),
        NIGHTS,
        {
            "inlet_night_m3h": fixed(style.FORMER),
            "customers_night_m3h": fixed(style.VOLUME),
            "net_night_m3h": {**fixed(style.WARN), "custom__lineWidth": 2},
        },
        joined_gap_ms=90_000_000,
        from_zero=True,
    )
    listed = table(
        words(
            "分区日平衡表",
            "Balances by day",
            "全部分区，最新的在前；入口缺数时平衡差为「—」，用户缺数使其偏大。",
            "Every zone, the newest day first; no balance without an inlet; with a customer missing it is too large.",
        ),
        balances(),
        {
            "day": {"custom__width": 110},
            "zone_name": {**to("zones", Word("看此分区", "See the zone"), keep="kind", zone="zone"), "custom__width": 136},
            "inlet_m3": {},
            "customers_m3": {},
            "balance_m3": {},
            "balance_share": {},
            "net_night_m3h": {},
            "known_words": {},
            "complete": coloured(mappings=mapping(ANSWERS, {"true": style.NEUTRAL, "false": style.WARN}), custom__width=84),
            **hidden("zone"),
        },
        pages=True,
        empty=Word(
            "登记表没有入口表（points.inlet_of），或时间范围内没有数据", "no inlets in the registry, or no data in this period"
        ),
    )
    night_flows = table(
        words(
            "分区大用户夜间流量",
            "Night flows of the zone's customers",
            "时间范围末一夜的最小流量，其和为上图大用户夜间流量；疑似漏水的在前。",
            "Of the last night of the time range; they add up to the customers' night flow above. Suspected leaks first.",
        ),
        NIGHT_FLOWS,
        {
            "customer": {**to_meter(), "custom__width": 210},
            "day": {"custom__width": 104},
            "night_min_m3h": {},
            "baseline_m3h": {},
            "limit_m3h": {},
            "nights": {},
            "suspected": coloured(mappings=mapping(ANSWERS, {"true": style.BAD, "false": style.NEUTRAL}), custom__width=96),
            "loss_m3_day": {},
            "loss_cny_month": {},
            **hidden("meter"),
        },
        pages=True,
        empty=Word("分区没有夜间流量", "no night flows of the zone"),
    )
    return dashboard(
        __name__,
        [row(14, (10, places), (14, groups)), row(9, balance, nights), row(9, night_flows), row(14, listed)],
        [kind("region"), zone()],
        since="now-30d",
        refresh="5m",
    )

"""Meters that belong together, a network, a line, an industry: their pressures, their supply in peak hours, their volume."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, days_off, row, section
from dashboards.links import to_maintain, to_meter
from dashboards.panels.charts import bars, many_curves, over
from dashboards.panels.core import fixed
from dashboards.panels.tables import hidden, plain, table, total_first
from dashboards.variables import CODE, FROM_DAY, KIND, NO_INLET, TO_DAY, ZONE, code, kind
from dashboards.vocabulary import ALL, SEGMENT_KINDS, Word, language, words

TITLE = Word("关联展现", "Related meters")
MORE = Word(
    "同一管网、延线、行业等的用户：压力、高峰供水与水量。", "Meters of a network, line or industry: pressures, peaks, volumes."
)

MEMBERS = 12
"""Curves in a chart; the sum is of all members."""

_HOURS = f"mart.member_hours({KIND}, {CODE}, $__timeFrom(), $__timeTo(), {ZONE}) AS h"
_DRAWN = f"""(SELECT DISTINCT meter FROM mart.relation
  WHERE kind = {KIND} AND code = {CODE} AND valid_to IS NULL ORDER BY meter LIMIT {MEMBERS})"""


def overlay(value: str) -> str:
    """SQL of a column of the first members by the hour."""
    return f"""SELECT h.hour_start AS "time", concat_ws(' ', h.meter, m.customer_name) AS metric, h.{value}
FROM {_HOURS}
JOIN mart.meter AS m ON m.meter = h.meter
WHERE h.meter IN {_DRAWN} AND h.{value} IS NOT NULL
ORDER BY 1, 2"""


def peaks(total: Word) -> str:
    """SQL of the volumes of the members in their peak hours, and the sum of all of them."""
    return f"""WITH h AS MATERIALIZED (SELECT * FROM {_HOURS})
SELECT h.hour_start AS "time", concat_ws(' ', h.meter, m.customer_name) AS metric,
  CASE WHEN h.in_peak THEN h.volume_m3 END AS volume_m3
FROM h
JOIN mart.meter AS m ON m.meter = h.meter
WHERE h.meter IN {_DRAWN}
UNION ALL
SELECT h.hour_start, '{total}', sum(h.volume_m3) FILTER (WHERE h.in_peak)
FROM h
GROUP BY h.hour_start
ORDER BY 1, 2"""


VOLUMES = f"""SELECT to_char(u.period, 'MM-DD') AS day, CASE WHEN u.complete THEN u.volume_m3 END AS volume_m3,
  CASE WHEN NOT u.complete THEN u.volume_m3 END AS measured_m3
FROM mart.group_usage AS u
WHERE u.kind = {KIND} AND u.code = {CODE} AND u.grain = 'day' AND u.period BETWEEN {FROM_DAY} AND {TO_DAY}
ORDER BY u.period"""

MONTHS = f"""SELECT to_char(u.period, 'YY-MM') AS month, u.volume_m3
FROM mart.group_usage AS u
WHERE u.kind = {KIND} AND u.code = {CODE} AND u.grain = 'month' AND u.period > {TO_DAY} - 800
ORDER BY u.period"""

TABLE = f"""WITH member AS (
  SELECT DISTINCT meter FROM mart.relation WHERE kind = {KIND} AND code = {CODE} AND valid_to IS NULL AND meter {NO_INLET}
), summed AS (
  SELECT concat_ws(' · ', s.customer_name, r.meter) AS customer, r.meter, m.dn_mm, s.flow_m3h, s.pressure_mpa,
    s.today_m3, s.month_m3
  FROM member AS r
  JOIN mart.meter AS m ON m.meter = r.meter
  LEFT JOIN mart.latest_status AS s ON s.meter = r.meter
)
SELECT '' AS customer, CAST(NULL AS bigint) AS dn_mm, sum(flow_m3h) AS flow_m3h,
  CAST(NULL AS double precision) AS pressure_mpa, sum(today_m3) AS today_m3, sum(month_m3) AS month_m3, NULL AS meter
FROM summed
HAVING count(*) > 0
UNION ALL
(SELECT customer, dn_mm, flow_m3h, pressure_mpa, today_m3, month_m3, meter
FROM summed
ORDER BY month_m3 DESC NULLS LAST, meter)"""


def segments() -> str:
    """SQL of the volumes of the group in each segment of the day, over the time range."""
    kinds = " ".join(f"WHEN '{name}' THEN '{word}'" for name, word in SEGMENT_KINDS.items())
    return f"""SELECT 
  concat_ws(' · ', CASE g.kind {kinds} ELSE g.kind END, coalesce(t.name_{language()}, g.segment)) AS segment_words,
  sum(g.volume_m3) AS volume_m3
FROM mart.segment_usage AS g
JOIN (
  SELECT DISTINCT meter FROM mart.relation WHERE kind = {KIND} AND code = {CODE} AND valid_to IS NULL
) AS r ON r.meter = g.meter
LEFT JOIN (SELECT DISTINCT ON (kind, segment) kind, segment, name_zh, name_en FROM mart.time_segment
  ORDER BY kind, segment, valid_from DESC) AS t ON t.kind = g.kind AND t.segment = g.segment
WHERE g.day BETWEEN {FROM_DAY} AND {TO_DAY}
GROUP BY 1
ORDER BY 1"""


FORECAST = f"""SELECT
  CAST(extract(epoch FROM f.hour_start - min(f.hour_start) OVER ()) / 3600 AS double precision) AS hours_ahead,
  f.p10_m3h, f.p90_m3h, f.p50_m3h
FROM mart.forecast_group AS f
WHERE f.kind = {KIND} AND f.code = {CODE} AND f.made_on = (
  SELECT max(made_on) FROM mart.forecast_group WHERE kind = {KIND} AND code = {CODE} AND made_on <= {TO_DAY})
ORDER BY f.hour_start"""


def rules() -> str:
    """SQL of the segments of a day that hold now."""
    kinds = " ".join(f"WHEN '{name}' THEN '{word}'" for name, word in SEGMENT_KINDS.items())
    return f"""SELECT CASE t.kind {kinds} ELSE t.kind END AS kind, t.name_{language()} AS segment_words, t.from_h, t.to_h,
  CASE t.scope_kind WHEN 'all' THEN '{ALL}' ELSE t.scope_kind || ' ' || t.scope_code END AS scope_code,
  CAST(nullif(t.valid_from, '0001-01-01') AS text) AS valid_from
FROM mart.time_segment AS t
WHERE t.valid_from <= {TO_DAY}
ORDER BY t.kind, t.scope_kind <> 'all', t.scope_kind, t.scope_code, t.valid_from DESC, t.from_h"""


def board() -> Json:
    """The dashboard JSON."""
    gap = thresholds.LONGEST_JOINED_GAP_MS
    total = Word("合计", "Sum")
    first = (f"最多画前 {MEMBERS} 块水表。", f"The first {MEMBERS} members at most.")
    pressures = many_curves(
        words(
            "用户水压趋势",
            "Pressures",
            "成员的小时平均压力。" + first[0],
            "Mean pressure of the hour of the members. " + first[1],
        ),
        overlay("pressure_mpa"),
        "pressure_mpa",
        joined_gap_ms=gap,
    )
    heads = many_curves(
        words(
            "水头（按高程修正）",
            "Heads (with elevation)",
            "压力折算水柱加测点高程，可相互比较；没有高程的水表不画。" + first[0],
            "Pressure as metres of water plus the elevation, so that points compare; none without an elevation. " + first[1],
        ),
        overlay("head_m"),
        "head_m",
        joined_gap_ms=gap,
    )
    supply = many_curves(
        words(
            "高峰时段供水趋势",
            "Supply in peak hours",
            "只画高峰时段（registry/segments.csv 的 peak_hours）；粗线为全部成员之和，入口表不计。" + first[0],
            "Peak hours only (peak_hours of registry/segments.csv); thick: the sum of all members, inlets apart. " + first[1],
        ),
        peaks(total),
        "volume_m3",
        joined_gap_ms=gap,
        from_zero=True,
        drawn={str(total): {**fixed("text"), "custom__lineWidth": 3}},
    )
    volumes = bars(
        words(
            "组水量（日）",
            "Volume of the group by day",
            "全部成员之和；橙色为有成员不完整的日子，只是已知部分。",
            "The sum of all members; orange: a member is incomplete, only what is known.",
        ),
        VOLUMES,
        "day",
        {"volume_m3": fixed(style.VOLUME), "measured_m3": fixed(style.WARN)},
        stacked=True,
    )
    months = bars(
        words("组水量（月）", "Volume of the group by month", "全部成员之和。", "The sum of all members."),
        MONTHS,
        "month",
        "volume_m3",
    )
    parts = bars(
        words(
            "分时段水量",
            "Volume by segment of the day",
            "时间范围内各类时段的水量；每类合计相同。",
            "Over the time range, by kind of segment; each kind adds up to the same.",
        ),
        segments(),
        "segment_words",
        "volume_m3",
        horizontal=True,
    )
    members = table(
        words("成员", "Members", "当前成员的最新数据；合计为已知值之和。", "The members now; the total is of what is known."),
        TABLE,
        {
            "customer": total_first(**to_meter(), custom__width=210),
            "dn_mm": {"noValue": " ", "custom__width": 60},
            "flow_m3h": {},
            "pressure_mpa": {},
            "today_m3": {},
            "month_m3": {"custom__width": 100},
            **hidden("meter"),
        },
        pages=True,
        empty=Word("没有成员", "no members"),
    )
    forecast = over(
        words(
            "组 72 小时预测",
            "Forecast of the group",
            "成员预测之和与应含五分之四小时的区间。",
            "The sum of the members' forecasts and the band that should hold four of five hours.",
        ),
        FORECAST,
        "hours_ahead",
        {"p50_m3h": {**fixed(style.FLOW), "custom__lineWidth": 2}},
        bounds=("p10_m3h", "p90_m3h", style.FLOW),
    )
    hours = table(
        words(
            "时段定义",
            "Segments of the day",
            "当前有效的时段及其起始日（registry/segments.csv）；改动后相关的表自动重算。",
            "What holds now and since when (registry/segments.csv); tables that go by it are made anew after a change.",
        ),
        rules(),
        {"kind": to_maintain(), **plain("segment_words from_h to_h scope_code valid_from")},
        pages=True,
    )
    return dashboard(
        __name__,
        [
            row(11, pressures, supply),
            row(11, heads, volumes),
            row(12, (14, members), (10, parts)),
            row(8, months, forecast),
            section(Word("时段定义", "Segments of the day"), row(12, hours), folded=True),
        ],
        [kind("network"), code()],
        since="now-7d",
        annotations=[days_off()],
        refresh="5m",
    )

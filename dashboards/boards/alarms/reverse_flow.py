"""When and how water flowed backwards, what speaks for which cause, what it adds up to; and leaks that are suspected by night."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row, section
from dashboards.links import in_ms, to, to_meter
from dashboards.of_meter import FLOW_PRESSURE
from dashboards.panels.charts import BEFORE, LIMIT, RIGHT, curves
from dashboards.panels.core import fixed, mapping, steps
from dashboards.panels.tables import hidden, painted, table, total_first
from dashboards.panels.tiles import some, tile
from dashboards.variables import FROM_DAY, METER, TO_DAY, TODAY, choice, midnight
from dashboards.vocabulary import ANSWERS, CAUSES, Word, words

TITLE = Word("反向与夜间流量", "Reverse and night flow")
MORE = Word(
    "倒流事件的过程、压力、原因，反向累计，夜间疑似漏水。", "Reverse flow: course, pressures, causes, totals; leaks by night."
)

IN_PERIOD = "e.started_at <= $__timeTo() AND e.ended_at >= $__timeFrom()"
DAYS = f"BETWEEN {FROM_DAY} AND {TO_DAY}"
AROUND = f"interval '{thresholds.ALARM_AROUND_S} seconds'"

EVENTS = f"""SELECT e.started_at, e.ended_at, concat_ws(' · ', m.customer_name, e.meter) AS customer, e.volume_m3, e.flow_max_m3h,
  e.pressure_before_mpa, e.pressure_after_mpa, e.likely_cause, a.cause, e.meter,
  {in_ms(f"e.started_at - {AROUND}")} AS from_ms, {in_ms(f"e.ended_at + {AROUND}")} AS to_ms
FROM mart.reverse_event AS e
LEFT JOIN mart.meter AS m ON m.meter = e.meter
LEFT JOIN LATERAL (
  SELECT q.cause FROM ops.alarm AS q
  WHERE q.meter = e.meter AND q.code = 'Q_REV' AND q.retracted_at IS NULL
    AND q.raised_at <= e.ended_at AND coalesce(q.cleared_at, now()) >= e.started_at
  ORDER BY q.raised_at DESC LIMIT 1
) AS a ON true
WHERE {IN_PERIOD}
ORDER BY e.started_at DESC, e.meter
LIMIT {thresholds.LISTED_ROWS}"""
HINTS = f"""SELECT e.started_at, e.meter, e.dip_mpa,
  CASE WHEN e.neighbours > 0 THEN e.neighbours_reversed || ' / ' || e.neighbours END AS neighbours_reversed,
  CASE WHEN e.neighbours > 0 THEN e.neighbours_dipped || ' / ' || e.neighbours END AS neighbours_dipped,
  CAST(e.night AS text) AS night, e.usage_fall_share, e.earlier_events, e.likely_cause
FROM mart.reverse_event AS e
WHERE {IN_PERIOD}
ORDER BY e.started_at DESC, e.meter
LIMIT {thresholds.LISTED_ROWS}"""
SCORES = f"""SELECT e.started_at, concat_ws(' · ', m.customer_name, e.meter) AS customer, e.score_network, e.score_pumping,
  e.score_theft, e.score_check_valve, e.meter
FROM mart.reverse_event AS e
LEFT JOIN mart.meter AS m ON m.meter = e.meter
WHERE {IN_PERIOD}
ORDER BY e.started_at DESC, e.meter
LIMIT {thresholds.LISTED_ROWS}"""
BY_CAUSE = f"""SELECT coalesce(e.likely_cause, '') AS likely_cause, count(*) AS events, sum(e.volume_m3) AS volume_m3
FROM mart.reverse_event AS e
WHERE {IN_PERIOD}
GROUP BY GROUPING SETS ((), (e.likely_cause))
HAVING count(*) > 0
ORDER BY grouping(e.likely_cause) DESC, 2 DESC"""
BACKWARDS = f"""SELECT interval_end AS "time", -flow_m3h AS reverse_m3h
FROM mart.reverse_course
WHERE meter = {METER} AND interval_end BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY interval_end"""
BY_DAY = f"""SELECT coalesce(CAST(d.day AS text), '') AS day, count(DISTINCT d.meter) AS meters, sum(d.reverse_m3) AS reverse_m3
FROM mart.daily_usage AS d
WHERE d.day {DAYS} AND d.reverse_m3 > 0
GROUP BY GROUPING SETS ((), (d.day))
HAVING count(*) > 0
ORDER BY grouping(d.day) DESC, d.day DESC"""
BY_METER = f"""SELECT coalesce(d.meter, '') AS meter,
  CASE grouping(d.meter) WHEN 0 THEN max(m.customer_name) ELSE '' END AS customer_name,
  count(DISTINCT d.day) AS days, sum(d.reverse_m3) AS reverse_m3
FROM mart.daily_usage AS d
LEFT JOIN mart.meter AS m ON m.meter = d.meter
WHERE d.day {DAYS} AND d.reverse_m3 > 0
GROUP BY GROUPING SETS ((), (d.meter))
HAVING count(*) > 0
ORDER BY grouping(d.meter) DESC, 4 DESC, 1"""
TOTALS = f"""SELECT count(*) AS events, sum(e.volume_m3) AS volume_m3 FROM mart.reverse_event AS e WHERE {IN_PERIOD}"""
REVERSED = f"SELECT count(DISTINCT e.meter) AS meters FROM mart.reverse_event AS e WHERE {IN_PERIOD}"

LAST_NIGHT = f"""(SELECT max(day) FROM mart.night_flow
  WHERE day BETWEEN {FROM_DAY} AND least({TO_DAY}, {TODAY}) AND night_min_m3h IS NOT NULL)"""
SUSPECTS = f"""SELECT n.meter, m.customer_name, n.night_min_m3h, n.loss_m3_day, n.loss_cny_month,
  CAST(n.since AS text) AS since, n.nights
FROM mart.night_flow AS n
LEFT JOIN mart.meter AS m ON m.meter = n.meter
WHERE n.day = {LAST_NIGHT} AND n.suspected
UNION ALL
SELECT '', '', NULL, sum(loss_m3_day), sum(loss_cny_month), NULL, NULL
FROM mart.night_flow
WHERE day = {LAST_NIGHT} AND suspected
HAVING count(*) > 0
ORDER BY loss_m3_day DESC, meter"""
LEAKS = (
    f"""SELECT count(*) AS meters, sum(loss_m3_day) AS loss_m3_day FROM mart.night_flow WHERE day = {LAST_NIGHT} AND suspected"""
)
NIGHTS = f"""SELECT {midnight("day")} AS "time", night_min_m3h, baseline_m3h, limit_m3h
FROM mart.night_flow
WHERE meter = {METER} AND day {DAYS}
ORDER BY day"""


def suspect() -> Json:
    """One meter, at first that of the latest event."""
    return choice(
        "meter",
        f"""SELECT m.meter AS __value, concat_ws(' · ', m.customer_name, m.customer_no, m.meter) AS __text
FROM mart.meter AS m
LEFT JOIN (SELECT meter, max(started_at) AS last_at FROM mart.reverse_event GROUP BY meter) AS e ON e.meter = m.meter
WHERE concat_ws(' · ', m.customer_name, m.customer_no, m.meter) ILIKE '%$__searchFilter'
ORDER BY e.last_at DESC NULLS LAST, m.customer_no, m.meter
LIMIT {thresholds.METER_CHOICES}""",
    )


def board() -> Json:
    """The dashboard JSON."""
    gap = thresholds.LONGEST_JOINED_GAP_MS
    tiles = [
        tile(
            words("倒流", "Reverse flow", "时段内的倒流次数与水量。", "Events of the period and their volume."),
            TOTALS,
            ["events", "volume_m3"],
        ),
        tile(
            words("倒流水表", "Meters", "时段内有倒流的水表。", "Meters with reverse flow in the period."),
            REVERSED,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words(
                "疑似漏水",
                "Suspected leaks",
                "时段内最后一夜疑似漏水的水表与日漏失量。",
                "Of the last night: meters and loss a day.",
            ),
            LEAKS,
            ["meters", "loss_m3_day"],
            looks={"meters": {"thresholds": some(style.WARN)}},
        ),
    ]
    chosen = to("reverse-flow", Word("看其过程", "See its course"), meter="meter")["links"]
    around = to(
        "recall",
        Word("事故追忆：前后两小时", "Recall: two hours before and after"),
        period="from=${__data.fields.from_ms}&to=${__data.fields.to_ms}",
        meter="meter",
    )["links"]
    events = table(
        words(
            "倒流事件",
            "Events of reverse flow",
            "起止、水量、最大流量、前后压力；可能原因由压降、邻户、时段、用水判断，确认原因为工作台确认报警时所填。"
            "点击客户看其过程，或看前后两小时。",
            "When, how much, pressures before and after; the likely cause follows from dips, neighbours, hours and "
            "usage, the given one "
            "from the acknowledgement. Click a customer for its course, or for two hours before and after.",
        ),
        EVENTS,
        {
            "started_at": {"custom__width": 136},
            "ended_at": {"custom__width": 136},
            "customer": {"custom__minWidth": 140, "links": [*chosen, *around]},
            "volume_m3": {"custom__width": 92},
            "flow_max_m3h": {"custom__width": 110},
            "pressure_before_mpa": {"custom__width": 104},
            "pressure_after_mpa": {"custom__width": 104},
            "likely_cause": {"mappings": mapping(CAUSES), "custom__width": 92},
            "cause": {"mappings": mapping(CAUSES), "custom__width": 92, "displayName": str(Word("确认原因", "Given cause"))},
            **hidden("meter from_ms to_ms"),
        },
        pages=True,
        empty=Word("本期无倒流", "No reverse flow in this period"),
    )
    course = curves(
        words(
            "倒流过程 ${meter:text}",
            "Course: ${meter:text}",
            "所选水表的流量、反向流量（负）与压力；点「倒流事件」换一块表。",
            "Flow, reverse flow (below 0) and pressure of the chosen meter; an event above chooses another.",
        ),
        [FLOW_PRESSURE, BACKWARDS],
        {
            "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 10},
            "reverse_m3h": {**fixed(style.BAD), "custom__fillOpacity": 30},
            "pressure_mpa": {**RIGHT, **fixed(style.PRESSURE)},
            "pressure_low_mpa": {**RIGHT, **LIMIT},
        },
        joined_gap_ms=gap,
        step=True,
        from_zero=True,
    )
    causes = table(
        words("按可能原因", "By likely cause", "时段内的次数与水量。", "Events and volume of the period."),
        BY_CAUSE,
        {
            "likely_cause": {**total_first(custom__minWidth=60), "mappings": [*total_first()["mappings"], *mapping(CAUSES)]},
            "events": {"custom__width": 60},
            "volume_m3": {"custom__width": 84},
        },
        empty=Word("本期无倒流", "No reverse flow in this period"),
    )
    by_day = table(
        words(
            "日反向累计", "Reverse volume by day", "各日全部水表的反向水量，合计在上。", "Of all meters by day, the total on top."
        ),
        BY_DAY,
        {"day": total_first(custom__minWidth=100), "meters": {"custom__width": 80}, "reverse_m3": {"custom__width": 120}},
        empty=Word("本期无反向水量", "No reverse volume in this period"),
    )
    by_meter = table(
        words(
            "各表反向累计",
            "Reverse volume by meter",
            "时段内各表的反向水量，合计在上。",
            "Of the period by meter, the total on top.",
        ),
        BY_METER,
        {
            "meter": total_first(custom__width=84),
            "customer_name": {**to_meter(), "custom__minWidth": 110},
            "days": {"custom__width": 60},
            "reverse_m3": {"custom__width": 100},
        },
        empty=Word("本期无反向水量", "No reverse volume in this period"),
    )
    suspects = table(
        words(
            "夜间疑似漏水",
            "Suspected of a leak by night",
            "时段内最后一夜高于界限已有若干夜的水表；漏失量按夜间流量高出基线的部分。点击客户看其夜间流量。",
            "Meters above their limit for some nights, the last night of the period; loss is what lies above the baseline.",
        ),
        SUSPECTS,
        {
            "meter": total_first(custom__width=84),
            "customer_name": {"links": chosen, "custom__minWidth": 120},
            "night_min_m3h": {"custom__width": 96},
            "loss_m3_day": {"custom__width": 96},
            "loss_cny_month": {"custom__width": 96},
            "since": {"custom__width": 100},
            "nights": {"custom__width": 76},
        },
        empty=Word("没有疑似漏水", "No leak is suspected"),
    )
    nights = curves(
        words(
            "夜间最小流量 ${meter:raw}",
            "Night flow: ${meter:raw}",
            "所选水表每夜最小流量与基线、界限。",
            "Lowest flow of each night of the chosen meter, its baseline and limit.",
        ),
        NIGHTS,
        {"night_min_m3h": {**fixed(style.FLOW), "custom__lineWidth": 2}, "baseline_m3h": BEFORE, "limit_m3h": LIMIT},
        joined_gap_ms=2 * 24 * 3600 * 1000,
        from_zero=True,
        legend=(),
    )
    hints = table(
        words(
            "判断依据",
            "What speaks for a cause",
            "压降；同网（延线）同时倒流、同时压降的户数 / 全部；夜间；用水降幅；此前倒流天数。",
            "Dip; neighbours that reversed or dipped of all; night; fall of usage; days with reverse flow before.",
        ),
        HINTS,
        {
            "started_at": {"custom__width": 136},
            "meter": to_meter(),
            "dip_mpa": {},
            "neighbours_reversed": {"custom__width": 120, "unit": "string", "custom__align": "right"},
            "neighbours_dipped": {"custom__width": 120, "unit": "string", "custom__align": "right"},
            "night": {"mappings": mapping(ANSWERS), "custom__width": 60},
            "usage_fall_share": {},
            "earlier_events": {"custom__width": 112},
            "likely_cause": {"mappings": mapping(CAUSES)},
        },
        pages=True,
        empty=Word("本期无倒流", "No reverse flow in this period"),
    )
    leads = steps((None, "transparent"), (0.5, "#8F7B3B"), (0.8, style.WARN))
    scores = table(
        words("各原因的分", "Score of each cause", "0 至 1；主要迹象没有则为 0。", "0 to 1; 0 where the main sign is absent."),
        SCORES,
        {
            "started_at": {"custom__width": 136},
            "customer": {"custom__minWidth": 150, "links": chosen},
            **{
                name: painted(thresholds=leads) for name in ("score_network", "score_pumping", "score_theft", "score_check_valve")
            },
            **hidden("meter"),
        },
        pages=True,
        empty=Word("本期无倒流", "No reverse flow in this period"),
    )
    return dashboard(
        __name__,
        [
            row(4, *tiles),
            row(10, events),
            row(10, (17, course), (7, causes)),
            row(8, (16, suspects), (8, nights)),
            row(10, by_day, by_meter),
            section(Word("判断依据", "What speaks for a cause"), row(10, hints), row(10, scores), folded=True),
        ],
        [suspect()],
        since="now-30d",
    )

"""Flow and pressure of one meter: seven days, the pressure of one day against its limit, and when the flow crossed a line."""

from dashboards import Json, of_meter, style, thresholds
from dashboards.board import dashboard, row
from dashboards.links import in_ms, to_frames, to_span
from dashboards.panels.charts import LIMIT, curves, over
from dashboards.panels.core import fixed, mapping, steps
from dashboards.panels.tables import hidden, table, total_first
from dashboards.panels.tiles import tile
from dashboards.variables import METER, THE_DAY, ZONE, day, meter, midnight, step, text_box
from dashboards.vocabulary import MET, NOT_MEASURED, SHIFTS, Word, words

TITLE = Word("压力流量", "Flow and pressure")
MORE = Word(
    "一块水表的七天流量、一天压力与合格率、越线时段与流量压力拟合。",
    "Seven days of flow, a day of pressure with its compliance, crossings of a line, and pressure against flow.",
)

LINE = f"""coalesce(
    CAST(substring(${{limit_m3h:sqlstring}} FROM '^[0-9]{{1,9}}(?:[.][0-9]{{1,9}})?$') AS double precision),
    (SELECT m.q3_m3h FROM mart.meter AS m WHERE m.meter = {METER}))"""
"""The reference line: what people type, else the meter's Q3."""

FLOW = f"""SELECT c.ends_at AS "time", c.flow_m3h, {LINE} AS limit_line_m3h
FROM mart.curve({METER}, $__timeFrom(), $__timeTo()) AS c
ORDER BY c.ends_at"""

CROSSINGS = f"""WITH found AS (SELECT * FROM mart.crossings({METER}, {LINE}, $__timeFrom(), $__timeTo()))
SELECT '' AS began, CAST(NULL AS timestamptz) AS ends_at, sum(minutes) AS minutes, sum(volume_above_m3) AS volume_above_m3,
  max(flow_max_m3h) AS flow_max_m3h, CAST(NULL AS text) AS from_ms, CAST(NULL AS text) AS to_ms
FROM found
HAVING count(*) > 0
UNION ALL
(SELECT to_char(starts_at AT TIME ZONE {ZONE}, 'YYYY-MM-DD HH24:MI'), ends_at, minutes, volume_above_m3, flow_max_m3h,
  {in_ms(f"starts_at - interval '{thresholds.ALARM_AROUND_S} s'")}, {in_ms(f"ends_at + interval '{thresholds.ALARM_AROUND_S} s'")}
FROM found
ORDER BY found.starts_at DESC)"""

OF_DAY = f"""mart.curve({METER}, {midnight("d.day")} + interval '1 second',
  {midnight("d.day + 1")})"""
CHOSEN_DAY = f"(SELECT {THE_DAY} AS day) AS d"

DAY_PRESSURE = f"""SELECT extract(epoch FROM (c.ends_at AT TIME ZONE {ZONE}) - d.day) / 3600 AS clock_h, c.pressure_mpa,
  s.pressure_low_mpa
FROM {CHOSEN_DAY}
CROSS JOIN LATERAL {OF_DAY} AS c
LEFT JOIN mart.latest_status AS s ON s.meter = {METER}
ORDER BY c.ends_at"""

COMPLIANCE = f"""SELECT p.share_met, CASE WHEN p.met THEN 'true' ELSE 'false' END AS met, p.readings,
  p.readings - p.readings_met AS readings_below
FROM mart.pressure_compliance AS p
WHERE p.meter = {METER} AND p.grain = 'day' AND p.period = {THE_DAY}"""

SHIFT = f"""SELECT t.shift_type, t.hours_active, t.night_share
FROM mart.shift_type AS t
WHERE t.meter = {METER} AND t.shift_type IS NOT NULL
ORDER BY t.month DESC
LIMIT 1"""


def board() -> Json:
    """The dashboard JSON."""
    return dashboard(
        __name__,
        [
            row(10, (20, flow()), (4, shift())),
            row(9, (20, day_pressure()), (4, compliance())),
            row(9, of_meter.flow_pressure()),
            row(10, crossings()),
        ],
        [meter(), text_box("limit_m3h"), day(), step()],
        since="now-7d",
        annotations=of_meter.curve_marks(),
    )


def flow() -> Json:
    """Seven days of flow with the line that people move."""
    return curves(
        words(
            "七天流量趋势（$step）",
            "Flow over seven days ($step)",
            "灰底为休息日；虚线为比对线：框中输入 m³/h，空则为本表 Q3。缺数处断线，点击曲线看原始报文。",
            "Grey: days off. Dashed: the reference line in m³/h from the box above, else the meter's Q3. Holes stay open; "
            "a point leads to its frames.",
        ),
        FLOW,
        {"flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12, **to_frames()}, "limit_line_m3h": LIMIT},
        joined_gap_ms=of_meter.GAP,
        step=True,
        from_zero=True,
        empty=NOT_MEASURED,
    )


def shift() -> Json:
    """How the customer works."""
    return tile(
        words(
            "用水形态",
            "Shape of use",
            "最近一个能判定的月的班制、开工小时数与夜间占比。",
            "Shift type, active hours and share of the night of the newest month that tells.",
        ),
        SHIFT,
        ["shift_type", "hours_active", "night_share"],
        texts=True,
        stacked=True,
        looks={"shift_type": {"mappings": mapping(SHIFTS)}},
        empty=NOT_MEASURED,
    )


def day_pressure() -> Json:
    """The pressure of the chosen day."""
    return over(
        words(
            "24 小时压力趋势（$day）",
            "Pressure over 24 hours ($day)",
            "所选日每个采集间隔末的压力；虚线为本表压力下限。",
            "Pressure at the end of each interval of the chosen day; dashed: the meter's lower limit.",
        ),
        DAY_PRESSURE,
        "clock_h",
        {"pressure_mpa": {**fixed(style.PRESSURE), "custom__lineWidth": 2}, "pressure_low_mpa": LIMIT},
        empty=NOT_MEASURED,
    )


def compliance() -> Json:
    """Whether the pressure of the chosen day meets the standard."""
    return tile(
        words(
            "当日合格率",
            "Compliance",
            "所选日达到本表下限的读数占比，是否符合标准，低于下限的读数条数。",
            "Of the chosen day: share of the readings that meet the limit, whether that is enough, and how many are below.",
        ),
        COMPLIANCE,
        ["share_met", "met", "readings", "readings_below"],
        texts=True,
        stacked=True,
        looks={
            "met": {"mappings": mapping(MET, {"false": style.BAD})},
            "readings_below": {"thresholds": steps((None, style.NEUTRAL), (1, style.BAD))},
        },
        empty=NOT_MEASURED,
    )


def crossings() -> Json:
    """Each time above the line, with the sum on top."""
    return table(
        words(
            "越线时段",
            "Times above the line",
            "流量高于比对线的各时段：起止、持续、超出水量与最大流量；合计在上。",
            "Each time above the reference line: start, end, duration, volume beyond it and highest flow; the total on top.",
        ),
        CROSSINGS,
        {
            "began": total_first(
                custom__minWidth=150,
                **to_span("flow-pressure", Word("看前后曲线", "See the curve around it"), keep="meter limit_m3h"),
            ),
            "ends_at": {"custom__width": 160},
            "minutes": {"custom__width": 140},
            "volume_above_m3": {"custom__width": 160},
            "flow_max_m3h": {"custom__width": 160},
            **hidden("from_ms to_ms"),
        },
        pages=True,
        empty=Word("本期流量没有越过比对线", "The flow was never above the line in this period"),
    )

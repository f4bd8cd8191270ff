"""One meter: its curves at the step of its terminal, with what happened on them."""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import alarm_words
from dashboards.board import alarms_of_meter, dashboard, days_off, nights, replacements, row
from dashboards.links import to_frames
from dashboards.panels.charts import LIMIT, RIGHT, curves
from dashboards.panels.core import fixed
from dashboards.variables import METER, meter, step
from dashboards.vocabulary import Word, words

TITLE = Word("表计详情", "Meter")
MORE = Word("一块水表的曲线、系数、对比与资料。", "Curves, coefficients, comparisons and card of one meter.")

FLOW_PRESSURE = f"""SELECT c.ends_at AS "time", c.flow_m3h, c.pressure_mpa, s.pressure_low_mpa
FROM mart.curve({METER}, $__timeFrom(), $__timeTo()) AS c
LEFT JOIN mart.latest_status AS s ON s.meter = {METER}
ORDER BY c.ends_at"""

REGISTER = f"""SELECT interval_end AS "time", register_m3
FROM mart.intervals({METER}, $__timeFrom(), $__timeTo())
ORDER BY interval_end"""


def board() -> Json:
    """The dashboard JSON."""
    gap = thresholds.LONGEST_JOINED_GAP_MS
    flow_pressure = curves(
        words(
            "流量与压力（$step）",
            "Flow and pressure ($step)",
            "八天以内为终端采集间隔，更长为每小时；时刻为间隔的结束，缺数处断线。虚线为本表压力下限。",
            "Up to eight days at the step of the terminal, beyond by the hour; labelled by the end, holes stay open. "
            "Dashed: the meter's lower pressure limit.",
        ),
        FLOW_PRESSURE,
        {
            "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12, **to_frames()},
            "pressure_mpa": {**RIGHT, **fixed(style.PRESSURE), **to_frames()},
            "pressure_low_mpa": {**RIGHT, **LIMIT},
        },
        joined_gap_ms=gap,
        step=True,
        from_zero=True,
    )
    register = curves(
        words(
            "读数累计曲线",
            "Register curve",
            "间隔结束时的累计读数；缺数处断线。",
            "Register at each interval's end; holes stay open.",
        ),
        REGISTER,
        {"register_m3": to_frames()},
        joined_gap_ms=gap,
    )
    marks = [days_off(), nights(), replacements(), alarms_of_meter(alarm_words("code"))]
    return dashboard(__name__, [row(10, flow_pressure), row(7, register)], [meter(), step()], since="now-7d", annotations=marks)

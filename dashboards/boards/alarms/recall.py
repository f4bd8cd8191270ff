"""Two hours before and after an alarm: flow and pressure of its meter, and of those beside it on the same network."""

from dashboards import Json, thresholds
from dashboards.alarm_columns import SELECTED, alarm_words, shown
from dashboards.board import alarms_of_meter, dashboard, replacements, row
from dashboards.of_meter import flow_and_pressure
from dashboards.panels.charts import many_curves
from dashboards.panels.tables import table
from dashboards.variables import METER, meter, step
from dashboards.vocabulary import Word, words

TITLE = Word("事故追忆", "Recall of an alarm")
MORE = Word("报警前后的流量、压力、同网水表与原始报文。", "Flow, pressure, neighbours and frames around an alarm.")

_NEIGHBOURS = f"""(SELECT DISTINCT other.meter
    FROM (SELECT kind, code FROM mart.relation WHERE meter = {METER} AND kind = 'network' AND valid_to IS NULL OFFSET 0) AS own
    CROSS JOIN LATERAL (SELECT r.meter FROM mart.relation AS r
      WHERE r.kind = own.kind AND r.code = own.code AND r.valid_to IS NULL
      ORDER BY r.meter LIMIT {thresholds.NEIGHBOURS}) AS other
    ORDER BY other.meter LIMIT {thresholds.NEIGHBOURS})"""


ALARMS = f"""SELECT {SELECTED}
FROM ops.alarm AS a
WHERE a.raised_at <= $__timeTo() AND coalesce(a.cleared_at, now()) >= $__timeFrom()
  AND a.meter IN (SELECT {METER} UNION ALL SELECT n.meter FROM {_NEIGHBOURS} AS n)
ORDER BY a.meter = {METER} DESC, a.raised_at DESC
LIMIT {thresholds.ALARM_ROWS}"""


def neighbours(value: str) -> str:
    """SQL of a column of the curves of those on the same network."""
    return f"""SELECT c.ends_at AS "time", n.meter AS metric, c.{value}
FROM {_NEIGHBOURS} AS n
CROSS JOIN LATERAL mart.curve(n.meter, $__timeFrom(), $__timeTo()) AS c
ORDER BY c.ends_at"""


def board() -> Json:
    """The dashboard JSON."""
    gap = thresholds.LONGEST_JOINED_GAP_MS
    own = flow_and_pressure(
        words(
            "流量与压力（$step）",
            "Flow and pressure ($step)",
            "红色为报警时段；点击曲线上的点看原始报文。",
            "Red: when an alarm held. Click a point for its frames.",
        ),
    )
    pressures = many_curves(
        words(
            "同网压力", "Pressures of the network", "同一管网的水表，最多十二块。", "Meters of the same network, at most twelve."
        ),
        neighbours("pressure_mpa"),
        "pressure_mpa",
        joined_gap_ms=gap,
    )
    flows = many_curves(
        words("同网流量", "Flows of the network", "同一管网的水表，最多十二块。", "Meters of the same network, at most twelve."),
        neighbours("flow_m3h"),
        "flow_m3h",
        joined_gap_ms=gap,
        step=True,
        from_zero=True,
    )
    alarms = table(
        words("此时的报警", "Alarms at the time", "本表在前，其后为同网水表。", "Those of the meter first, then of its network."),
        ALARMS,
        shown("raised_at severity code state customer value_limit cleared_at acknowledged_by cause"),
    )
    marks = [replacements(), alarms_of_meter(alarm_words("code"))]
    rows = [row(10, own), row(8, pressures, flows), row(8, alarms)]
    return dashboard(__name__, rows, [meter(), step()], since="now-24h", annotations=marks)

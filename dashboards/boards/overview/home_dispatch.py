"""The dispatch room: supply and pressure now, what is to be handled, the lowest points."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.home_panels import below, menu_of, open_alarms, reporting, supply, supply_tiles, to_handle
from dashboards.links import to, to_customer, to_meter
from dashboards.panels.charts import many_curves
from dashboards.panels.core import steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.variables import TODAY, midnight
from dashboards.vocabulary import Word, language, words

TITLE = Word("调度", "Dispatch")
MORE = Word("调度室：供水、压力、报警。", "The dispatch room: supply, pressure, alarms.")

LOWEST = f"""SELECT s.customer_name, s.meter, s.pressure_mpa, s.pressure_low_mpa, s.flow_m3h, s.pressure_at, s.customer_no
FROM mart.latest_status AS s
WHERE s.pressure_mpa IS NOT NULL
ORDER BY s.pressure_mpa - s.pressure_low_mpa, s.meter
LIMIT {thresholds.TOP_ROWS}"""

REVERSED = f"""SELECT e.started_at, s.customer_name, e.meter, e.volume_m3, e.flow_max_m3h
FROM mart.reverse_event AS e
LEFT JOIN mart.latest_status AS s ON s.meter = e.meter
ORDER BY e.started_at DESC, e.meter
LIMIT {thresholds.TOP_ROWS}"""


def pressures() -> str:
    """SQL of the median pressure of each network over the last two days."""
    return f"""SELECT p.hour_start AS "time", coalesce(r.name_{language()}, p.code) AS metric, p.median_mpa
FROM mart.pressure_by_hour AS p
LEFT JOIN (
  SELECT DISTINCT ON (code) code, name_zh, name_en FROM mart.relation WHERE kind = 'network' ORDER BY code
) AS r ON r.code = p.code
WHERE p.kind = 'network' AND p.hour_start >= {midnight(f"{TODAY} - 2")}
ORDER BY 1, 2"""


def board() -> Json:
    """The dashboard JSON."""
    networks = many_curves(
        words(
            "各管网压力（每小时中位数）",
            "Pressure of the networks (hourly median)",
            "管网内各点压力的中位数，近两天。",
            "Median of the points of a network, the last two days.",
        ),
        pressures(),
        "median_mpa",
        joined_gap_ms=thresholds.LONGEST_JOINED_GAP_MS,
        timeFrom="now-48h",
        hideTimeOverride=True,
    )
    lowest = table(
        words("压力最低点", "Lowest pressures", "离各自下限最近的水表。", "Meters that are nearest to their own limit."),
        LOWEST,
        {
            "customer_name": {**to_customer(), "custom__minWidth": 130},
            "meter": to_meter(),
            "pressure_mpa": {"custom__width": 92},
            "pressure_low_mpa": {"custom__width": 92},
            "flow_m3h": {"custom__width": 82},
            **hidden("pressure_at customer_no"),
        },
    )
    reversed_flow = table(
        words("最近的倒流", "Latest reverse flow", "点击开始时间追查。", "The start leads to the forensics."),
        REVERSED,
        {
            "started_at": {**to("reverse-flow", Word("倒流追查", "Forensics"), meter="meter"), "custom__width": 140},
            "customer_name": {"custom__minWidth": 120},
            "meter": to_meter(),
            "volume_m3": {"custom__width": 92},
            "flow_max_m3h": {**coloured(steps((None, style.NEUTRAL))), "custom__width": 92},
        },
    )
    return dashboard(
        __name__,
        [
            row(4, (3, open_alarms()), (3, below()), (3, reporting()), *((5, each) for each in supply_tiles())),
            row(9, supply(), to_handle()),
            row(9, networks, lowest),
            row(8, (16, reversed_flow), (8, menu_of("alarms"))),
        ],
        since="now-24h",
    )

"""The metrology office: meters that do not fit, that are due, whose data or batteries are poor."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.home_panels import arrival, leaks, menu_of, reporting, to_handle
from dashboards.links import to, to_meter
from dashboards.panels.core import steps
from dashboards.panels.tables import coloured, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import TODAY
from dashboards.vocabulary import Word, words

TITLE = Word("计量", "Metrology")
MORE = Word("计量室：选表、检定、数据质量、电池。", "The metrology office: fit, verification, quality, batteries.")

LAST_MONTH = "(SELECT max(month) FROM mart.meter_fit)"
MISFITS = f"SELECT count(*) AS meters FROM mart.meter_fit WHERE fit_class IN ('over', 'under') AND month = {LAST_MONTH}"
DUE = f"SELECT count(*) AS meters FROM mart.verification_due WHERE due_on <= {TODAY}"
WEAK = f"SELECT count(*) AS meters FROM mart.latest_status WHERE battery_v < {thresholds.BATTERY_LOW_V}"

CANDIDATES = f"""SELECT meter, customer_name, candidate, saving_m3_year, saving_cny_year, payback_years FROM (
  SELECT DISTINCT ON (r.meter) r.meter, s.customer_name, r.candidate, r.saving_m3_year, r.saving_cny_year, r.payback_years
  FROM mart.meter_resize AS r
  LEFT JOIN mart.latest_status AS s ON s.meter = r.meter
  WHERE r.passes
  ORDER BY r.meter, r.saving_cny_year DESC NULLS LAST
) AS best
ORDER BY saving_cny_year DESC NULLS LAST, meter
LIMIT {thresholds.TOP_ROWS}"""

POOR = f"""SELECT q.meter, s.customer_name, q.score, q.rules_broken, q.clock_offset_s, q.battery_min_v
FROM mart.quality_score AS q
LEFT JOIN mart.latest_status AS s ON s.meter = q.meter
WHERE q.day = (SELECT max(day) FROM mart.quality_score WHERE day < {TODAY})
ORDER BY q.score, q.meter
LIMIT {thresholds.TOP_ROWS}"""


DEVICES = "a.code IN ('BATT', 'CLOCK', 'DQ', 'LATE', 'NO_DATA', 'MAG', 'SENSOR', 'OVER_Q4', 'LEAK_NIGHT')"
"""Alarms that are about meters, terminals and their data."""


def board() -> Json:
    """The dashboard JSON."""
    tiles = [
        tile(
            words(
                "口径不合适",
                "Wrong size",
                "上一分析月口径偏大或偏小的水表。",
                "Meters that are too large or too small, last month of fit.",
            ),
            MISFITS,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("检定到期", "Verification due", "检定周期已到的水表。", "Meters whose period of verification is over."),
            DUE,
            ["meters"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("电池低", "Low batteries", "最新电压低于 3.3 V 的终端。", "Terminals whose latest voltage is below 3.3 V."),
            WEAK,
            ["meters"],
            thresholds=some(style.WARN),
        ),
    ]
    named: Json = {"custom__minWidth": 110, "custom__wrapText": True}
    candidates = table(
        words(
            "换表建议",
            "Meters to change",
            "每表节省最多的候选；点击水表看依据。",
            "The candidate that saves most; a meter leads to the reasons.",
        ),
        CANDIDATES,
        {
            "meter": {**to("flow-characteristic", Word("流量特性", "Flow characteristic"), meter="meter")},
            "customer_name": named,
            "candidate": {"custom__width": 116},
            "saving_m3_year": {"custom__width": 96},
            "saving_cny_year": {"custom__width": 84, "decimals": 0},
            "payback_years": {"custom__width": 70},
        },
    )
    poor = table(
        words(
            "数据质量最差", "Poorest data", "最近一个完整日的评分，低的在前。", "Score of the last whole day, the lowest first."
        ),
        POOR,
        {
            "meter": to_meter(),
            "customer_name": named,
            "score": {**coloured(steps((None, style.BAD), (60, style.WARN), (80, style.NEUTRAL))), "custom__width": 60},
            "rules_broken": {"custom__width": 76, "noValue": " "},
            "clock_offset_s": {"custom__width": 84},
            "battery_min_v": {"custom__width": 76},
        },
    )
    return dashboard(
        __name__,
        [
            row(4, *tiles, leaks(), reporting()),
            row(9, (14, candidates), (10, arrival())),
            row(
                10,
                (12, poor),
                (12, to_handle(DEVICES)),
            ),
            row(9, menu_of("flow-characteristic"), menu_of("latest-data")),
        ],
        since="now-14d",
    )

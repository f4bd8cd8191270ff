"""Highest, lowest and mean flow and pressure of one meter by day, month or year, with a total over all of them."""

from dashboards import Json, of_meter
from dashboards.board import dashboard, row
from dashboards.links import in_ms, to_span
from dashboards.panels.tables import hidden, table, total_first
from dashboards.variables import GRAIN, METER, grain, meter, midnight
from dashboards.vocabulary import NOT_MEASURED, Text, Word, words

TITLE = Word("峰谷值", "Peaks and valleys")
MORE = Word(
    "一块水表按日、月、年的流量与压力峰谷值。", "Highest, lowest and mean flow and pressure of one meter by day, month and year."
)

ONE = f"CASE {GRAIN} WHEN 'month' THEN interval '1 month' WHEN 'year' THEN interval '1 year' ELSE interval '1 day' END"
"""The length of a period."""

SPAN = f"""SELECT min(p.period) AS first_day, CAST(max(p.period) + {ONE} AS date) - 1 AS last_day
  FROM mart.peak_valley AS p WHERE p.meter = {METER} AND {of_meter.in_range("p", GRAIN)}"""
"""The days that the total is of."""


def rows_of(what: str, unit: str) -> str:
    """SQL of the total and of each period, of `flow` or `pressure`."""
    values = f"{what}_max_{unit}, v.{what}_max_at, v.{what}_min_{unit}, v.{what}_min_at, v.{what}_mean_{unit}"
    return f"""SELECT '' AS period, v.{values}, v.coverage,
  {in_ms(midnight("span.first_day"))} AS from_ms, {in_ms(midnight("span.last_day + 1"))} AS to_ms
FROM ({SPAN}) AS span
CROSS JOIN LATERAL mart.peak_valley_between({METER}, span.first_day, span.last_day) AS v
WHERE span.first_day IS NOT NULL
UNION ALL
(SELECT left(CAST(v.period AS text), CASE v.grain WHEN 'month' THEN 7 WHEN 'year' THEN 4 ELSE 10 END), v.{values}, v.coverage,
  {in_ms(midnight("v.period"))}, {in_ms(midnight(f"(v.period + {ONE})"))}
FROM mart.peak_valley AS v
WHERE v.meter = {METER} AND {of_meter.in_range("v", GRAIN)}
ORDER BY v.period DESC)"""


def board() -> Json:
    """The dashboard JSON."""
    flow, pressure = of_meter.peaks(GRAIN)
    flows = of_periods(
        words(
            "流量最大、最小、平均值",
            "Flow: highest, lowest, mean",
            "单位同为 m³/h；合计：最大中的最大、最小中的最小、全部区间的平均。时段为所选周期，由时间范围取。",
            "All in m³/h; the total is the highest of all, the lowest of all and the mean of all intervals.",
        ),
        "flow",
        "m3h",
    )
    pressures = of_periods(
        words(
            "压力最大、最小、平均值",
            "Pressure: highest, lowest, mean",
            "合计：最高中的最高、最低中的最低、全部读数的平均。",
            "The total is the highest of all, the lowest of all and the mean of all readings.",
        ),
        "pressure",
        "mpa",
    )
    return dashboard(
        __name__,
        [row(9, flow, pressure), row(14, flows), row(14, pressures)],
        [meter(), grain()],
        since="now-30d",
    )


def of_periods(text: Text, what: str, unit: str) -> Json:
    """The table of `flow` or `pressure`."""
    return table(
        text,
        rows_of(what, unit),
        {
            "period": total_first(
                custom__minWidth=110, **to_span("flow-pressure", Word("看该时段曲线", "See its curve"), keep="meter")
            ),
            f"{what}_max_{unit}": {"custom__width": 136},
            f"{what}_max_at": {"custom__width": 142},
            f"{what}_min_{unit}": {"custom__width": 136},
            f"{what}_min_at": {"custom__width": 142},
            f"{what}_mean_{unit}": {"custom__width": 136},
            "coverage": {**of_meter.COVERED, "custom__width": 100},
            **hidden("from_ms to_ms"),
        },
        pages=True,
        empty=NOT_MEASURED,
    )

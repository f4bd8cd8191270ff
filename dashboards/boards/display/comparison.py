"""Customers on one axis, two periods against each other, and a meter's curve over that of before at the same clock time."""

from dashboards import Json, of_meter, style, thresholds
from dashboards.board import dashboard, row, section
from dashboards.links import to_customer
from dashboards.panels.charts import BEFORE, curves, many_curves
from dashboards.panels.core import fixed, mapping
from dashboards.panels.tables import coloured, hidden, table
from dashboards.variables import FROM_DAY, GRAIN, METER, TO_DAY, choice, fixed_choice, grain, meter, midnight, step, text_box
from dashboards.vocabulary import ANSWERS, NOT_MEASURED, Word, words

TITLE = Word("用水量对比", "Comparison")
MORE = Word("客户与客户、时段与时段的用水量对比。", "Volumes of customers and of periods against each other.")

BEFORE_DAYS = {
    "7": Word("一周前", "a week before"),
    "1": Word("前一日", "the day before"),
    "28": Word("四周前", "four weeks before"),
    "364": Word("去年同周", "the same week last year"),
}
_CASES = " ".join(f"WHEN '{days}' THEN {days}" for days in BEFORE_DAYS)
SHIFT = f"(SELECT CASE ${{before:sqlstring}} {_CASES} END * interval '1 day' AS back)"
"""How far back the other curve lies."""

MOST = 12
"""How many are compared where nobody is chosen: the largest."""
BY_SIZE = """SELECT u.customer_no, u.volume_m3, row_number() OVER (ORDER BY u.volume_m3 DESC NULLS LAST, u.customer_no) AS place
  FROM mart.customer_usage AS u
  WHERE u.grain = 'month' AND u.period = (SELECT max(period) FROM mart.customer_usage WHERE grain = 'month')"""
"""Customers, the largest of the newest month first."""
CUSTOMERS = f"""(SELECT array_agg(s.customer_no) FROM ({BY_SIZE}) AS s
  CROSS JOIN (SELECT array[${{customers:sqlstring}}] AS chosen) AS k
  WHERE s.customer_no = ANY(k.chosen) OR 'all' = ANY(k.chosen) AND s.place <= {MOST})"""
"""Those that are compared."""


def typed(name: str) -> str:
    """SQL of the day that people type, none where it is no day of the calendar."""
    return f"(SELECT k.day FROM mart.calendar AS k WHERE CAST(k.day AS text) = ${{{name}:sqlstring}})"


B_FIRST = f"coalesce({typed('b_first')}, {FROM_DAY} - ({TO_DAY} - {FROM_DAY} + 1))"
B_LAST = f"coalesce({typed('b_last')}, {FROM_DAY} - 1)"

PERIODS = f"""SELECT c.name AS customer_name, p.a_m3, p.b_m3, p.change_m3, p.change_pct, p.a_day_m3, p.b_day_m3,
  CASE WHEN p.comparable THEN 'true' ELSE 'false' END AS comparable, c.customer_no
FROM unnest({CUSTOMERS}) AS chosen (customer_no)
JOIN mart.customer AS c ON c.customer_no = chosen.customer_no
CROSS JOIN LATERAL mart.compare_periods(NULL, {FROM_DAY}, {TO_DAY}, {B_FIRST}, {B_LAST}, c.customer_no) AS p
ORDER BY p.a_m3 DESC NULLS LAST, c.customer_no"""


def compared(value: str) -> str:
    """SQL of a value of each customer by period."""
    return f"""SELECT {midnight("c.period")} AS "time", c.customer_name AS metric, c.{value}
FROM mart.customers_compared({CUSTOMERS}, {GRAIN}, {FROM_DAY}, {TO_DAY}) AS c
ORDER BY c.period, c.customer_no"""


def overlaid(value: str, before: str) -> list[str]:
    """SQL of a value of the chosen meter, and of the same so many days before, at the clock time of now."""
    return [
        f"""SELECT c.ends_at AS "time", c.{value}
FROM mart.curve({METER}, $__timeFrom(), $__timeTo()) AS c
ORDER BY c.ends_at""",
        f"""SELECT c.ends_at + s.back AS "time", c.{value} AS {before}
FROM {SHIFT} AS s
CROSS JOIN LATERAL mart.curve({METER}, CAST($__timeFrom() AS timestamptz) - s.back,
  CAST($__timeTo() AS timestamptz) - s.back) AS c
ORDER BY c.ends_at""",
    ]


def choices() -> str:
    """SQL of the customers that can be compared; at first the largest."""
    largest = Word(f"最大的 {MOST} 户", f"the {MOST} largest")
    return f"""SELECT __value, __text FROM (
  SELECT 0 AS place, 'all' AS __value, '{largest}' AS __text
  UNION ALL
  SELECT s.place, s.customer_no, concat_ws(' · ', c.name, s.customer_no)
  FROM ({BY_SIZE}) AS s LEFT JOIN mart.customer AS c ON c.customer_no = s.customer_no
) AS offered ORDER BY place LIMIT {thresholds.METER_CHOICES}"""


def board() -> Json:
    """The dashboard JSON."""
    customers = choice("customers", choices(), several=True)
    base = [text_box("b_first"), text_box("b_last")]
    return dashboard(
        __name__,
        [
            section(Word("客户与客户", "Customers against each other"), row(11, *of_customers())),
            section(Word("时段与时段", "Periods against each other"), row(11, periods())),
            section(Word("同一时刻重叠（所选水表）", "At the same clock time (the chosen meter)"), row(9, *of_times())),
        ],
        [customers, grain(), *base, meter(), fixed_choice("before", BEFORE_DAYS), step()],
        since="now-1w/w",
        until="now-1w/w",
    )


def of_customers() -> list[Json]:
    """Volumes of the chosen customers, and each over its own mean."""
    volumes = many_curves(
        words(
            "客户用水量",
            "Volumes of customers",
            "所选客户各周期的水量；未测的时段断线。",
            "Volumes of the chosen customers by period. A period without figures stays open.",
        ),
        compared("volume_m3"),
        "volume_m3",
        joined_gap_ms=of_meter.YEAR_MS,
        from_zero=True,
        empty=NOT_MEASURED,
    )
    shares = many_curves(
        words(
            "与各自均值之比",
            "Over each one's mean",
            "各周期水量与该客户本期完整时段均值之比：大小客户可重叠比较。",
            "Volume over the customer's own mean of the complete periods, so that large and small ones lie over each other.",
        ),
        compared("of_mean"),
        "of_mean",
        joined_gap_ms=of_meter.YEAR_MS,
        from_zero=True,
        empty=NOT_MEASURED,
    )
    return [volumes, shares]


def periods() -> Json:
    """The time range against the base."""
    return table(
        words(
            "时段对比",
            "Periods compared",
            "比较期为时间范围；基期为框中日期（YYYY-MM-DD，含首末日），空则为紧接其前的同样天数。任一期不完整则标「否」。",
            "Period a is the time range; the base is of the days in the boxes (YYYY-MM-DD), else as many days just before. "
            "Not comparable: a day of either is not complete.",
        ),
        PERIODS,
        {
            "customer_name": {"custom__minWidth": 170, **to_customer()},
            **{name: {"custom__width": 116} for name in ("a_m3", "b_m3", "change_m3")},
            "change_pct": {"custom__width": 90},
            **{name: {"custom__width": 116} for name in ("a_day_m3", "b_day_m3")},
            "comparable": coloured(mappings=mapping(ANSWERS, {"false": style.WARN}), custom__width=104),
            **hidden("customer_no"),
        },
        pages=True,
        empty=NOT_MEASURED,
    )


def of_times() -> list[Json]:
    """The chosen meter's curves over those of before."""
    flow = curves(
        words(
            "流量：本期与对比期",
            "Flow now and before",
            "虚线为所选天数以前的同一时刻。八天以内为采集间隔，更长为每小时。",
            "Dashed: the same clock time so many days before. Up to eight days at the raw step, beyond by the hour.",
        ),
        overlaid("flow_m3h", "flow_before_m3h"),
        {"flow_before_m3h": BEFORE, "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12}},
        joined_gap_ms=of_meter.GAP,
        step=True,
        from_zero=True,
        empty=NOT_MEASURED,
    )
    pressure = curves(
        words(
            "压力：本期与对比期",
            "Pressure now and before",
            "虚线为所选天数以前的同一时刻。",
            "Dashed: the same clock time so many days before.",
        ),
        overlaid("pressure_mpa", "pressure_before_mpa"),
        {"pressure_before_mpa": BEFORE, "pressure_mpa": fixed(style.PRESSURE)},
        joined_gap_ms=of_meter.GAP,
        empty=NOT_MEASURED,
    )
    return [flow, pressure]

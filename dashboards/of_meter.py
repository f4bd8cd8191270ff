"""Panels about one meter that several boards show: its curves, coefficients, comparison, alarms and quality.

The meter is the one that is chosen (`variables.METER`); day and month are those of the board where a panel is of a day or month.
"""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import AROUND, STATE, VALUE_LIMIT, alarm_words, lasted, shown
from dashboards.board import Row, alarms_of_meter, days_off, nights, replacements, row
from dashboards.links import to, to_frames
from dashboards.panels.charts import LIMIT, RIGHT, band, bars, curves, strip
from dashboards.panels.core import fixed, mapping, steps
from dashboards.panels.tables import coloured, hidden, plain, table
from dashboards.panels.tiles import CHANGE, some, tile
from dashboards.variables import FROM_DAY, METER, THE_DAY, THE_MONTH, TO_DAY, TODAY, midnight, near
from dashboards.vocabulary import METER_SOURCES, NOT_MEASURED, SO_FAR, Text, Word, words

GAP = thresholds.LONGEST_JOINED_GAP_MS
YEAR_MS = 366 * 24 * 3600 * 1000
"""A line is drawn from one period to the next; a period without figures has a row, so that it stays open."""
MONTH_LAST = f"CAST({THE_MONTH} + interval '1 month' AS date) - 1"
"""The last day of the month that is chosen."""

COVERED: Json = coloured(
    steps((None, style.NEUTRAL), (0, style.WARN), (thresholds.COVERAGE_COMPLETE, style.NEUTRAL)), custom__minWidth=76
)
"""How a coverage looks in a table: plain where it is complete."""
RATE: Json = {"custom__minWidth": 78}
PARTLY: dict[str, Json] = {"complete_m3": fixed(style.VOLUME), "partial_m3": fixed(style.FORMER)}
"""How volumes look in bars: those that are not complete are grey."""


def partly(volume: str, complete: str) -> str:
    """SQL of a volume apart by whether it is complete."""
    return f"CASE WHEN {complete} THEN {volume} END AS complete_m3, CASE WHEN NOT {complete} THEN {volume} END AS partial_m3"


FLOW_PRESSURE = f"""SELECT c.ends_at AS "time", c.flow_m3h, c.pressure_mpa, s.pressure_low_mpa
FROM mart.curve({METER}, $__timeFrom(), $__timeTo()) AS c
LEFT JOIN mart.latest_status AS s ON s.meter = {METER}
ORDER BY c.ends_at"""

REGISTER = f"""SELECT r.ends_at AS "time", r.register_m3
FROM mart.register_course({METER}, $__timeFrom(), $__timeTo()) AS r
ORDER BY r.ends_at"""

DAY_COMPARISON = f"""SELECT CAST(c.period AS text) AS period,
  c.volume_m3, c.previous_m3, c.change_pct, c.aligned_m3, c.aligned_pct, c.coverage
FROM mart.usage_comparison AS c
WHERE c.meter = {METER} AND c.grain = 'day' AND c.period BETWEEN {THE_MONTH} AND {MONTH_LAST}
ORDER BY c.period DESC"""


def to_month(keep: str) -> Json:
    """The property of a column whose cells lead to the volumes of the row's month; `keep`: the choice to pass on."""
    return to("usage", Word("看该月用水量", "See the month"), keep=keep, month="month")


def curve_marks() -> list[Json]:
    """What is marked on the curves of the chosen meter."""
    return [days_off(), nights(), replacements(), alarms_of_meter(alarm_words("code"))]


def flow_and_pressure(text: Text, empty: Word | str = style.MISSING) -> Json:
    """Flow and pressure over the time range, with the limit of the meter; points lead to their frames."""
    return curves(
        text,
        FLOW_PRESSURE,
        {
            "flow_m3h": {**fixed(style.FLOW), "custom__fillOpacity": 12, **to_frames()},
            "pressure_mpa": {**RIGHT, **fixed(style.PRESSURE), **to_frames()},
            "pressure_low_mpa": {**RIGHT, **LIMIT},
        },
        joined_gap_ms=GAP,
        step=True,
        from_zero=True,
        empty=empty,
    )


def flow_pressure() -> Json:
    """Flow and pressure at the step of the terminal, with the limit."""
    return flow_and_pressure(
        words(
            "流量与压力（$step）",
            "Flow and pressure ($step)",
            "八天以内为终端采集间隔，更长为每小时；时刻为间隔的结束，缺数处断线。虚线为本表压力下限。点击曲线上的点看原始报文。",
            "Up to eight days at the step of the terminal, beyond by the hour; labelled by the end, holes stay open. "
            "Dashed: the meter's lower pressure limit. Click a point for its frames.",
        ),
        NOT_MEASURED,
    )


def register() -> Json:
    """The register at each interval's end."""
    return curves(
        words(
            "读数累计曲线",
            "Register curve",
            "间隔结束时的累计读数；缺数处断线，换表处有标记。",
            "Register at each interval's end; holes stay open, a change of the meter is marked.",
        ),
        REGISTER,
        {"register_m3": {**fixed(style.VOLUME), **to_frames()}},
        joined_gap_ms=GAP,
        empty=NOT_MEASURED,
    )


def coefficients(meter: str = METER) -> list[Row]:
    """The coefficients of the chosen day and month of the meter (SQL), each with its volume."""
    of_the_day = f"meter = {meter} AND day = {THE_DAY} AND hour_start {near(THE_DAY)}"
    of_the_month = f"c.meter = {meter} AND c.day BETWEEN {THE_MONTH} AND {MONTH_LAST}"
    hours = f"SELECT hour_start, coefficient FROM mart.hourly_coefficient WHERE {of_the_day} ORDER BY hour_start"
    days = f"""SELECT to_char(c.day, 'MM-DD') AS day, c.coefficient FROM mart.daily_coefficient AS c
WHERE {of_the_month}
ORDER BY c.day"""
    day_figures = f"""SELECT u.volume_m3, max(h.coefficient) AS kh
FROM mart.daily_usage AS u
LEFT JOIN mart.hourly_coefficient AS h ON h.meter = u.meter AND h.day = u.day AND h.hour_start {near("u.day")}
WHERE u.meter = {meter} AND u.day = {THE_DAY}
GROUP BY u.volume_m3"""
    month_figures = f"""SELECT u.measured_m3, u.days_complete, max(c.coefficient) AS kd_max
FROM mart.monthly_usage AS u
LEFT JOIN mart.daily_coefficient AS c ON c.meter = u.meter AND c.month = u.month
WHERE u.meter = {meter} AND u.month = {THE_MONTH}
GROUP BY u.measured_m3, u.days_complete"""
    hourly = bars(
        words(
            "24 小时时差系数（$day）",
            "Hourly coefficients ($day)",
            "每小时水量与当日平均小时水量之比，最大者为 Kh；完整日合计为 24。",
            "Volume of the hour over the mean hour of the day, the highest is Kh; 24 in all on a complete day.",
        ),
        hours,
        "hour_start",
        "coefficient",
        empty=NOT_MEASURED,
    )
    daily = bars(
        words(
            "日差系数（$month）",
            "Daily coefficients ($month)",
            "每日水量与当月平均日水量之比，最大者为 Kd。",
            "Volume of the day over the mean day of the month, the highest is Kd.",
        ),
        days,
        "day",
        "coefficient",
        empty=NOT_MEASURED,
    )
    of_day = tile(
        words("当日", "The day", "所选日的水量与 Kh。", "Volume and Kh of the chosen day."),
        day_figures,
        ["volume_m3", "kh"],
        stacked=True,
    )
    of_month = tile(
        words("当月", "The month", "所选月已知各日的水量、完整天数与 Kd。", "Volume of the known days, complete days and Kd."),
        month_figures,
        ["measured_m3", "days_complete", "kd_max"],
        stacked=True,
    )
    return [row(8, (8, hourly), (4, of_day), (8, daily), (4, of_month))]


def comparison() -> list[Row]:
    """Months and days of the chosen month against those before."""
    volumes = plain("volume_m3 previous_m3 change_pct last_year_m3 yoy_pct") | {"change_pct": RATE, "yoy_pct": RATE}
    months = table(
        words(
            "月用水量环比、同比",
            "Months compared",
            "与上月、去年同月比；未完的月与同期天数比。覆盖率不足 100% 的月标色。",
            "Against the month before and a year ago; a month that is not over against the same days.",
        ),
        _months_compared(),
        {"period": {"custom__minWidth": 124, **to_month("meter")}, **volumes, "coverage": COVERED, **hidden("month")},
        pages=True,
        empty=NOT_MEASURED,
    )
    days = table(
        words(
            "日用水量环比、同比（$month）",
            "Days compared ($month)",
            "与前一日、去年同周日比；点击日期看当日曲线。",
            "Against the day before and the same weekday a year ago; a day leads to its curve.",
        ),
        DAY_COMPARISON,
        {
            "period": {"custom__minWidth": 100, **to("flow-pressure", Word("看当日", "See the day"), keep="meter", day="period")},
            **plain("volume_m3 previous_m3"),
            "change_pct": RATE,
            "aligned_m3": {},
            "aligned_pct": RATE,
            "coverage": COVERED,
        },
        pages=True,
        empty=NOT_MEASURED,
    )
    return [row(10, months), row(10, days)]


def alarms(whose: str) -> Json:
    """The alarms of the period; `whose`: SQL that holds for those of the alarm `a`."""
    return table(
        words(
            "报警记录",
            "Alarms",
            "所选时段内发生的报警；点击报警到工作台。",
            "Alarms raised in the period; click one to see it in the desk.",
        ),
        _alarms(whose),
        shown("raised_at severity code state value_limit cleared_at acknowledged_by cause"),
        empty=Word("本期无报警", "No alarm in this period"),
    )


def quality(whose: str, first: str, last: str) -> Json:
    """The score of each day; `whose`: SQL that holds for the meter `m`."""
    return strip(
        words(
            "数据质量评分（每日）",
            "Data quality by day",
            "0 至 100 分：完整、及时、校验、总量核对、时钟、电池、信号。低于 80 标色，低于 60 为红。",
            "0 to 100 points: complete, in time, valid, summing up, clock, battery, signal. Coloured below 80, red below 60.",
        ),
        _quality(whose, first, last),
        "score",
        steps((None, style.BAD), (thresholds.SCORE_POOR, style.WARN), (thresholds.SCORE_FAIR, style.COVERED)),
        empty=NOT_MEASURED,
    )


def head(meter: str, customer: str, alarm: str, source: str) -> Row:
    """The band on top of the board of a meter or customer.

    `meter` and `customer`: SQL of the one that it is about, the other null; `alarm`: SQL that holds for its alarms `a`; `source`:
    SQL of how it is read, as a code.
    """
    figures = f"FROM mart.current_figures({meter}, {TODAY}, {customer})"
    open_alarms = f"(SELECT count(*) FROM ops.alarm AS a WHERE {alarm} AND a.cleared_at IS NULL AND a.retracted_at IS NULL)"
    contact = tile(
        words(
            "数据与报警",
            "Data and alarms",
            "最新读数距今多久、未恢复的报警数、数据来源。",
            "How long ago the latest reading was, open alarms, and how it is read.",
        ),
        f"""SELECT coalesce({lasted("reading_at")}, '{NOT_MEASURED}') AS age, {open_alarms} AS alarms, ({source}) AS point_source
{figures}""",
        ["age", "alarms", "point_source"],
        texts=True,
        stacked=True,
        looks={"alarms": {"thresholds": some(style.BAD)}, "point_source": {"mappings": mapping(METER_SOURCES)}},
        empty=NOT_MEASURED,
    )
    now = tile(
        words(
            "最新采集",
            "Latest",
            "最新一次采集的流量、压力与电池；客户为各表流量之和、最低压力与最低电池。",
            "Flow, pressure and battery of the latest reading; of a customer the sum and the lowest.",
        ),
        f"SELECT flow_m3h, pressure_mpa, battery_v {figures}",
        ["flow_m3h", "pressure_mpa", "battery_v"],
        stacked=True,
        looks={
            "battery_v": {"thresholds": steps((None, style.NEUTRAL), (0, style.BAD), (thresholds.BATTERY_LOW_V, style.NEUTRAL))}
        },
    )
    today = tile(
        words(
            "今日",
            "Today",
            "今日零点起的水量；覆盖率为全天中已知的部分。",
            "Since midnight; coverage: the known share of the whole day.",
        ),
        f"SELECT today_m3, today_coverage {figures}",
        ["today_m3", "today_coverage"],
        stacked=True,
    )
    yesterday = tile(
        words("昨日", "Yesterday", "昨日水量，与前一日比。", "Volume of yesterday, against the day before."),
        f"SELECT yesterday_m3, yesterday_pct {figures}",
        ["yesterday_m3", "yesterday_pct"],
        stacked=True,
        looks={"yesterday_pct": CHANGE},
    )
    month = tile(
        words(
            "本月至昨日",
            "Month so far",
            "本月一日至昨日的水量，与上月同样天数比。",
            "From the first to yesterday, against the same days of last month.",
        ),
        f"SELECT month_m3, last_month_m3, month_pct {figures}",
        ["month_m3", "last_month_m3", "month_pct"],
        stacked=True,
        looks={"month_pct": CHANGE},
    )
    return row(5, (5, contact), (5, now), (4, today), (5, yesterday), (5, month))


def peaks(grain: str) -> list[Json]:
    """Bands of the flow and of the pressure of the periods that the time range touches; `grain`: SQL of their length."""
    return [
        band(
            words(
                "流量峰谷值",
                "Flow: highest, lowest, mean",
                "各时段区间流量的最大、最小与平均；带为最小至最大。",
                "Highest, lowest and mean flow of the intervals; the band is from lowest to highest.",
            ),
            _peaks(grain, "flow_min_m3h, p.flow_max_m3h, p.flow_mean_m3h"),
            "flow_min_m3h",
            "flow_max_m3h",
            "flow_mean_m3h",
            colour=style.FLOW,
            joined_gap_ms=YEAR_MS,
            from_zero=True,
            empty=NOT_MEASURED,
        ),
        band(
            words(
                "压力峰谷值",
                "Pressure: highest, lowest, mean",
                "各时段压力的最高、最低与平均；带为最低至最高。",
                "Highest, lowest and mean pressure; the band is from lowest to highest.",
            ),
            _peaks(grain, "pressure_min_mpa, p.pressure_max_mpa, p.pressure_mean_mpa"),
            "pressure_min_mpa",
            "pressure_max_mpa",
            "pressure_mean_mpa",
            colour=style.PRESSURE,
            joined_gap_ms=YEAR_MS,
            empty=NOT_MEASURED,
        ),
    ]


def _peaks(grain: str, values: str) -> str:
    return f"""SELECT {midnight("p.period")} AS "time", p.{values}
FROM mart.peak_valley AS p
WHERE p.meter = {METER} AND {in_range("p", grain)}
ORDER BY p.period"""


def in_range(alias: str, grain: str) -> str:
    """SQL that holds for the periods of a length (SQL of the code) that the time range touches."""
    return f"""{alias}.grain = {grain} AND {alias}.period <= {TO_DAY}
  AND {alias}.period > {FROM_DAY} - CASE {alias}.grain WHEN 'month' THEN 31 WHEN 'year' THEN 366 ELSE 1 END"""


def _months_compared() -> str:
    return f"""SELECT to_char(c.period, 'YYYY-MM') || CASE WHEN c.elapsed_part THEN '{SO_FAR}' ELSE '' END AS period,
  c.volume_m3, c.previous_m3, c.change_pct, c.last_year_m3, c.yoy_pct, c.coverage, to_char(c.period, 'YYYY-MM') AS month
FROM mart.usage_comparison AS c
WHERE c.meter = {METER} AND c.grain = 'month'
ORDER BY c.period DESC
LIMIT 25"""


def _alarms(whose: str) -> str:
    return f"""SELECT a.raised_at, a.severity, a.code, {STATE} AS state, {VALUE_LIMIT},
  a.cleared_at, a.acknowledged_by, a.cause, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE {whose} AND $__timeFilter(a.raised_at)
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT {thresholds.ALARM_ROWS}"""


def _quality(whose: str, first: str, last: str) -> str:
    return f"""SELECT {midnight("k.day")} AS "time", m.meter AS metric, q.score
FROM mart.meter AS m
JOIN mart.calendar AS k ON k.day BETWEEN {first} AND {last}
LEFT JOIN mart.quality_score AS q ON q.meter = m.meter AND q.day = k.day
WHERE {whose}
ORDER BY k.day, m.meter"""

"""Panels that several home boards share: the supply and its comparison, what is to be handled, alarms and money in one look."""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import AROUND, PRESSING, VALUE_LIMIT, lasted, shown
from dashboards.functions import MENUS, listed
from dashboards.links import to, to_customer
from dashboards.panels.charts import BEFORE, bars, curves, strip
from dashboards.panels.core import fixed, steps
from dashboards.panels.tables import table
from dashboards.panels.texts import text
from dashboards.panels.tiles import some, tile
from dashboards.ticker import WHO
from dashboards.variables import TODAY, midnight
from dashboards.vocabulary import Text, Word, words

SO_FAR = f"SELECT volume_m3, change_pct FROM mart.supply_so_far({TODAY})"
YESTERDAY = f"SELECT volume_m3, week_change_pct FROM mart.group_so_far('all', 'all', {TODAY})"
MONTH = f"SELECT month_m3, month_change_pct FROM mart.group_so_far('all', 'all', {TODAY})"

REPORTING = """SELECT count(*) FILTER (WHERE now() - reading_at <= silent_after_h * interval '1 hour') AS reporting,
  count(*) AS meters FROM mart.latest_status"""

OPEN = """SELECT count(*) FILTER (WHERE severity = 'critical') AS critical, count(*) AS alarms FROM ops.alarm
WHERE cleared_at IS NULL AND retracted_at IS NULL"""
LEAKS = """SELECT count(DISTINCT meter) AS meters FROM ops.alarm
WHERE code = 'LEAK_NIGHT' AND cleared_at IS NULL AND retracted_at IS NULL"""
BELOW = "SELECT count(*) AS meters FROM mart.latest_status WHERE pressure_mpa < pressure_low_mpa"

HOURS = f"""SELECT now.hour_start + interval '1 hour' AS "time",
  now.volume_m3, before.volume_m3 AS yesterday_m3, week.volume_m3 AS week_before_m3
FROM mart.supply_by_hour({TODAY} - 1, {TODAY}) AS now
LEFT JOIN mart.supply_by_hour({TODAY} - 2, {TODAY} - 1) AS before ON before.hour_start = now.hour_start - interval '1 day'
LEFT JOIN mart.supply_by_hour({TODAY} - 8, {TODAY} - 7) AS week ON week.hour_start = now.hour_start - interval '7 days'
ORDER BY 1"""

TOP = f"""SELECT coalesce(c.name, u.customer_no) AS customer_name, u.volume_m3, w.volume_m3 AS week_before_m3, u.customer_no
FROM mart.customer_usage AS u
LEFT JOIN mart.customer AS c ON c.customer_no = u.customer_no
LEFT JOIN mart.customer_usage AS w ON w.customer_no = u.customer_no AND w.grain = 'day' AND w.period = {TODAY} - 8
WHERE u.grain = 'day' AND u.period = {TODAY} - 1 AND u.volume_m3 IS NOT NULL
ORDER BY u.volume_m3 DESC, u.customer_no
LIMIT {thresholds.TOP_ROWS}"""

ARRIVAL = f"""WITH worst AS (
  SELECT meter FROM mart.daily_usage WHERE day BETWEEN {TODAY} - 14 AND {TODAY} - 1
  GROUP BY meter ORDER BY min(coverage), meter LIMIT {thresholds.STRIP_ROWS}
)
SELECT {midnight("d.day")} AS "time", d.meter AS metric, d.coverage
FROM mart.daily_usage AS d
JOIN worst ON worst.meter = d.meter
WHERE d.day BETWEEN {TODAY} - 14 AND {TODAY} - 1
ORDER BY 1, 2"""


def indicator(code: str, name: str) -> str:
    """SQL of the course of a line of the revenue indicators over thirteen whole months, as column `name`."""
    return f"""SELECT {midnight("k.month")} AS "time", CAST(k.value AS double precision) AS {name}
FROM mart.revenue_kpi AS k
WHERE k.code = '{code}' AND k.month > {TODAY} - interval '14 months' AND NOT k.to_date
ORDER BY k.month"""


def supply_tiles() -> list[Json]:
    """Today so far, yesterday and the month so far, each with its comparison."""
    return [
        tile(
            words(
                "今日累计",
                "Today so far",
                "全部水表今日已知各小时的水量之和；对比只计两日都已知的小时。",
                "Sum of the hours of today that are known; the comparison counts the hours that are known on both days.",
            ),
            SO_FAR,
            ["volume_m3", "change_pct"],
            looks={"volume_m3": {"decimals": 0}},
        ),
        tile(
            words(
                "昨日水量",
                "Yesterday",
                "全部水表昨日水量，与上周同日相比。",
                "Volume of all meters yesterday, against the same day last week.",
            ),
            YESTERDAY,
            ["volume_m3", "week_change_pct"],
            looks={"volume_m3": {"decimals": 0}},
        ),
        tile(
            words(
                "本月累计",
                "This month",
                "本月已结束各日的水量，与上月相同日子相比。",
                "Volume of the finished days of the month, against the same days of last month.",
            ),
            MONTH,
            ["month_m3", "month_change_pct"],
            looks={"month_m3": {"decimals": 0}},
        ),
    ]


def open_alarms() -> Json:
    """Open alarms, and how many of them are critical."""
    return tile(
        words("报警", "Alarms", "未恢复的报警，其中紧急的。", "Open alarms, and the critical ones of them."),
        OPEN,
        ["critical", "alarms"],
        looks={"critical": {"thresholds": some(style.BAD)}, "alarms": {"thresholds": steps((None, style.NEUTRAL))}},
    )


def reporting() -> Json:
    """Meters that report, of how many."""
    return tile(
        words(
            "在线",
            "Online",
            "在各自静默时限内有读数的水表。",
            "Meters whose last reading is within their limit of silence.",
        ),
        REPORTING,
        ["reporting", "meters"],
    )


def leaks() -> Json:
    """Meters with a suspected leak."""
    return tile(
        words("漏水", "Leaks", "夜间流量持续偏高的水表。", "Meters whose night flow stays above its baseline."),
        LEAKS,
        ["meters"],
        thresholds=some(style.WARN),
    )


def below() -> Json:
    """Meters whose pressure is below its limit now."""
    return tile(
        words("压力", "Below", "最新压力低于本表下限的水表。", "Meters whose latest pressure is below their limit."),
        BELOW,
        ["meters"],
        thresholds=some(style.BAD),
    )


def supply() -> Json:
    """What all customers take by the hour, beside yesterday and last week."""
    return curves(
        words(
            "大客户总用水（每小时）",
            "Supply to all major customers (hourly)",
            "已知各小时之和；虚线为前一日与上周同日的同一时刻。",
            "Sum of what is known of each hour; dashed: the day before and a week before at the same time.",
        ),
        HOURS,
        {
            "volume_m3": {**fixed(style.FLOW), "custom__fillOpacity": 15},
            "yesterday_m3": {**BEFORE},
            "week_before_m3": {**BEFORE, "custom__lineStyle": {"fill": "dot", "dash": [2, 6]}},
        },
        joined_gap_ms=thresholds.LONGEST_JOINED_GAP_MS,
        step=True,
        from_zero=True,
        legend=(),
        timeFrom="now-24h",
        hideTimeOverride=True,
    )


def handled(only: str) -> str:
    """SQL of the open alarms that nobody has acknowledged; `only`: a condition on the alarm `a`."""
    return f"""SELECT {WHO}, a.code, {VALUE_LIMIT},
  {lasted()} AS open_for, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE a.cleared_at IS NULL AND a.retracted_at IS NULL AND a.acknowledged_at IS NULL AND {only}
ORDER BY {PRESSING}, a.raised_at DESC
LIMIT {thresholds.HANDLE_ROWS}"""


def to_handle(only: str = "true") -> Json:
    """Open alarms that nobody has acknowledged, the most pressing first; `only`: a condition on the alarm `a`."""
    return table(
        words(
            "需要处理",
            "To be handled",
            "未恢复且无人确认的报警。点击报警到工作台确认，点击客户看前后两小时。",
            "Open alarms that nobody has acknowledged. An alarm leads to the desk, a customer to two hours before and after.",
        ),
        handled(only),
        shown("customer code value_limit open_for"),
    )


def top_customers() -> Json:
    """The largest customers of yesterday beside the same day of last week."""
    return bars(
        words("昨日用水前十", "Largest customers yesterday", "灰色为上周同日。", "Grey: the same day of last week."),
        TOP,
        "customer_name",
        {
            "volume_m3": {**fixed(style.FLOW), **to_customer()},
            "week_before_m3": {**fixed(style.FORMER), "decimals": 0},
            "customer_no": {"custom__hideFrom__viz": True},
        },
        horizontal=True,
    )


def arrival() -> Json:
    """How much of each of the last 14 days came, of the meters with the worst day."""
    return strip(
        words(
            "近 14 天数据到达",
            "Data of the last 14 days",
            "覆盖率最低的水表；红色不足一半，橙色不完整。",
            "Meters with the lowest coverage; red: less than half, orange: incomplete.",
        ),
        ARRIVAL,
        "coverage",
        covered(),
        rows=0,
        timeFrom="now-14d/d",
        hideTimeOverride=True,
    )


def covered() -> Json:
    """Colours of a coverage: what is complete is quiet."""
    return steps((None, style.BAD), (thresholds.COVERAGE_POOR, style.WARN), (thresholds.COVERAGE_COMPLETE, style.QUIET))


def money() -> list[Json]:
    """What was billed, received and owed, and the rate of collection, each with the course of thirteen months."""
    lines = (
        (
            words("开账金额", "Billed", "最近一个完整月；背景为十三个月。", "The last whole month; behind it thirteen months."),
            "billed",
            "amount",
        ),
        (
            words("收费金额", "Received", "最近一个完整月；背景为十三个月。", "The last whole month; behind it thirteen months."),
            "received",
            "amount",
        ),
        (
            words(
                "欠费金额",
                "Arrears",
                "往月账单月初未收；背景为十三个月。",
                "Unpaid bills of earlier months; behind it thirteen months.",
            ),
            "arrears",
            "amount",
        ),
        (
            words(
                "回收率",
                "Collection rate",
                "收费 ÷（开账＋欠费）；背景为十三个月。",
                "Received ÷ (billed + arrears); behind it thirteen months.",
            ),
            "collection_rate",
            "rate_pct",
        ),
    )
    whole = {"amount": {"decimals": 0}, "rate_pct": {}}
    return [
        tile(
            text,
            indicator(code, name),
            [name],
            course=True,
            timeFrom="now-14M/M",
            hideTimeOverride=True,
            looks={name: {**whole[name], **to("revenue-kpi", Word("营收指标", "Revenue"))}},
        )
        for text, code, name in lines
    ]


def supply_by_month() -> Json:
    """What all customers took in each of the last months that are over, beside the same month of the year before."""
    return bars(
        words(
            "月供水量",
            "Supply by month",
            "已结束的月份；灰色为去年同月。",
            "Months that are over; grey: the same month of last year.",
        ),
        f"""SELECT to_char(u.period, 'YYYY-MM') AS month, u.volume_m3, y.volume_m3 AS year_before_m3
FROM mart.group_usage AS u
LEFT JOIN mart.group_usage AS y ON y.kind = u.kind AND y.code = u.code AND y.grain = u.grain
  AND y.period = u.period - interval '1 year'
WHERE u.kind = 'all' AND u.code = 'all' AND u.grain = 'month' AND u.period > {TODAY} - interval '14 months'
  AND u.period < date_trunc('month', {TODAY})
ORDER BY u.period""",
        "month",
        {"volume_m3": {**fixed(style.FLOW), "decimals": 0}, "year_before_m3": {**fixed(style.FORMER), "decimals": 0}},
    )


def menu_of(place: str) -> Json:
    """The functions of the menu in which a place is, as a list of links."""
    menu = next(each for each in MENUS if any(function.place.startswith(place) for function in each.functions))
    return text(Text(menu.word, Word("功能", "Functions")), listed(menu))

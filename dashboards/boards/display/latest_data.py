"""How every meter is now, a row a meter, the urgent ones first; on top the fleet's figures."""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import alarm_words
from dashboards.board import dashboard, row, section
from dashboards.links import to_customer, to_meter
from dashboards.panels.core import mapping, steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import CODE, KIND, NO_INLET, TODAY, any_class, of_class, text_box
from dashboards.vocabulary import CONTACT_STATES, READ_STATES, Word, words

TITLE = Word("最新数据", "Latest data")
MORE = Word("全部大客户的最新读数、压力、水量与报警。", "Latest reading, pressure, volume and alarms of every major customer.")

FOUND = f"""concat_ws(' ', s.customer_no, s.customer_name, s.meter) ILIKE '%' || ${{search:sqlstring}} || '%'
  AND {of_class("s.meter")}"""
"""The meters that the filters choose."""

SILENT = "now() - s.reading_at > s.silent_after_h * interval '1 hour'"
"""Whether the meter `s` is silent: the one thing that cannot be published, for it changes by itself."""

TECHNICAL = f"""SELECT s.customer_name, s.meter, s.flow_m3h, s.reverse_m3, s.battery_v, s.signal, s.channel, s.received_at,
  s.customer_no
FROM mart.latest_status AS s
WHERE {FOUND}
ORDER BY s.customer_no, s.meter
LIMIT {thresholds.LATEST_ROWS}"""

BY_HAND = f"""SELECT m.customer_name, m.meter, r.read_at, r.register_m3, r.state AS read_state,
  CAST(r.last_read_on AS text) AS last_read_on,
  m.book_no, m.customer_no
FROM mart.meter AS m
LEFT JOIN mart.meter_month AS r ON r.meter = m.meter AND r.month = (SELECT max(month) FROM mart.meter_month)
WHERE m.source = 'manual' AND concat_ws(' ', m.customer_no, m.customer_name, m.meter) ILIKE '%' || ${{search:sqlstring}} || '%'
  AND {of_class("m.meter")}
ORDER BY m.customer_no, m.meter
LIMIT {thresholds.LATEST_ROWS}"""

REPORTING = f"""SELECT count(*) FILTER (WHERE NOT ({SILENT})) AS reporting, count(*) FILTER (WHERE {SILENT}) AS silent
FROM mart.latest_status AS s WHERE {FOUND}"""
BELOW = f"SELECT count(*) AS meters FROM mart.latest_status AS s WHERE s.pressure_mpa < s.pressure_low_mpa AND {FOUND}"
ALARMS = f"""SELECT count(*) AS alarms FROM ops.alarm AS a JOIN mart.latest_status AS s ON s.meter = a.meter
WHERE a.cleared_at IS NULL AND a.retracted_at IS NULL AND {FOUND}"""

TODAY_SUM = f"""SELECT sum(s.today_m3 ORDER BY s.meter) AS today_m3, count(s.today_m3) AS meters_today
FROM mart.latest_status AS s WHERE {FOUND} AND s.meter {NO_INLET}"""
DAYS = f"""SELECT max(g.volume_m3) FILTER (WHERE g.period = {TODAY} - 1) AS day_m3,
  max(g.volume_m3) FILTER (WHERE g.period = {TODAY} - 2) AS yesterday_m3,
  max(g.volume_m3) FILTER (WHERE g.period = {TODAY} - 8) AS week_before_m3
FROM mart.group_usage AS g
WHERE g.kind = {KIND} AND g.code = {CODE} AND g.grain = 'day' AND g.period BETWEEN {TODAY} - 8 AND {TODAY} - 1"""


def board() -> Json:
    """The dashboard JSON."""
    sections = [
        section(Word("流量、反向、电池与信号", "Flow, reverse, battery and signal"), row(16, technical()), folded=True),
        section(Word("人工抄表的水表", "Meters that are read by hand"), row(12, by_hand()), folded=True),
    ]
    return dashboard(
        __name__, [row(5, *tiles()), row(20, latest()), *sections], [*any_class(), text_box("search")], since="now-24h"
    )


def latest_rows() -> str:
    """SQL of the table: what is wrong in words, then the figures."""
    return f"""WITH open_alarm AS (
  SELECT meter, string_agg({alarm_words("code")}, ', ' ORDER BY code) AS alarms
  FROM (SELECT DISTINCT meter, code FROM ops.alarm WHERE cleared_at IS NULL AND retracted_at IS NULL) AS alarm
  GROUP BY meter
)
SELECT s.customer_name, s.meter, s.reading_at,
  nullif(concat_ws(', ', CASE WHEN {SILENT} THEN '{CONTACT_STATES["silent"]}' END, o.alarms), '') AS exceptions,
  s.pressure_mpa, s.register_m3, s.today_m3, s.today_coverage, s.month_m3, s.customer_no
FROM mart.latest_status AS s
LEFT JOIN open_alarm AS o ON o.meter = s.meter
WHERE {FOUND}
ORDER BY o.alarms IS NULL, {SILENT} DESC, s.pressure_mpa < s.pressure_low_mpa DESC NULLS LAST, s.customer_no, s.meter
LIMIT {thresholds.LATEST_ROWS}"""


def tiles() -> list[tuple[int, Json]]:
    """The figures of those that the filters choose."""
    reporting = tile(
        words(
            "通信",
            "Contact",
            "静默：最新读数早于本表静默时限。",
            "Silent: the last reading is older than the limit of the meter.",
        ),
        REPORTING,
        ["reporting", "silent"],
        stacked=True,
        looks={"silent": {"thresholds": some(style.BAD)}},
    )
    alarms = tile(
        words("未恢复报警", "Open alarms", "所选水表未恢复的报警数。", "Open alarms of these meters."),
        ALARMS,
        ["alarms"],
        thresholds=some(style.BAD),
    )
    below = tile(
        words(
            "压力越下限", "Low pressure", "最新压力低于本表下限的水表数。", "Meters whose latest pressure is below their limit."
        ),
        BELOW,
        ["meters"],
        thresholds=some(style.BAD),
    )
    today = tile(
        words(
            "今日水量",
            "Today",
            "今日已有数据的水表自零点起的水量之和。",
            "Volume since midnight of the meters that have sent something today.",
        ),
        TODAY_SUM,
        ["today_m3", "meters_today"],
        stacked=True,
    )
    days = tile(
        words(
            "昨日水量",
            "Yesterday",
            "所选分类昨日的水量，与前日、上周同日比；不随查找框变化。",
            "Volume of the class, beside the day before and the same weekday of last week; the search box does not change it.",
        ),
        DAYS,
        ["day_m3", "yesterday_m3", "week_before_m3"],
        stacked=True,
    )
    return [(5, reporting), (4, alarms), (4, below), (5, today), (6, days)]


def latest() -> Json:
    """A row a meter."""
    limit = coloured(steps((None, style.BAD)), custom__width=138, custom__wrapText=True, noValue=" ")
    return table(
        words(
            "最新实时数据表",
            "Latest data",
            "每表一行，有报警、静默和压力越下限的在前；点击客户或水表看详情。今日覆盖率为全天中已知的部分。",
            "One row a meter, those with alarms, silent or below their limit first; customer and meter lead on. "
            "Coverage: the known share of the whole of today.",
        ),
        latest_rows(),
        {
            "customer_name": {**to_customer(), "custom__minWidth": 160},
            "meter": {**to_meter(), "custom__width": 70},
            "reading_at": {"custom__width": 140},
            "exceptions": limit,
            "pressure_mpa": {"custom__width": 90},
            "register_m3": {"custom__width": 110},
            "today_m3": {"custom__width": 104},
            "today_coverage": {"custom__width": 92},
            "month_m3": {"custom__width": 104},
            **hidden("customer_no"),
        },
        pages=True,
    )


def technical() -> Json:
    """What of the latest reading is asked for less often."""
    return table(
        words(
            "最新读数的其余各项",
            "More of the latest reading",
            "最新流量、反向累计、电池、信号、通道与接收时间。",
            "Latest flow, reverse register, battery, signal, channel and time of receipt.",
        ),
        TECHNICAL,
        {
            "customer_name": {**to_customer(), "custom__minWidth": 160},
            "meter": {**to_meter(), "custom__width": 70},
            "flow_m3h": {"custom__width": 110},
            "reverse_m3": {"custom__width": 120},
            "battery_v": coloured(steps((None, style.BAD), (thresholds.BATTERY_LOW_V, style.NEUTRAL)), custom__width=90),
            "signal": {"custom__width": 80},
            "channel": {"custom__width": 90},
            "received_at": {"custom__width": 140},
            **hidden("customer_no"),
        },
        pages=True,
    )


def by_hand() -> Json:
    """The last read of each meter without a terminal."""
    return table(
        words(
            "人工抄表",
            "Read by hand",
            "没有远传的水表：最近账务月的抄表；压力与流量未测。",
            "Meters without a terminal: the read of the newest month of account; pressure and flow are not measured.",
        ),
        BY_HAND,
        {
            "customer_name": {**to_customer(), "custom__minWidth": 160},
            "meter": {**to_meter(), "custom__width": 70},
            "read_at": {"custom__width": 140},
            "register_m3": {"custom__width": 110},
            "read_state": {"mappings": mapping(READ_STATES)},
            "last_read_on": {"custom__minWidth": 100},
            "book_no": {},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有人工抄表的水表", "No meter is read by hand"),
    )

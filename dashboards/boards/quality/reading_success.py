"""Whether every meter was read as planned, what of each day came, and the ledger of what is missing or late."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.home_panels import covered
from dashboards.links import to_customer, to_meter
from dashboards.panels.charts import LIMIT, curves, strip
from dashboards.panels.core import fixed, steps
from dashboards.panels.tables import coloured, hidden, plain, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import FROM_DAY, TO_DAY, TODAY, midnight
from dashboards.vocabulary import Word, in_words, words

TITLE = Word("抄读成功率与缺数", "Reading success and gaps")
MORE = Word("远传抄读成功率、每日到数与缺数台账。", "Success of remote reading, what came each day, the ledger of gaps.")

PERIOD = f"BETWEEN {FROM_DAY} AND least({TO_DAY}, {TODAY} - 1)"
"""Days of the time range that are over."""
COURSE = f"""SELECT {midnight("day")} AS "time", share, target_share FROM mart.reading_success
WHERE day {PERIOD} ORDER BY day"""
LAST = f"FROM mart.reading_success WHERE day {PERIOD} ORDER BY day DESC LIMIT 1"
EXPECTED = f"""SELECT sum(readings) AS readings, sum(expected_readings) AS expected_readings FROM mart.data_quality
WHERE day = (SELECT max(day) FROM mart.data_quality WHERE day {PERIOD})"""
OPEN_GAPS = "SELECT count(*) AS gaps FROM mart.gap WHERE state IN ('open', 'asked')"
LOST_GAPS = """SELECT count(*) AS gaps FROM mart.gap
WHERE state = 'expired' AND from_at <= $__timeTo() AND coalesce(to_at, now()) >= $__timeFrom()"""

GRID = f"""WITH worst AS (
  SELECT meter FROM mart.data_quality WHERE day {PERIOD}
  GROUP BY meter ORDER BY avg(coverage), meter LIMIT {thresholds.GRID_ROWS}
)
SELECT {midnight("d.day")} AS "time", d.meter AS metric, d.coverage
FROM mart.data_quality AS d
JOIN worst ON worst.meter = d.meter
WHERE d.day {PERIOD}
ORDER BY 1, 2"""
ARRIVED = f"""SELECT d.meter, m.customer_name, m.step_min, count(*) AS days, count(*) FILTER (WHERE d.complete) AS days_complete,
  sum(d.readings) AS readings, sum(d.expected_readings) AS expected_readings, min(d.coverage) AS coverage, m.customer_no
FROM mart.data_quality AS d
LEFT JOIN mart.meter AS m ON m.meter = d.meter
WHERE d.day {PERIOD}
GROUP BY d.meter, m.customer_name, m.step_min, m.customer_no
ORDER BY avg(d.coverage), d.meter
LIMIT {thresholds.LISTED_ROWS}"""


def gaps() -> str:
    """SQL of the gaps that are open or touch the period, the open ones first."""
    return f"""SELECT g.meter, m.customer_name, {in_words("g.state")}, g.from_at, g.to_at, g.intervals, g.first_seen_at,
  g.deadline_at, m.customer_no
FROM mart.gap AS g
LEFT JOIN mart.meter AS m ON m.meter = g.meter
WHERE g.state IN ('open', 'asked') OR g.first_seen_at BETWEEN $__timeFrom() AND $__timeTo()
  OR g.from_at <= $__timeTo() AND coalesce(g.to_at, now()) >= $__timeFrom()
ORDER BY array_position(array['open', 'asked', 'expired', 'closed'], g.state), g.from_at DESC
LIMIT {thresholds.LISTED_ROWS}"""


def board() -> Json:
    """The dashboard JSON."""
    tiles = [
        tile(
            words("最近成功率", "Success", "时段内最后一个完整日。", "The last whole day of the period."),
            f"SELECT share {LAST}",
            ["share"],
        ),
        tile(
            words("目标", "Target", "标准 reading.target_share。", "Criterion reading.target_share."),
            f"SELECT target_share {LAST}",
            ["target_share"],
        ),
        tile(
            words("已读 / 应读", "Read / all", "窗口内有读数的水表与在用水表。", "Meters with a reading of the window, and all."),
            f"SELECT meters_read, meters {LAST}",
            ["meters_read", "meters"],
        ),
        tile(
            words(
                "到数 / 应到",
                "Came / due",
                "最后一个完整日的读数，15 分钟一次每表每日 96 条。",
                "Readings of the last whole day; at 15 min 96 a meter.",
            ),
            EXPECTED,
            ["readings", "expected_readings"],
        ),
        tile(
            words("未补缺数", "Open gaps", "未补或已召的缺数。", "Open, or asked for."),
            OPEN_GAPS,
            ["gaps"],
            thresholds=some(style.WARN),
        ),
        tile(
            words("已失缺数", "Lost gaps", "时段内终端已覆盖、补不回的缺数。", "Of the period, overwritten by the logger."),
            LOST_GAPS,
            ["gaps"],
            thresholds=some(style.BAD),
        ),
    ]
    course = curves(
        words(
            "抄读成功率",
            "Success of remote reading",
            "每日：窗口内（标准 reading.window_days）有读数当日到达的水表占在用水表之比；后到的数据不改变它。虚线为目标。",
            "By day: share of the meters in service with a reading of the window that had come by then; later data "
            "change nothing.",
        ),
        COURSE,
        {"share": {**fixed(style.FLOW), "custom__lineWidth": 2}, "target_share": LIMIT},
        joined_gap_ms=2 * 24 * 3600 * 1000,
        from_zero=True,
        legend=(),
    )
    grid = strip(
        words(
            "到数：表 × 日",
            "What came by meter and day",
            "平均覆盖率最低的 40 块水表；红色不足一半，橙色不完整，未结束的日不显示。",
            "The forty meters with the lowest coverage; red: less than half, orange: incomplete; a day that is not "
            "over is left out.",
        ),
        GRID,
        "coverage",
        covered(),
    )
    share = coloured(
        steps((None, style.BAD), (thresholds.COVERAGE_POOR, style.WARN), (thresholds.COVERAGE_COMPLETE, style.NEUTRAL))
    )
    arrived = table(
        words(
            "各表到数",
            "Readings by meter",
            "时段内已结束的日；覆盖率为最低一日。",
            "Days of the period that are over; coverage of the worst day.",
        ),
        ARRIVED,
        {
            "meter": to_meter(),
            "customer_name": {**to_customer(), "custom__width": 170},
            **plain("step_min days days_complete readings expected_readings"),
            "coverage": share,
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("本期没有数据", "No data in this period"),
    )
    ledger = table(
        words(
            "缺数台账",
            "Ledger of gaps",
            "未补的在前，其后为时段内的；期限前可向终端补召，过期的补不回。迟到而补齐的为已关闭。",
            "Open ones first, then those of the period. Until the deadline the logger has the readings; closed ones came late.",
        ),
        gaps(),
        {
            "meter": to_meter(),
            "customer_name": {**to_customer(), "custom__minWidth": 150},
            "state_words": coloured(custom__width=80),
            "from_at": {"custom__width": 136},
            "to_at": {"custom__width": 136},
            "intervals": {"custom__width": 84},
            "first_seen_at": {"custom__width": 136},
            "deadline_at": {"custom__width": 136},
            **hidden("customer_no"),
        },
        pages=True,
        empty=Word("没有缺数", "No gap"),
    )
    return dashboard(
        __name__,
        [
            row(4, *tiles),
            row(10, (9, course), (15, grid)),
            row(9, ledger),
            row(11, arrived),
        ],
        since="now-14d/d",
    )

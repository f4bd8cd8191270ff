"""Management: supply, money, concentration, value, service and the quality of the data in one page."""

from dashboards import Json, style, thresholds
from dashboards.board import dashboard, row
from dashboards.home_panels import leaks, menu_of, money, open_alarms, reporting, supply_by_month, supply_tiles
from dashboards.links import to_customer
from dashboards.panels.charts import curves
from dashboards.panels.core import fixed
from dashboards.panels.tables import hidden, table
from dashboards.variables import TODAY, midnight
from dashboards.vocabulary import Word, in_words, words

TITLE = Word("管理", "Management")
MORE = Word("管理层：供水、营收、集中度、效益、服务。", "Management: supply, revenue, concentration, value, service.")

RANK = f"""SELECT r.rank, coalesce(c.name, r.customer_no) AS customer_name, r.volume_m3, r.share, r.cumulative_share,
  r.previous_rank, r.customer_no
FROM mart.usage_rank AS r
LEFT JOIN mart.customer AS c ON c.customer_no = r.customer_no
WHERE r.grain = 'month' AND r.period = date_trunc('month', {TODAY} - interval '1 month')
ORDER BY r.rank, r.customer_no
LIMIT {thresholds.TOP_ROWS}"""

SUCCESS = f"""SELECT {midnight("s.day")} AS "time", s.share, s.target_share
FROM mart.reading_success AS s
WHERE s.day > {TODAY} - 91
ORDER BY s.day"""


def value() -> str:
    """SQL of what the system is worth a year, by line."""
    return (
        f"SELECT {in_words('v.name')}, v.points, v.volume_m3_year, v.amount_cny_year FROM mart.value_summary AS v ORDER BY v.line"
    )


def board() -> Json:
    """The dashboard JSON."""
    rank = table(
        words(
            "上月用水前十",
            "Largest customers last month",
            "占比、累计占比与上期排位。",
            "Share, cumulative share and place before.",
        ),
        RANK,
        {
            "rank": {"custom__width": 52},
            "customer_name": {**to_customer(), "custom__minWidth": 130},
            "volume_m3": {"custom__width": 92},
            "share": {"custom__width": 66},
            "cumulative_share": {"custom__width": 104},
            "previous_rank": {"custom__width": 90},
            **hidden("customer_no"),
        },
    )
    worth = table(
        words("效益", "Value", "每年可挽回的水量与金额。", "Volume and money that can be recovered a year."),
        value(),
        {
            "name_words": {"custom__minWidth": 150, "custom__wrapText": True},
            "points": {"custom__width": 74},
            "volume_m3_year": {"custom__width": 110},
            "amount_cny_year": {"custom__width": 110, "decimals": 0},
        },
    )
    success = curves(
        words(
            "远传抄表成功率",
            "Reading success",
            "窗口期内读到的水表占比与目标。",
            "Share of meters read within the window, and the target.",
        ),
        SUCCESS,
        {
            "share": fixed(style.FLOW),
            "target_share": {**fixed(style.FORMER), "custom__lineStyle": {"fill": "dash", "dash": [8, 6]}},
        },
        joined_gap_ms=0,
        from_zero=True,
        legend=(),
        timeFrom="now-90d",
        hideTimeOverride=True,
    )
    return dashboard(
        __name__,
        [
            row(4, (3, open_alarms()), (3, leaks()), (3, reporting()), *((5, each) for each in supply_tiles())),
            row(5, *money()),
            row(9, (10, supply_by_month()), (14, rank)),
            row(8, worth, success),
            row(10, menu_of("revenue-kpi"), menu_of("flow-characteristic")),
        ],
        since="now-30d",
    )

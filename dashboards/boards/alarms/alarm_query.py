"""Every alarm of a period by kind, customer, region, state and severity."""

from dashboards import Json, thresholds
from dashboards.alarm_columns import CHOSEN, SELECTED, filters, shown
from dashboards.board import dashboard, row
from dashboards.panels.tables import table
from dashboards.vocabulary import Word, words

TITLE = Word("报警查询", "Alarm search")
MORE = Word("按时段、类型、客户、区域、状态、级别查找报警。", "Alarms by period, kind, customer, region, state and severity.")

FOUND = f"""SELECT {SELECTED}
FROM {CHOSEN}
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT {thresholds.ALARM_ROWS}"""


def board() -> Json:
    """The dashboard JSON."""
    found = table(
        words(
            "查询结果",
            "Found",
            "所选时段与条件的报警，最新在前，最多 500 行。",
            "Alarms of the period and the filters above, newest first, at most 500.",
        ),
        FOUND,
        shown("raised_at severity code state customer value_limit cleared_at acknowledged_by cause"),
        pages=True,
    )
    return dashboard(__name__, [row(24, found)], filters(), since="now-30d")

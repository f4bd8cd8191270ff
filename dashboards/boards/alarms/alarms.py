"""What is open now, the most pressing first, and how many of which severity."""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import AROUND, PRESSING, STATE, VALUE_LIMIT, lasted, shown
from dashboards.board import dashboard, row
from dashboards.panels.tables import table
from dashboards.panels.tiles import some, tile
from dashboards.ticker import WHO
from dashboards.vocabulary import Word, words

TITLE = Word("报警监视", "Alarms now")
MORE = Word("未恢复的报警，最紧急的在前。", "Open alarms, the most pressing first.")

OPEN = """SELECT count(*) AS alarms FROM ops.alarm
WHERE cleared_at IS NULL AND retracted_at IS NULL AND """
TILES = (
    (words("紧急", "Critical", "未恢复的紧急报警。", "Open critical alarms."), "severity = 'critical'", style.BAD),
    (words("警告", "Warning", "未恢复的警告。", "Open warnings."), "severity = 'warning'", style.WARN),
    (
        words("维护与提示", "Maintenance and info", "未恢复的其余报警。", "Other open alarms."),
        "severity IN ('maintenance', 'info')",
        style.NEUTRAL,
    ),
    (
        words("未确认", "Not acknowledged", "未恢复而无人确认的报警。", "Open alarms that nobody has acknowledged."),
        "acknowledged_at IS NULL",
        style.WARN,
    ),
)
"""What each tile counts of the open alarms, and its colour where there are some."""

ACTIVE = f"""SELECT a.severity, a.code, {STATE} AS state, a.raised_at,
  {{open_for}} AS open_for, {WHO},
  {VALUE_LIMIT}, CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE a.cleared_at IS NULL AND a.retracted_at IS NULL
ORDER BY {PRESSING}, a.acknowledged_at IS NOT NULL, a.raised_at DESC
LIMIT {thresholds.ALARM_ROWS}"""


def board() -> Json:
    """The dashboard JSON."""
    active = table(
        words(
            "当前报警",
            "Open alarms, most pressing first",
            "最紧急的在前。点击报警到工作台，点击客户看前后两小时曲线。",
            "Click an alarm for the desk, a customer for its chart of two hours before and after.",
        ),
        ACTIVE.format(open_for=lasted()),
        shown("severity code state raised_at open_for customer value_limit"),
    )
    tiles = [tile(text, OPEN + which, ["alarms"], thresholds=some(colour)) for text, which, colour in TILES]
    return dashboard(__name__, [row(4, *tiles), row(20, active)], since="now-7d")

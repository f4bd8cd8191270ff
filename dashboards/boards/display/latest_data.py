"""How every meter is now, a row a meter, the urgent ones first."""

from dashboards import Json, style, thresholds
from dashboards.alarm_columns import alarm_words
from dashboards.board import dashboard, row
from dashboards.links import to_customer, to_meter
from dashboards.panels.core import mapping, steps
from dashboards.panels.tables import coloured, hidden, table
from dashboards.panels.tiles import some, tile
from dashboards.variables import text_box
from dashboards.vocabulary import CONTACT_STATES, Word, words

TITLE = Word("最新数据", "Latest data")
MORE = Word("全部大客户的最新读数、压力、水量与报警。", "Latest reading, pressure, volume and alarms of every major customer.")

# The age is the one value that cannot be published: it changes by itself.
LATEST = f"""WITH open_alarm AS (
  SELECT meter, string_agg({{name}}, ', ' ORDER BY code) AS alarms
  FROM (SELECT DISTINCT meter, code FROM ops.alarm WHERE cleared_at IS NULL AND retracted_at IS NULL) AS alarm
  GROUP BY meter
)
SELECT s.customer_name, s.meter, s.reading_at,
  CASE WHEN now() - s.reading_at > s.silent_after_h * interval '1 hour' THEN 'silent' END AS contact_state,
  o.alarms, s.pressure_mpa, s.register_m3, s.flow_m3h, s.today_m3, s.month_m3, s.customer_no
FROM mart.latest_status AS s
LEFT JOIN open_alarm AS o ON o.meter = s.meter
WHERE concat_ws(' ', s.customer_no, s.customer_name, s.meter) ILIKE '%' || ${{{{search:sqlstring}}}} || '%'
ORDER BY o.alarms IS NULL, s.pressure_mpa < s.pressure_low_mpa DESC NULLS LAST, s.customer_no, s.meter
LIMIT {thresholds.LATEST_ROWS}"""

REPORTING = """SELECT count(*) AS reporting FROM mart.latest_status
WHERE now() - reading_at <= silent_after_h * interval '1 hour'"""
METERS = "SELECT count(*) AS meters FROM mart.latest_status"
BELOW = f"{METERS} WHERE pressure_mpa < pressure_low_mpa"


def board() -> Json:
    """The dashboard JSON."""
    columns: dict[str, Json] = {
        "customer_name": {**to_customer(), "custom__minWidth": 150},
        "meter": to_meter(),
        "reading_at": {"custom__width": 140},
        "contact_state": coloured(mappings=mapping(CONTACT_STATES, {"silent": style.BAD}), noValue=" "),
        "alarms": {**coloured(steps((None, style.BAD))), "custom__minWidth": 120, "noValue": " "},
        "pressure_mpa": {},
        "register_m3": {"custom__minWidth": 100},
        "flow_m3h": {},
        "today_m3": {},
        "month_m3": {},
        **hidden("customer_no"),
    }
    tiles = [
        tile(words("水表总数", "Meters", "已登记、有状态的水表数。", "Meters with a status row."), METERS, ["meters"]),
        tile(
            words(
                "有数据", "Reporting", "在静默时限内有读数的水表数。", "Meters whose last reading is not older than their limit."
            ),
            REPORTING,
            ["reporting"],
        ),
        tile(
            words(
                "压力越下限",
                "Pressure below limit",
                "最新压力低于本表下限的水表数。",
                "Meters whose latest pressure is below their limit.",
            ),
            BELOW,
            ["meters"],
            thresholds=some(style.BAD),
        ),
    ]
    latest = table(
        words(
            "最新实时数据表",
            "Latest data",
            "每表一行，有报警和压力越下限的在前。",
            "One row a meter, alarms and low pressure first.",
        ),
        LATEST.format(name=alarm_words("code")),
        columns,
        pages=True,
    )
    return dashboard(__name__, [row(4, *tiles), row(20, latest)], [text_box("search")], since="now-7d")

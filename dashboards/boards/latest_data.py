"""The board of all customers: how the fleet is now, a row a meter, and the newest alarms. The home page."""

from dashboards import Json, style, thresholds, uid
from dashboards.boards import AROUND, STATE, alarm_words, shown
from dashboards.panels import WHO, dashboard, drill_down, layout, mapping, measured, painted, stat, steps, table, text_box
from dashboards.vocabulary import CONTACT_STATES, PRESSURE_STATES

# The age is the one value that cannot be published: it changes by itself.
LATEST = f"""WITH open_alarm AS (
  SELECT meter, string_agg({{name}}, ', ' ORDER BY code) AS alarms
  FROM (SELECT DISTINCT meter, code FROM ops.alarm WHERE cleared_at IS NULL AND retracted_at IS NULL) AS alarm
  GROUP BY meter
)
SELECT s.customer_name, s.customer_no, s.meter, s.reading_at,
  CAST(extract(epoch FROM now() - s.reading_at) AS double precision) AS age_s,
  CASE WHEN now() - s.reading_at <= s.silent_after_h * interval '1 hour' THEN 'reporting' ELSE 'silent' END AS contact_state,
  o.alarms,
  s.pressure_mpa, s.pressure_low_mpa,
  CASE WHEN s.pressure_mpa < s.pressure_low_mpa THEN 'below'
    WHEN s.pressure_mpa >= s.pressure_low_mpa THEN 'good' END AS pressure_state,
  s.register_m3, s.flow_m3h, s.today_m3, s.today_coverage, s.month_m3, s.battery_v
FROM mart.latest_status AS s
LEFT JOIN open_alarm AS o ON o.meter = s.meter
WHERE concat_ws(' ', s.customer_no, s.customer_name, s.meter) ILIKE '%' || ${{{{search:sqlstring}}}} || '%'
ORDER BY o.alarms IS NULL, s.pressure_mpa < s.pressure_low_mpa DESC NULLS LAST, s.customer_no, s.meter
LIMIT {thresholds.LATEST_ROWS}"""

ALARM_EVENTS = f"""SELECT a.raised_at, a.severity, a.code, {STATE} AS state, {WHO},
  {measured("a.peak_value")} AS measured_value, {measured("a.limit_value")} AS measured_limit, a.cleared_at, a.origin,
  CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE $__timeFilter(a.raised_at)
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT {thresholds.ALARM_ROWS}"""

REPORTING = """SELECT count(*) AS reporting FROM mart.latest_status
WHERE now() - reading_at <= silent_after_h * interval '1 hour'"""


def latest() -> str:
    """The SQL of the table of all meters, with the words of their open alarms."""
    return LATEST.format(name=alarm_words("code"))


def board() -> Json:
    """The dashboard JSON."""
    link: Json = {"links": drill_down("customer")}
    columns: dict[str, Json] = {
        "customer_name": {**link, "custom__minWidth": 130},
        "customer_no": {},
        "meter": link,
        "reading_at": {"custom__width": 140},
        "age_s": {"unit": "dtdurations", "custom__minWidth": 90},
        "contact_state": painted(
            mappings=mapping(CONTACT_STATES, {"silent": style.BAD, "reporting": style.GOOD}), custom__width=80
        ),
        "alarms": {
            "custom__minWidth": 140,
            "color": {"mode": "fixed", "fixedColor": style.BAD},
            "custom__cellOptions": {"type": "color-text"},
        },
        "pressure_mpa": {},
        "pressure_low_mpa": {},
        "pressure_state": painted(mappings=mapping(PRESSURE_STATES, {"below": style.BAD, "good": style.GOOD}), custom__width=90),
        "register_m3": {},
        "flow_m3h": {},
        "today_m3": {},
        "today_coverage": {},
        "month_m3": {},
        "battery_v": {
            "custom__cellOptions": {"type": "color-text"},
            "thresholds": steps((None, style.BAD), (thresholds.BATTERY_LOW_V, style.NEUTRAL)),
        },
    }
    events = shown("raised_at severity code state customer measured_value measured_limit cleared_at origin")
    bad_from_one = steps((None, style.GOOD), (1, style.BAD))
    below = "SELECT count(*) AS meters FROM mart.latest_status WHERE pressure_mpa < pressure_low_mpa"
    raised = "SELECT count(*) AS alarms FROM ops.alarm WHERE retracted_at IS NULL AND $__timeFilter(raised_at)"
    tiles = [
        (4, stat("meters", "SELECT count(*) AS meters FROM mart.latest_status", ["meters"])),
        (5, stat("reporting", REPORTING, ["reporting"], thresholds=steps((None, style.GOOD)))),
        (5, stat("pressure_below", below, ["meters"], thresholds=bad_from_one)),
        # The panel's own range starts at midnight of the board's zone, so that the SQL need not know the zone.
        (5, stat("alarms_today", raised, ["alarms"], thresholds=bad_from_one, timeFrom="now/d", hideTimeOverride=True)),
        (5, stat("today_volume", "SELECT sum(today_m3) AS today_m3 FROM mart.latest_status", ["today_m3"])),
    ]
    panels = layout(
        [(4, tiles), (16, [(24, table("latest", latest(), columns))]), (10, [(24, table("alarm_events", ALARM_EVENTS, events))])]
    )
    return dashboard(uid(__name__), panels, [text_box("search")], since="now-7d")

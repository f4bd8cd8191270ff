"""The board of one customer's meter: curves at the raw step, coefficients, comparisons, peaks, alarms, quality, cards."""

from dashboards import Json, style, thresholds, uid
from dashboards.boards import AROUND, STATE, alarm_words, shown
from dashboards.panels import (
    alarm_regions,
    bars,
    choice,
    curves,
    dashboard,
    fixed_choice,
    layout,
    mapping,
    measured,
    plain,
    stat,
    steps,
    table,
    to_frames,
)
from dashboards.vocabulary import ANSWERS, GRAINS, SOURCES

METER = "${meter:sqlstring}"
MONTH = "CAST({} AS text) LIKE ${{month:sqlstring}} || '%'"
"""Days and months are compared as text (YYYY-MM-DD): a civil date has no zone, and an empty choice finds nothing."""

METERS = f"""SELECT meter AS __value, concat_ws(' · ', customer_name, customer_no, meter) AS __text
FROM mart.latest_status
WHERE concat_ws(' · ', customer_name, customer_no, meter) ILIKE '%$__searchFilter'
ORDER BY customer_no, meter
LIMIT {thresholds.METER_CHOICES}"""

MONTHS = f"""SELECT DISTINCT to_char(month, 'YYYY-MM') AS __value, to_char(month, 'YYYY-MM') AS __text
FROM mart.monthly_usage WHERE meter = {METER} ORDER BY 1 DESC"""

DAYS = f"""SELECT CAST(day AS text) AS __value, CAST(day AS text) AS __text
FROM mart.daily_usage WHERE meter = {METER} AND {MONTH.format("day")} ORDER BY day DESC"""

INTERVALS = f"mart.intervals({METER}, $__timeFrom(), $__timeTo())"
"""The intervals that end within the panel's time range; the function reads only the days of the range."""

FLOW_PRESSURE = f"""SELECT i.interval_end AS "time", i.flow_m3h, i.pressure_mpa, s.pressure_low_mpa
FROM {INTERVALS} AS i
LEFT JOIN mart.latest_status AS s ON s.meter = i.meter
ORDER BY i.interval_end"""

REGISTER = f"""SELECT interval_end AS "time", register_m3
FROM {INTERVALS}
ORDER BY interval_end"""

HOURLY = f"""SELECT hour_start, coefficient
FROM mart.hourly_coefficient
WHERE meter = {METER} AND CAST(day AS text) = ${{day:sqlstring}}
ORDER BY hour_start"""

DAY_VOLUME = f"""SELECT volume_m3, coverage
FROM mart.daily_usage
WHERE meter = {METER} AND CAST(day AS text) = ${{day:sqlstring}}"""

DAILY = f"""SELECT to_char(day, 'MM-DD') AS day, coefficient
FROM mart.daily_coefficient
WHERE meter = {METER} AND {MONTH.format("month")}
ORDER BY daily_coefficient.day"""

MONTH_VOLUME = f"""SELECT measured_m3, days_complete
FROM mart.monthly_usage
WHERE meter = {METER} AND {MONTH.format("month")}"""

_COMPARED = "volume_m3, previous_m3, change_pct, last_year_m3, yoy_pct"

MONTH_COMPARISON = f"""SELECT left(CAST(period AS text), 7) AS period, {_COMPARED}
FROM mart.usage_comparison
WHERE meter = {METER} AND grain = 'month'
ORDER BY usage_comparison.period DESC
LIMIT 24"""

DAY_COMPARISON = f"""SELECT CAST(period AS text) AS period, {_COMPARED}
FROM mart.usage_comparison
WHERE meter = {METER} AND grain = 'day' AND {MONTH.format("period")}
ORDER BY usage_comparison.period DESC"""

PEAK_VALLEY = f"""SELECT CAST(period AS text) AS period, flow_max_m3h, flow_max_at, flow_min_m3h, flow_min_at, flow_mean_m3h,
  pressure_max_mpa, pressure_max_at, pressure_min_mpa, pressure_min_at, pressure_mean_mpa,
  coverage, CAST(complete AS text) AS complete
FROM mart.peak_valley
WHERE meter = {METER} AND grain = ${{grain:sqlstring}} AND (grain <> 'day' OR {MONTH.format("period")})
ORDER BY peak_valley.period DESC"""

ALARMS = f"""SELECT a.raised_at, a.severity, a.code, {STATE} AS state,
  {measured("a.peak_value")} AS measured_value, {measured("a.limit_value")} AS measured_limit, a.cleared_at, a.origin,
  CAST(a.alarm_id AS text) AS alarm_id, a.meter, {AROUND}
FROM ops.alarm AS a
WHERE a.meter = {METER} AND $__timeFilter(a.raised_at)
ORDER BY a.raised_at DESC, a.alarm_id DESC
LIMIT {thresholds.ALARM_ROWS}"""

REGIONS = f"""SELECT raised_at AS time, coalesce(cleared_at, now()) AS timeend, {{name}} AS text
FROM ops.alarm
WHERE meter = {METER} AND retracted_at IS NULL AND raised_at <= $__timeTo() AND coalesce(cleared_at, now()) >= $__timeFrom()
ORDER BY raised_at DESC
LIMIT {thresholds.ALARM_ROWS}"""
"""When an alarm held, as far as it touches the range that is looked at."""

QUALITY = f"""SELECT to_char(day, 'MM-DD') AS day, coverage
FROM mart.data_quality
WHERE meter = {METER} AND {MONTH.format("day")}
ORDER BY data_quality.day"""

CUSTOMER_CARD = f"""SELECT c.name AS customer_name, c.customer_no, c.industry_name, c.region_name, c.address, c.meters, c.source
FROM mart.customer AS c
JOIN mart.latest_status AS s ON s.customer_no = c.customer_no
WHERE s.meter = {METER}"""

METER_CARD = f"""SELECT meter, terminal, dn_mm, technology, q1_m3h, q2_m3h, q3_m3h, q4_m3h, step_min, pressure_low_mpa,
  CAST(installed_on AS text) AS installed_on, CAST(removed_on AS text) AS removed_on, book_no
FROM mart.meter
WHERE meter = {METER}
ORDER BY meter.installed_on DESC NULLS LAST"""


def board() -> Json:
    """The dashboard JSON."""
    right = {"custom__axisPlacement": "right"}
    limit: Json = {
        **right,
        "color": {"mode": "fixed", "fixedColor": style.BAD},
        "custom__lineStyle": {"fill": "dash", "dash": [8, 6]},
    }
    flow_pressure: dict[str, Json] = {
        "flow_m3h": {"color": {"mode": "fixed", "fixedColor": style.FLOW}, "custom__fillOpacity": 12, **to_frames()},
        "pressure_mpa": {**right, "color": {"mode": "fixed", "fixedColor": style.PRESSURE}, **to_frames()},
        "pressure_low_mpa": limit,
    }
    compared = plain("period volume_m3 previous_m3 change_pct last_year_m3 yoy_pct")
    peak_valley = plain("period flow_max_m3h flow_max_at flow_min_m3h flow_min_at flow_mean_m3h")
    peak_valley |= plain("pressure_max_mpa pressure_max_at pressure_min_mpa pressure_min_at pressure_mean_mpa coverage")
    # The period has the year already.
    moments: dict[str, Json] = {
        name: {"unit": "time:MM-DD HH:mm", "custom__minWidth": 100} for name in peak_valley if name.endswith("_at")
    }
    complete = {"mappings": mapping(ANSWERS, {"false": style.WARN}), "custom__cellOptions": {"type": "color-text"}}
    customer = plain("customer_name customer_no industry_name region_name address meters")
    meter = plain(
        "meter terminal dn_mm technology q1_m3h q2_m3h q3_m3h q4_m3h step_min pressure_low_mpa installed_on removed_on book_no"
    )
    covered = steps((None, style.BAD), (thresholds.COVERAGE_POOR, style.WARN), (thresholds.COVERAGE_COMPLETE, style.GOOD))
    gap = thresholds.LONGEST_JOINED_GAP_MS
    panels = layout(
        [
            (
                4,
                [
                    (
                        24,
                        table(
                            "customer_card",
                            CUSTOMER_CARD,
                            customer | {"source": {"mappings": mapping(SOURCES)}},
                        ),
                    )
                ],
            ),
            (10, [(24, curves("flow_pressure", FLOW_PRESSURE, flow_pressure, joined_gap_ms=gap, step=True))]),
            (7, [(24, curves("register", REGISTER, {"register_m3": to_frames()}, joined_gap_ms=gap, step=False))]),
            (
                8,
                [
                    (9, bars("hourly_coefficient", HOURLY, "hour_start", "coefficient")),
                    (3, stat("day_volume", DAY_VOLUME, ["volume_m3", "coverage"])),
                    (9, bars("daily_coefficient", DAILY, "day", "coefficient")),
                    (3, stat("month_volume", MONTH_VOLUME, ["measured_m3", "days_complete"])),
                ],
            ),
            (
                9,
                [
                    (12, table("month_comparison", MONTH_COMPARISON, compared)),
                    (12, table("day_comparison", DAY_COMPARISON, compared)),
                ],
            ),
            (9, [(24, table("peak_valley", PEAK_VALLEY, peak_valley | moments | {"complete": complete}))]),
            (
                8,
                [
                    (
                        12,
                        table(
                            "meter_alarms",
                            ALARMS,
                            shown("raised_at severity code state measured_value measured_limit cleared_at origin"),
                        ),
                    ),
                    (12, bars("quality", QUALITY, "day", "coverage", thresholds=covered, maximum=1)),
                ],
            ),
            (5, [(24, table("meter_card", METER_CARD, meter))]),
        ]
    )
    variables = [choice("meter", METERS), choice("month", MONTHS), choice("day", DAYS), fixed_choice("grain", GRAINS)]
    regions = REGIONS.replace("{name}", alarm_words("code"))
    return dashboard(uid(__name__), panels, variables, since="now-7d", annotations=[alarm_regions(regions)])

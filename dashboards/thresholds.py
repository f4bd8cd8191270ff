"""Every limit that a board colours by or an alert decides by, with its unit and where it comes from.

Not here: limits that belong to one meter (pressure, flow); those are columns of the data.
"""

LONGEST_JOINED_GAP_MS = 2 * 3600 * 1000
"""ms: a line is drawn across no longer hole than the register curve bridges (`max_hole_h` of the figures)."""

COVERAGE_COMPLETE = 0.999999
"""Share of a day from which the marts call it complete (`sql/marts/daily_usage.sql`)."""

COVERAGE_POOR = 0.5
"""Share of a day below which the quality strip turns red."""

SCORE_POOR, SCORE_FAIR = 60, 80
"""Points of the quality score: below the first there is an alarm (`alarm.quality_score`), from the second on all is well."""

CLOCK_OFF_S = 120
"""s: a clock farther off costs the points of the quality score (criterion `quality.clock_s`)."""

DUE_SOON_DAYS = 90
"""Days before a verification in which it is listed as due."""

GRID_ROWS = 40
"""Meters of a grid of meters and days, the worst ones."""

LISTED_ROWS = 2000
"""Rows that a list of meters or bills sends to a browser at most."""

BATTERY_LOW_V = 3.3
"""V: below it a terminal's battery is to be changed (BATT)."""

LATEST_ROWS = 5000
"""Rows that the latest-data table sends to a browser at most; the search box reaches the rest."""

ALARM_ROWS = 500
"""Rows that an alarm table sends to a browser at most, newest first."""

ALARM_AROUND_S = 2 * 3600
"""Seconds before and after an alarm that the chart of its link shows."""

SHADED_DAYS = 40
"""Days of the period up to which days off are shaded on curves."""

SHADED_NIGHTS = 8
"""Days of the period up to which nights are shaded on curves."""

RAW_DAYS = 8
"""Days of the period up to which curves have the step of the terminal; beyond, an hour (as in `sql/functions/curve.sql`)."""

HANDLE_ROWS = 50
"""Alarms that a list of what is to be handled has at most."""

TOP_ROWS = 10
"""Bars of a chart of the largest."""

STRIP_ROWS = 12
"""Meters of a strip of days on a home board."""

NEIGHBOURS = 12
"""Meters of the same network that are drawn beside one."""

STATISTICS_ROWS = 50
"""Rows of a table of alarm statistics, most alarms first."""

PARETO_ROWS = 12
"""Bars of a Pareto chart."""

TICKER_ROWS = 10
"""Alarms that the ticker on a board has at most."""

METER_CHOICES = 500
"""Meters that the customer board's drop-down offers at a time; typing searches all of them."""

ALARMS_EVERY = "10s"
"""How often the rules are evaluated: the shortest that Grafana allows."""

OUTAGE_AFTER = "30s"
"""How long the source must be away before anybody is told: a restart of the database is no outage."""

STALE_MIN = 30.0
"""Minutes without a look for alarms after which they count as stale."""

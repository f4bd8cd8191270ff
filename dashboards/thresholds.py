"""Every limit that a board colours by or an alert decides by, with its unit and where it comes from.

Not here: limits that belong to one meter (pressure, flow); those are columns of the data.
"""

PRESSURE_MARGIN_MPA = 0.0
"""MPa above the meter's own lower limit; the alert fires below it, so a pressure equal to the limit is still good."""

LONGEST_JOINED_GAP_MS = 2 * 3600 * 1000
"""ms: a line is drawn across no longer hole than the register curve bridges (`max_hole_h` of the figures)."""

COVERAGE_COMPLETE = 0.999999
"""Share of a day from which the marts call it complete (`sql/marts/daily_usage.sql`)."""

COVERAGE_POOR = 0.5
"""Share of a day below which the quality strip turns red."""

BATTERY_LOW_V = 3.3
"""V: below it a terminal's battery is to be changed (BATT)."""

LATEST_ROWS = 5000
"""Rows that the latest-data table sends to a browser at most; the search box reaches the rest."""

ALARM_ROWS = 500
"""Rows that an alarm table sends to a browser at most, newest first."""

METER_CHOICES = 500
"""Meters that the customer board's drop-down offers at a time; typing searches all of them."""

PRESSURE_EVERY = "1m"
NO_DATA_EVERY = "5m"
"""How often the rules are evaluated."""

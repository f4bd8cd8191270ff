"""How pressing an alarm is."""

SEVERITIES = ("info", "maintenance", "warning", "critical")
"""From the least pressing."""

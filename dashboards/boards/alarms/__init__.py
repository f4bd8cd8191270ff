"""The boards of the group alarms: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("报警", "Alarms")

"""The boards of the group revenue: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("营收", "Revenue")

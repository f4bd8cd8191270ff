"""The boards of the group overview: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("总览", "Overview")

"""The boards of the group help: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("帮助", "Help")

"""The boards of the group display: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("数据展现", "Data")

"""The boards of the group analysis: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("信息分析", "Analysis")

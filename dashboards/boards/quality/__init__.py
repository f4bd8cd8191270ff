"""The boards of the group quality: a folder in Grafana, a list on every board."""

from dashboards.vocabulary import Word

TITLE = Word("质量", "Quality")

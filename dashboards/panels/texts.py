"""Texts on a board, in Markdown; Grafana lets nothing else through."""

from dashboards import Json
from dashboards.vocabulary import Text, Word


def text(words: Text, content: Word | str) -> Json:
    """A panel with a text; links may carry Grafana's variables."""
    return {
        "type": "text",
        "title": str(words.title),
        "description": str(words.description),
        "options": {"mode": "markdown", "content": str(content)},
        "fieldConfig": {"defaults": {}, "overrides": []},
        "transparent": False,
    }

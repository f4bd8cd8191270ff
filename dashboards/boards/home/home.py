"""The fleet in one look."""

from dashboards import Json
from dashboards.board import dashboard
from dashboards.vocabulary import Word

TITLE = Word("首页", "Home")
MORE = Word("全部大客户一览。", "All major customers in one look.")


def board() -> Json:
    """The dashboard JSON."""
    return dashboard(__name__, [], since="now-24h")

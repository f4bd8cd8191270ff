"""The fleet in one look, and a list of everything that there is to see."""

from dashboards import Json
from dashboards.board import dashboard, row
from dashboards.functions import MENUS, listed
from dashboards.home_panels import arrival, leaks, money, open_alarms, reporting, supply, supply_tiles, to_handle, top_customers
from dashboards.panels.texts import text
from dashboards.vocabulary import Text, Word

TITLE = Word("首页", "Home")
MORE = Word("全部大客户一览：供水、报警、到达、营收。", "All major customers in one look: supply, alarms, arrival, revenue.")


def board() -> Json:
    """The dashboard JSON."""
    menus = [text(Text(menu.word, Word("功能", "Functions")), listed(menu)) for menu in MENUS]
    rows = [
        row(4, (3, open_alarms()), (3, reporting()), (3, leaks()), *((5, each) for each in supply_tiles())),
        row(9, (12, supply()), (12, to_handle())),
        row(9, (12, top_customers()), (12, arrival())),
        row(5, *money()),
        row(10, *menus),
    ]
    return dashboard(__name__, rows, since="now-24h")

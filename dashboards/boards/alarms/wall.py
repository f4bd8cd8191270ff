"""The wall of the control room: large figures, what is to be handled, supply and pressures; made for a kiosk without a mouse."""

from dashboards import Json
from dashboards.board import dashboard, row
from dashboards.home_panels import arrival, below, open_alarms, reporting, supply, supply_tiles, to_handle, top_customers
from dashboards.vocabulary import Word

TITLE = Word("值班大屏", "Wall")
MORE = Word("中控室大屏；声音提醒用工作台的大屏页。", "The wall of the control room; the desk's own wall page has the sound.")


def board() -> Json:
    """The dashboard JSON."""
    return dashboard(
        __name__,
        [
            row(4, (3, open_alarms()), (3, below()), (3, reporting()), *((5, each) for each in supply_tiles())),
            row(11, to_handle(), supply()),
            row(10, top_customers(), arrival()),
        ],
        since="now-24h",
        refresh="10s",
    )

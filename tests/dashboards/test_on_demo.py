"""Every board on the marts of the demo: rows where it has some, whatever is chosen; columns with words; sums that agree."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

import dashboards
from pipelines import settings
from pipelines.processes import postgres, servers
from tests.chain import table
from tests.dashboards import choices
from tests.demo_site import Demo

pytestmark = pytest.mark.timeout(600)

BOARDS = dashboards.all_boards()

TODAY = "the demo ends at midnight"
EMPTY: dict[tuple[str, str], str] = {
    **dict.fromkeys([(board, "今日累计") for board in ("home", "home-dispatch", "home-management", "wall")], TODAY),
    **dict.fromkeys([("pipeline", "计算"), ("pipeline", "已出报表")], "the demo is computed after its data end"),
    **dict.fromkeys(
        [("flow-characteristic", title) for title in ("换表前后", "换表前 30 天流量", "换表后 30 天流量")],
        "no meter of the demo changed its size",
    ),
    ("load", "快速用水压降清单"): "no customer of the demo lets the pressure drop",
    ("reading-success", "缺数台账"): "the gaps of the demo lie before the period of the board",
    **dict.fromkeys([("quality", "校验发现"), ("quality", "读数异常计数")], "the last day of the demo has none"),
}
"""Panels that may have no row on the demo, and why."""

HOSTILE = ("", "it's '; DROP TABLE mart.meter; --", "${meter}", "\\", "%")


@pytest.fixture(scope="module")
def end(demo: Demo) -> datetime:
    return table(demo.marts, "latest_status")["reading_at"].max() + timedelta(minutes=1)


@pytest.fixture(scope="module")
def marts(demo: Demo) -> Iterator[psycopg.Connection[Any]]:
    """The published tables, read as boards read them."""
    loaded = settings.load(demo.site)
    with servers.postgres(loaded), psycopg.connect(postgres.board_dsn(loaded.folder), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_has_rows_where_the_demo_has_some(marts: psycopg.Connection[Any], end: datetime, uid: str) -> None:
    board = BOARDS[uid]
    chosen = choices.defaults(marts, board, end)
    empty = set()
    for asks in choices.asked(board):
        if asks.kind == "annotation":
            continue
        tries = [chosen, *choices.others(marts, board, chosen, asks.sql, end)] if not _rows(marts, asks, chosen, end) else []
        if tries and not any(_rows(marts, asks, other, end) for other in tries):
            empty.add(asks.title)
    assert empty <= {title for board_of, title in EMPTY if board_of == uid}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_query_stands_empty_and_hostile_choices(marts: psycopg.Connection[Any], end: datetime, uid: str) -> None:
    board = BOARDS[uid]
    names = [variable["name"] for variable in board["templating"]["list"]]
    variables = [variable for variable in board["templating"]["list"] if variable["type"] == "query"]
    for value in HOSTILE:
        chosen = {"__timezone": choices.ZONE, **dict.fromkeys(names, value)}
        for asks in choices.asked(board):
            marts.execute(choices.statement(asks, chosen, end)).fetchall()
        for variable in variables:
            choices.values(marts, variable, chosen, end)
    assert marts.execute("SELECT count(*) FROM mart.meter").fetchone() != (0,)


@pytest.mark.parametrize("uid", BOARDS)
def test_every_column_of_a_panel_has_words(marts: psycopg.Connection[Any], end: datetime, uid: str) -> None:
    board = BOARDS[uid]
    chosen = choices.defaults(marts, board, end)
    for panel in dashboards.panels_of(board):
        if not panel.get("targets") or panel["type"] in ("piechart", "geomap"):
            continue
        named = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        selected: set[str] = set()
        for target in panel["targets"]:
            asks = choices.Asked(panel["title"], target["rawSql"], 48, panel["type"])
            described = marts.execute(choices.statement(asks, chosen, end)).description
            assert described is not None
            columns = [column.name for column in described]
            assert len(columns) == len(set(columns)), (panel["title"], columns)
            is_long = target["format"] == "time_series"
            if is_long:
                assert {"time", "metric"} <= set(columns) and len(columns) == 3, (panel["title"], columns)
            selected |= set() if is_long else set(columns) - {"time"}
        unnamed = selected - named
        assert not unnamed, f"{uid}, {panel['title']}: no words for {', '.join(sorted(unnamed))}"


def _rows(marts: psycopg.Connection[Any], asks: choices.Asked, chosen: dict[str, str], end: datetime) -> bool:
    return marts.execute(choices.statement(asks, chosen, end)).fetchone() is not None

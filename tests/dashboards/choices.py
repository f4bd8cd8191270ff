"""What a board's variables are when somebody opens it, and its panels' rows with them."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

import dashboards
from dashboards import Json
from tests.mart_fixture import ZONE

HOURS = {"h": 1, "d": 24, "w": 168, "M": 730, "y": 8760}


class Asked(NamedTuple):
    """A query of a panel, with the period that it is asked for: hours before the end."""

    title: str
    sql: str
    hours: float
    kind: str


def asked(board: Json) -> list[Asked]:
    """The queries of a board's panels and annotations."""
    period = _hours(board["time"]["from"])
    found = [Asked(each["name"], each["target"]["rawSql"], period, "annotation") for each in board["annotations"]["list"]]
    for panel in dashboards.panels_of(board):
        hours = _hours(panel["timeFrom"]) if "timeFrom" in panel else period
        found += [Asked(panel["title"], target["rawSql"], hours, panel["type"]) for target in panel.get("targets", [])]
    return found


def defaults(marts: psycopg.Connection[Any], board: Json, end: datetime) -> dict[str, str]:
    """The value that each variable has at first, in the order in which Grafana finds them."""
    chosen = {"__timezone": ZONE}
    for variable in board["templating"]["list"]:
        chosen[variable["name"]] = next(iter(values(marts, variable, chosen, end)), "")
    return chosen


def values(marts: psycopg.Connection[Any], variable: Json, chosen: Mapping[str, str], end: datetime) -> list[str]:
    """The values that a variable offers."""
    if variable["type"] == "query":
        return [
            str(row[0]) for row in marts.execute(dashboards.runnable(variable["query"], chosen, end - timedelta(days=7), end))
        ]
    return [str(option["value"]) for option in variable.get("options", [variable["current"]])]


def others(
    marts: psycopg.Connection[Any], board: Json, chosen: Mapping[str, str], sql: str, end: datetime
) -> Iterator[dict[str, str]]:
    """Other choices of what a query goes by, one variable at a time; those that follow from it are chosen anew."""
    for place, variable in enumerate(board["templating"]["list"]):
        name = variable["name"]
        if f"${{{name}:" not in sql and name not in ("meter", "kind"):
            continue
        for value in values(marts, variable, chosen, end)[:60]:
            now = {**chosen, name: value}
            for later in board["templating"]["list"][place + 1 :]:
                now[later["name"]] = next(iter(values(marts, later, now, end)), "")
            yield now


def statement(asks: Asked, chosen: Mapping[str, str], end: datetime) -> str:
    """The SQL as PostgreSQL gets it."""
    return dashboards.runnable(asks.sql, chosen, end - timedelta(hours=asks.hours), end)


def _hours(since: str) -> float:
    found = re.fullmatch(r"(?:now)?-?(?:(\d+)([hdwMy]))?(?:/[hdwMy])?", since)
    assert found, since
    return (int(found[1]) * HOURS[found[2]] if found[1] else 0) + 24


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)

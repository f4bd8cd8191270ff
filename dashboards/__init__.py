"""Grafana as code: boards and alert rules in Python become the committed files in `generated/`.

Here: finding what there is (one file a board in a group's folder of `boards/`, one file a rule in `alerts/`) and the panels' SQL
made runnable outside Grafana. Not here: any figure; the panels only select what is published in the schemas `mart` and `ops`.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dashboards.vocabulary import Word, spoken

Json = dict[str, Any]

MACROS = {"__timeFilter": "{0} BETWEEN '{start}' AND '{end}'", "__timeFrom": "'{start}'", "__timeTo": "'{end}'"}
"""The data source's macros that our SQL may use, as PostgreSQL."""


GROUPS = ("overview", "display", "analysis", "alarms", "revenue", "quality", "help")
"""The folders of `boards/`, in the order in which people see them."""


class Links(NamedTuple):
    """Where links lead, besides Grafana itself: the desk, and the page that has what to do; and whose boards they are."""

    desk: str = "http://127.0.0.1:3020"
    runbook: str = "docs/runbook.md"
    utility: str = ""
    contact: str = ""

    def what_to_do(self, code: str) -> str:
        """The section of an alarm code (or of its template) in the runbook."""
        return f"{self.runbook}#{code}"


LINKS = Links()
"""Those of a desk on this machine."""


def uid(module: str) -> str:
    """The Grafana uid of a board or rule: the last part of its module's name, with dashes."""
    return module.rpartition(".")[2].replace("_", "-")


def groups() -> dict[str, Word]:
    """The title of each group of boards. Raises `ValueError` for a folder without a place in `GROUPS`."""
    found = {name.rpartition(".")[2] for name in _modules("boards")}
    if found != set(GROUPS):
        raise ValueError(f"dashboards/boards: expected the folders {', '.join(GROUPS)}; there are {', '.join(sorted(found))}")
    return {name: importlib.import_module(f"{__name__}.boards.{name}").TITLE for name in GROUPS}


def all_boards(language: str = "zh", links: Links = LINKS) -> dict[str, Json]:
    """Every board's dashboard JSON by uid, in one language: each file in the folders of `boards/` offers `board()`."""
    with spoken(language):
        boards = {uid(name): importlib.import_module(name).board() for group in GROUPS for name in _modules(f"boards.{group}")}
    for board in boards.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "constant":
                value = getattr(links, variable["name"])
                variable |= {"query": value, "current": {"value": value, "text": value}}
    return boards


def group_of(board: Json) -> str:
    """The group that a board lies in."""
    return str(board["tags"][1].partition("-")[2])


def panels_of(board: Json) -> list[Json]:
    """The panels of a board, those in folded sections too, without headings."""
    return [each for item in board["panels"] for each in [item, *item.get("panels", [])] if each["type"] != "row"]


def all_rules(language: str = "zh", links: Links = LINKS) -> dict[str, Json]:
    """Every alert rule by uid, in one language: each file of `alerts/` offers `alert(links)`."""
    with spoken(language):
        return {uid(name): importlib.import_module(name).alert(links) for name in _modules("alerts")}


def runnable(sql: str, variables: Mapping[str, str], start: datetime, end: datetime) -> str:
    """`sql` as Grafana would send it to PostgreSQL.

    `variables`: value by variable name, for `${name:sqlstring}`; `start` and `end` (aware) are the panel's time range.
    Raises `KeyError` for a variable that is not given and `ValueError` for a macro that is not in `MACROS`.
    """
    sql = sql.replace("$__searchFilter", "%")
    sql = re.sub(r"\$\{(\w+):sqlstring\}", lambda found: "'" + variables[found[1]].replace("'", "''") + "'", sql)

    def expanded(found: re.Match[str]) -> str:
        if found[1] not in MACROS:
            raise ValueError(f"${found[1]}: unknown macro; allowed: {', '.join(MACROS)}; in: {sql}")
        return MACROS[found[1]].format(found[2], start=start.isoformat(), end=end.isoformat())

    return re.sub(r"\$(__\w+)\(([^)]*)\)", expanded, sql)


def _modules(folder: str) -> Iterator[str]:
    package = importlib.import_module(f"{__name__}.{folder}")
    return (f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__))

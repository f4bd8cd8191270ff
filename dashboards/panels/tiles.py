"""Tiles: one figure or two, with its comparison and its course."""

from collections.abc import Sequence
from typing import Any

from dashboards import Json, columns, style
from dashboards.panels.core import column, panel, steps, unit_of
from dashboards.vocabulary import Text


def tile(
    words: Text,
    sql: str | Sequence[str],
    names: Sequence[str],
    *,
    thresholds: Json | None = None,
    course: bool = False,
    texts: bool = False,
    stacked: bool = False,
    looks: dict[str, Json] | None = None,
    **more: Any,
) -> Json:
    """A tile with the last value of each of the columns `names`, of one query or of several.

    `course`: draw the rows of the first query (with `time`) behind its value. `texts`: some columns are texts. `stacked`:
    one below the other, each with its name at the left. `looks`: further properties by column. Of several figures each has its
    unit in its name, as in the head of a table.
    """
    queries = [sql] if isinstance(sql, str) else list(sql)
    of = {name: next((each for each in queries if name in each), queries[0]) for name in names}
    defaults = {
        "unit": unit_of(names[0], of[names[0]]),
        "color": {"mode": "thresholds"},
        "thresholds": thresholds or steps((None, style.NEUTRAL)),
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/" if texts else "", "values": False},
        "colorMode": "value",
        "graphMode": "area" if course else "none",
        "justifyMode": "auto",
        "orientation": "horizontal" if stacked else "vertical",
        "textMode": "value_and_name" if len(names) > 1 else "value",
        "wideLayout": True,
        "text": {"titleSize": 13, "valueSize": 15 if stacked else 24},
    }
    overrides = [
        column(name, of[name], table=len(names) > 1, **{**_no_cents(name, of[name]), **(looks or {}).get(name, {})})
        for name in names
    ]
    return panel("stat", words, sql, defaults=defaults, overrides=overrides, options=options, **more)


def _no_cents(name: str, sql: str) -> Json:
    """A tile has no room for the cents of a sum of money; tables have them."""
    return {"decimals": 0} if columns.column(name, sql).unit == "¥" else {}


def some(colour: str) -> Json:
    """Thresholds of a count: plain for none, else the colour."""
    return steps((None, style.NEUTRAL), (1, colour))


CHANGE: Json = {"color": {"mode": "fixed", "fixedColor": style.NEUTRAL}}
"""The look of a growth rate in a tile: plain, for neither way is bad."""

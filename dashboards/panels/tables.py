"""Tables: rows that lead on, a total on top, cells that speak only where something is wrong, matrices of coloured cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards import Json, style
from dashboards.panels.core import column, mapping, panel, steps
from dashboards.vocabulary import TOTAL, Text, Word


def plain(names: str) -> dict[str, Json]:
    """Columns (names apart by spaces) without further properties."""
    return {name: {} for name in names.split()}


def hidden(names: str) -> dict[str, Json]:
    """Columns (names apart by spaces) that only links need; their heads are their names, for Grafana mixes up equal ones."""
    return {name: {"custom__hideFrom__viz": True, "displayName": name} for name in names.split()}


def painted(**properties: Any) -> Json:
    """Properties of a table column whose cells are filled with the colour of their mapping or threshold."""
    unpainted = steps((None, "transparent"))  # a missing value has no colour
    return {"custom__cellOptions": {"type": "color-background", "mode": "basic"}, "thresholds": unpainted, **properties}


def coloured(thresholds: Json | None = None, **properties: Any) -> Json:
    """Properties of a table column whose text has the colour of its mapping or threshold."""
    shown: Json = {"custom__cellOptions": {"type": "color-text"}, **properties}
    return {**shown, "thresholds": thresholds} if thresholds else shown


def rated(more_is_better: bool | None = None) -> Json:
    """Properties of a growth rate: an arrow each way, in colour where one way is the good one."""
    rise, fall = {True: (style.GOOD, style.BAD), False: (style.BAD, style.GOOD), None: (style.NEUTRAL, style.NEUTRAL)}[
        more_is_better
    ]
    return coloured(steps((None, fall), (0, style.NEUTRAL), (0.05, rise)), custom__minWidth=84)


def senses() -> Json:
    """Properties of a column of texts that end with `style.BETTER` or `style.WORSE`, and are coloured by it."""
    marks = ((style.BETTER, style.GOOD), (style.WORSE, style.BAD))
    mappings = [{"type": "regex", "options": {"pattern": f"/{mark}$/", "result": {"color": colour}}} for mark, colour in marks]
    return coloured(mappings=mappings)


def total_first(**properties: Any) -> Json:
    """Properties of the first column of a table whose total stands on top: the row whose cell is `TOTAL` is tinted."""
    tint = {"type": "color-background", "mode": "basic", "applyToRow": True}
    return {
        "custom__cellOptions": tint,
        "thresholds": steps((None, "transparent")),
        "mappings": mapping({"": TOTAL}, {"": style.TINT}),
        **properties,
    }


def table(
    words: Text,
    sql: str,
    shown: Mapping[str, Json],
    *,
    pages: bool = False,
    by: Sequence[tuple[str, bool]] = (),
    empty: Word | None = None,
    frozen: int = 0,
) -> Json:
    """A table; the columns `shown` in order, each with its further properties.

    `pages`: as many rows as fit, the others on further pages. `by`: columns to sort by at first, and whether downwards.
    `empty`: what stands there when there is no row. `frozen`: columns that stay at the left while the others move.
    """
    defaults: Json = {
        "unit": style.TEXT.id,
        "color": {"mode": "thresholds"},
        "thresholds": steps((None, style.NEUTRAL)),
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "minWidth": 60, "wrapHeaderText": True},
    }
    missing: Json = {"noValue": style.MISSING} if empty else {}
    if empty:
        defaults["noValue"] = str(empty)
    overrides = [column(name, sql, table=True, **{**missing, **properties}) for name, properties in shown.items()]
    options: Json = {"showHeader": True, "cellHeight": "sm", "enablePagination": pages}
    if by:
        heads = {each["matcher"]["options"]: each["properties"][0]["value"] for each in overrides}
        options["sortBy"] = [{"displayName": heads[name], "desc": downwards} for name, downwards in by]
    if frozen:
        options["frozenColumns"] = {"left": frozen}
    return panel("table", words, sql, defaults=defaults, overrides=overrides, options=options)


def matrix(
    words: Text,
    sql: str,
    first: Mapping[str, Json],
    cells: Mapping[str, str],
    thresholds: Json,
    *,
    unit: str,
    decimals: int,
    width: int = 44,
    frozen: int = 0,
) -> Json:
    """A table whose cells are filled with the colour of their threshold: columns `first`, then `cells` (column, its head)."""
    made = table(words, sql, first, frozen=frozen)
    painted_cells = painted(thresholds=thresholds, unit=unit, decimals=decimals, custom__minWidth=width)
    for name, head in cells.items():
        properties = {"displayName": head, **{key.replace("__", "."): value for key, value in painted_cells.items()}}
        made["fieldConfig"]["overrides"].append(
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": key, "value": value} for key, value in properties.items()],
            }
        )
    return made


CALLED = "code\\source_words"
"""The column of a class's code in both queries of a table that `spread` widens: Grafana names it so."""


def spread(made: Json, sql: str) -> Json:
    """The table `made`, whose rows have their class in the column `CALLED`, with a column more for each source of `sql`.

    Rows of `sql` are code, source_words and customers: which sources there are is data, so Grafana makes the columns.
    """
    second = {**made["targets"][0], "refId": "B", "rawSql": sql}
    as_columns = {"columnField": "source_words", "rowField": "code", "valueField": "customers", "emptyValue": "null"}
    made["targets"].append(second)
    made["fieldConfig"]["overrides"] += [column(name, sql) for name in ("code", "source_words")]
    made["fieldConfig"]["defaults"]["custom"]["minWidth"] = 120
    made["transformations"] = [
        {"id": "groupingToMatrix", "filter": {"id": "byRefId", "options": "B"}, "options": as_columns},
        {"id": "joinByField", "options": {"byField": CALLED, "mode": "outer"}},
    ]
    return made

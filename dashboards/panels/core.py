"""What every panel is made of: queries, columns with their words and units, thresholds, mappings."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards import Json, columns, style
from dashboards.vocabulary import Alarm, Text, Word

DATASOURCE: Json = {"type": "grafana-postgresql-datasource", "uid": "mainflow-mart"}


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Absolute thresholds: (from this value on, colour); the first starts at None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in pairs]}


def mapping(words: Mapping[str, Word | Alarm], colours: Mapping[str, str] | None = None) -> list[Json]:
    """Value mappings: a code is shown as its words, in its colour where it has one."""
    options = {
        code: {"index": index, "text": str(word), **({"color": colours[code]} if colours and code in colours else {})}
        for index, (code, word) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def column(name: str, sql: str, *, table: bool = False, **properties: Any) -> Json:
    """An override of column `name` of `sql`: its words, unit and decimals, then `properties` (Grafana's ids, `__` for a dot).

    In a table the unit stands in the head, so that the cells stay short.
    """
    described = columns.column(name, sql)
    unit = style.unit(described)
    in_head = table and unit.printed
    shown: Json = {"displayName": f"{described.word} ({unit.printed})" if in_head else str(described.word)}
    shown["unit"] = unit.in_cell if table else unit.id
    if unit.decimals is not None:
        shown["decimals"] = unit.decimals
    usual = style.WIDTHS.get(name, {}) if table and not any("idth" in key or "hide" in key for key in properties) else {}
    if table and name in style.WRAPPED:
        usual = {"custom__wrapText": True, **usual}
    shown |= {key.replace("__", "."): value for key, value in {**usual, **properties}.items()}
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in shown.items()],
    }


def fixed(colour: str) -> Json:
    """The property of a series that always has this colour."""
    return {"color": {"mode": "fixed", "fixedColor": colour}}


def panel(
    kind: str,
    words: Text,
    sql: str | Sequence[str],
    *,
    defaults: Json,
    overrides: Sequence[Json],
    options: Json,
    long: bool = False,
    empty: Word | str = style.MISSING,
    **more: Any,
) -> Json:
    """A panel with its words and one query or several; each query is a frame of its own.

    `long`: rows are `time`, `metric`, value, and become a series a metric. `empty`: what stands there when there is nothing.
    """
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "format": "time_series" if long else "table",
            "rawQuery": True,
            "rawSql": each,
        }
        for place, each in enumerate([sql] if isinstance(sql, str) else sql)
    ]
    return {
        "type": kind,
        "title": str(words.title),
        "description": str(words.description),
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"noValue": str(empty), **defaults}, "overrides": list(overrides)},
        "options": options,
        **more,
    }


def unit_of(name: str, sql: str) -> str:
    """Grafana's unit of a column, for the axis or tile of a panel."""
    return style.unit(columns.column(name, sql)).id

"""Small builders of Grafana's dashboard JSON (schema 41): panels, columns, variables, boards.

Not here: SQL and what a board shows (`boards/`), words, looks and limits (their own files).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards import Json, Links, columns, style, thresholds
from dashboards.vocabulary import ALARM_LINK, ALARMS, BOARDS, PANELS, TICKER_STATES, VARIABLES, Alarm, Word

DATASOURCE: Json = {"type": "grafana-postgresql-datasource", "uid": "mainflow-mart"}
SCHEMA_VERSION = 41
TAG = "mainflow"
WIDTH = 24
"""Columns of Grafana's grid."""


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
    shown["unit"] = "none" if in_head else unit.id
    if unit.decimals is not None:
        shown["decimals"] = unit.decimals
    shown |= {key.replace("__", "."): value for key, value in properties.items()}
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in shown.items()],
    }


def plain(names: str) -> dict[str, Json]:
    """Columns (names apart by spaces) without further properties."""
    return {name: {} for name in names.split()}


def painted(**properties: Any) -> Json:
    """Properties of a table column whose cells are filled with the colour of their mapping or threshold."""
    unpainted = steps((None, "transparent"))  # a missing value has no colour
    return {"custom__cellOptions": {"type": "color-background", "mode": "basic"}, "thresholds": unpainted, **properties}


def drill_down(board: str) -> list[Json]:
    """A data link to `board` for the row's meter, keeping the time range."""
    title = BOARDS[board].title
    return [
        {
            "title": f"{title}: ${{__data.fields.meter}}",
            "url": f"/d/{board}?var-meter=${{__data.fields.meter:percentencode}}&${{__url_time_range}}",
        }
    ]


def to_desk() -> Json:
    """The data link of an alarm's row (its id in the column `alarm_id`) to its page in the desk."""
    url = "${desk:raw}/alarms/${__data.fields.alarm_id}"
    return {"links": [{"title": str(ALARM_LINK["desk"]), "url": url, "targetBlank": True}]}


def to_frames() -> Json:
    """The data link of a point of a curve, on a board with the variable `meter`, to the frames that it comes from."""
    url = "${desk:raw}/frames?meter=${meter:percentencode}&at=${__value.time}"
    return {"links": [{"title": str(ALARM_LINK["frames"]), "url": url, "targetBlank": True}]}


def panel(kind: str, key: str, sql: str, *, defaults: Json, overrides: Sequence[Json], options: Json, **more: Any) -> Json:
    """A panel with one query; title and description are those of `key` in the vocabulary."""
    words = PANELS[key]
    return {
        "type": kind,
        "title": str(words.title),
        "description": str(words.description),
        "datasource": DATASOURCE,
        "targets": [
            {"refId": "A", "datasource": DATASOURCE, "editorMode": "code", "format": "table", "rawQuery": True, "rawSql": sql}
        ],
        "fieldConfig": {"defaults": {"noValue": style.MISSING, **defaults}, "overrides": list(overrides)},
        "options": options,
        **more,
    }


def stat(key: str, sql: str, names: Sequence[str], *, thresholds: Json | None = None, **more: Any) -> Json:
    """A tile with the last value of each of the columns `names`."""
    defaults = {
        "unit": style.unit(columns.column(names[0], sql)).id,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds or steps((None, style.CALM)),
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "horizontal",
        "textMode": "value_and_name" if len(names) > 1 else "value",
    }
    return panel("stat", key, sql, defaults=defaults, overrides=[column(name, sql) for name in names], options=options, **more)


def table(key: str, sql: str, shown: Mapping[str, Json]) -> Json:
    """A table; the columns `shown` in order, each with its further properties."""
    defaults = {
        "unit": style.TEXT.id,
        "color": {"mode": "thresholds"},
        "thresholds": steps((None, style.NEUTRAL)),
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "minWidth": 60, "wrapHeaderText": True},
    }
    overrides = [column(name, sql, table=True, **properties) for name, properties in shown.items()]
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "fields": "", "countRows": False},
    }
    return panel("table", key, sql, defaults=defaults, overrides=overrides, options=options)


def curves(key: str, sql: str, shown: Mapping[str, Json], *, joined_gap_ms: int, step: bool) -> Json:
    """Lines over time; nulls and holes longer than `joined_gap_ms` stay open.

    `step`: draw each value over the interval that it ends (a mean), instead of a line from point to point.
    """
    defaults = {
        "unit": style.unit(columns.column(next(iter(shown)), sql)).id,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineInterpolation": "stepBefore" if step else "linear",
            "lineWidth": 1,
            "fillOpacity": 0,
            "showPoints": "never",
            "spanNulls": False,
            "insertNulls": joined_gap_ms,
            "axisPlacement": "auto",
            "axisLabel": "",
        },
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["min", "max"]},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    overrides = [column(name, sql, **properties) for name, properties in shown.items()]
    return panel("timeseries", key, sql, defaults=defaults, overrides=overrides, options=options)


def bars(
    key: str,
    sql: str,
    x: str,
    y: str,
    *,
    thresholds: Json | None = None,
    colour: str = style.VOLUME,
    maximum: float | None = None,
    beside: str = "",
    horizontal: bool = False,
) -> Json:
    """One bar a row of column `y` over the categories of column `x`; column `beside`, where there is one, only in the tooltip."""
    defaults: Json = {
        "unit": style.unit(columns.column(y, sql)).id,
        "min": 0,
        "color": {"mode": "thresholds"} if thresholds else {"mode": "fixed", "fixedColor": colour},
        "thresholds": thresholds or steps((None, colour)),
        "custom": {"fillOpacity": 80, "lineWidth": 1, "axisPlacement": "auto", "axisLabel": "", "axisBorderShow": False},
    }
    if maximum is not None:
        defaults["max"] = maximum
    options = {
        "xField": x,
        "orientation": "horizontal" if horizontal else "vertical",
        "showValue": "auto" if horizontal else "never",
        "text": {"valueSize": 12},
        "stacking": "none",
        "groupWidth": 0.7,
        "barWidth": 0.9,
        "barRadius": 0,
        "fullHighlight": False,
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0 if horizontal else 100,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    overrides = [column(x, sql, noValue=" "), column(y, sql)]
    if beside:
        overrides.append(column(beside, sql, custom__hideFrom={"viz": True, "legend": True, "tooltip": False}))
    return panel("barchart", key, sql, defaults=defaults, overrides=overrides, options=options)


def choice(name: str, sql: str) -> Json:
    """A variable whose values are a query's rows (`__value`, `__text`); the first is the default."""
    return {
        "type": "query",
        "name": name,
        "label": str(VARIABLES[name]),
        "datasource": DATASOURCE,
        "query": sql,
        "definition": sql,
        "refresh": 1,
        "sort": 0,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "current": {},
        "options": [],
        "skipUrlSync": False,
    }


def text_box(name: str) -> Json:
    """A variable that people type into; empty at first."""
    empty = {"selected": True, "text": "", "value": ""}
    return {
        "type": "textbox",
        "name": name,
        "label": str(VARIABLES[name]),
        "query": "",
        "current": empty,
        "options": [empty],
        "hide": 0,
        "skipUrlSync": False,
    }


def fixed_choice(name: str, words: Mapping[str, Word]) -> Json:
    """A variable with fixed values; the first is the default."""
    options = [{"selected": index == 0, "text": str(word), "value": code} for index, (code, word) in enumerate(words.items())]
    return {
        "type": "custom",
        "name": name,
        "label": str(VARIABLES[name]),
        "query": ",".join(f"{word} : {code}" for code, word in words.items()),
        "current": options[0],
        "options": options,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def hidden_constant(name: str, value: str) -> Json:
    """A variable that nobody sees or changes, for links."""
    return {
        "type": "constant",
        "name": name,
        "query": value,
        "hide": 2,
        "skipUrlSync": True,
        "current": {"value": value, "text": value},
    }


def layout(rows: Sequence[tuple[int, Sequence[tuple[int, Json]]]]) -> list[Json]:
    """Panels placed row by row: (height, [(width, panel), …]); widths of a row must fill the grid. Numbers the panels from 1."""
    placed: list[Json] = []
    y = 0
    for height, row in rows:
        if sum(width for width, _ in row) != WIDTH:
            raise ValueError(f"widths of a row must add up to {WIDTH}: {[(width, item['title']) for width, item in row]}")
        x = 0
        for width, item in row:
            placed.append({"id": len(placed) + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **item})
            x += width
        y += height
    return placed


def measured(column: str) -> str:
    """A value of the alarm `a` with its unit, and the decimals of the unit."""
    digits_of = {alarm.unit: columns.decimals(alarm.unit) for alarm in ALARMS.values()}
    forms = " ".join(f"WHEN '{unit}' THEN 'FM999999990{'.' * bool(digits)}{'0' * digits}'" for unit, digits in digits_of.items())
    return f"rtrim(to_char(CAST({column} AS numeric), CASE a.unit {forms} ELSE 'FM999999990.00' END) || ' ' || a.unit)"


WHO = "concat_ws(' · ', nullif(a.customer_name, ''), a.meter) AS customer"
"""Customer and meter of the alarm `a`."""

TICKER = f"""SELECT a.state, a.raised_at, a.code, {WHO},
  {measured("a.value")} AS measured_value, CAST(a.alarm_id AS text) AS alarm_id
FROM ops.alarm_ticker AS a
WHERE a.role = 'viewer'
ORDER BY a.state = 'open' DESC, a.raised_at DESC
LIMIT {thresholds.TICKER_ROWS}"""
TICKER_HEIGHT = 5


def ticker() -> Json:
    """The alarms that stand on every board until they are over and acknowledged; a row leads to the alarm in the desk."""
    state = painted(mappings=mapping(TICKER_STATES, {"open": style.BAD}), custom__width=90)
    shown: dict[str, Json] = {
        "state": state,
        "raised_at": {"custom__width": 140},
        "code": {"mappings": mapping(ALARMS), "custom__minWidth": 130, **to_desk()},
        "customer": {"custom__minWidth": 150},
        "measured_value": {"custom__width": 120},
        "alarm_id": {"custom__hidden": True},
    }
    return table("ticker", TICKER, shown)


def with_ticker(panels: list[Json]) -> list[Json]:
    """The panels of a board below the ticker, numbered from 1."""
    moved = [{**item, "gridPos": {**item["gridPos"], "y": item["gridPos"]["y"] + TICKER_HEIGHT}} for item in panels]
    first = {"gridPos": {"x": 0, "y": 0, "w": WIDTH, "h": TICKER_HEIGHT}, **ticker()}
    return [{**item, "id": number} for number, item in enumerate([first, *moved], start=1)]


def alarm_regions(sql: str) -> Json:
    """Regions on every curve of the board, from each row's `time` to its `timeend`, with its `text`."""
    return {
        "name": str(ALARM_LINK["annotation"]),
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": style.BAD,
        "target": {
            "refId": "Anno",
            "datasource": DATASOURCE,
            "editorMode": "code",
            "format": "table",
            "rawQuery": True,
            "rawSql": sql,
        },
    }


def dashboard(name: str, panels: list[Json], variables: list[Json], *, since: str, annotations: Sequence[Json] = ()) -> Json:
    """A board: its words are those of `name` (the uid) in the vocabulary; links lead to every other one.

    The ticker stands on top.
    """
    words = BOARDS[name]
    link: Json = {
        "type": "dashboards",
        "title": str(Word("看板", "Boards")),
        "tags": [TAG],
        "asDropdown": False,
        "keepTime": True,
        "includeVars": False,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": name,
        "title": str(words.title),
        "description": str(words.description),
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "",  # the site's zone, which the server has as its default
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "refresh": "1m",
        "fiscalYearStartMonth": 0,
        "annotations": {"list": list(annotations)},
        "links": [link],
        "templating": {"list": [*variables, hidden_constant("desk", Links().desk)]},
        "panels": with_ticker(panels),
    }

"""A board: rows of panels placed on the grid, the ticker on top, links to every group of boards, shades on its curves.

Not here: SQL and what a board shows (`boards/`), the shapes of panels (`panels/`).
"""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from dashboards import Json, Links, groups, style, thresholds, uid
from dashboards.panels.core import DATASOURCE
from dashboards.ticker import HEIGHT, ticker
from dashboards.variables import METER, ZONE, hidden_constant, midnight
from dashboards.vocabulary import ALARM_LINK, SHADES, Word, language

SCHEMA_VERSION = 41
TAG = "mainflow"
WIDTH = 24
"""Columns of Grafana's grid."""

OVERVIEW, HELP = "overview", "help"
SEEN = "'P_LO', 'P_HI', 'P_JUMP', 'Q_HI', 'Q_LO', 'Q_REV', 'OVER_Q4', 'LEAK_NIGHT', 'BAND', 'MAG'"
"""Codes of the alarms that a curve of flow and pressure shows; those of bills, batteries and arrivals would only cover it."""


class Row(NamedTuple):
    """Panels side by side: height and, for each, its width."""

    height: int
    panels: tuple[tuple[int, Json], ...]


class Section(NamedTuple):
    """Rows under a heading; folded, they are asked for when somebody opens them."""

    title: Word
    rows: Sequence[Row]
    folded: bool = False


def row(height: int, *panels: Json | tuple[int, Json]) -> Row:
    """Panels side by side, of equal widths unless each has its own; they fill the grid."""
    wide, rest = divmod(WIDTH, len(panels))
    placed = tuple(item if isinstance(item, tuple) else (wide + (place < rest), item) for place, item in enumerate(panels))
    if sum(width for width, _ in placed) != WIDTH:
        raise ValueError(f"widths of a row must add up to {WIDTH}: {[(width, item['title']) for width, item in placed]}")
    return Row(height, placed)


def section(title: Word, *rows: Row, folded: bool = False) -> Section:
    """Rows under a heading."""
    return Section(title, rows, folded)


def dashboard(
    module: str,
    parts: Sequence[Row | Section],
    variables: Sequence[Json] = (),
    *,
    since: str,
    until: str = "now",
    annotations: Sequence[Json] = (),
    refresh: str = "1m",
    with_period: bool = True,
) -> Json:
    """The board of `module`, whose words are its `TITLE` and `MORE`; `since` and `until`: the period at first.

    Without `with_period` the period goes along unseen: a month or year that people choose is the board's only clock.
    """
    own, group = import_module(module), module.split(".")[-2]
    return {
        "uid": uid(module),
        "title": str(own.TITLE),
        "description": str(own.MORE),
        "tags": [TAG, tag(group), *([tag(OVERVIEW)] if group == HELP else [])],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "",  # the site's zone, which the server has as its default
        "time": {"from": since, "to": until},
        "timepicker": {"hidden": not with_period},
        "refresh": refresh,
        "fiscalYearStartMonth": 0,
        "annotations": {"list": list(annotations)},
        "links": navigation(),
        "templating": {"list": [*variables, hidden_constant("desk", Links().desk)]},
        "panels": placed([Row(HEIGHT, ((WIDTH, ticker()),)), *parts]),
    }


def tag(group: str) -> str:
    """The tag of a group's boards."""
    return f"{TAG}-{group}"


def navigation() -> list[Json]:
    """Links on every board: a list of the boards of each group; period and choices go along.

    Help stands in the first list: one list more would not fit into a line of 1366 pixels.
    """
    shared = {"keepTime": True, "includeVars": True, "targetBlank": False, "tooltip": "", "url": "", "icon": "external link"}
    return [
        {**shared, "type": "dashboards", "title": str(title), "tags": [tag(group)], "asDropdown": True}
        for group, title in groups().items()
        if group != HELP
    ]


def placed(parts: Sequence[Row | Section]) -> list[Json]:
    """Panels on the grid from top to bottom, numbered from 1; those of a folded section lie within its heading."""
    numbers = iter(range(1, 1000))
    panels: list[Json] = []
    y = 0

    def lay(rows: Sequence[Row], into: list[Json], y: int) -> int:
        for height, items in rows:
            x = 0
            for width, item in items:
                into.append({"id": next(numbers), "gridPos": {"x": x, "y": y, "w": width, "h": height}, **item})
                x += width
            y += height
        return y

    for part in parts:
        if isinstance(part, Row):
            y = lay([part], panels, y)
            continue
        heading: Json = {"id": next(numbers), "type": "row", "title": str(part.title), "collapsed": part.folded, "panels": []}
        heading["gridPos"] = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        panels.append(heading)
        below = lay(part.rows, heading["panels"] if part.folded else panels, y + 1)
        y = y + 1 if part.folded else below
    return panels


def annotation(name: Word, sql: str, colour: str, *, shown: bool = True) -> Json:
    """Regions on every curve of the board, from each row's `time` to its `timeend`, with its `text`; people can switch it off."""
    return {
        "name": str(name),
        "datasource": DATASOURCE,
        "enable": shown,
        "hide": False,
        "iconColor": colour,
        "target": {
            "refId": "Anno",
            "datasource": DATASOURCE,
            "editorMode": "code",
            "format": "table",
            "rawQuery": True,
            "rawSql": sql,
        },
    }


def days_off() -> Json:
    """Weekends and holidays of the calendar, where the period is short enough to tell days apart."""
    return annotation(
        SHADES["days_off"],
        f"""SELECT {midnight("day")} AS time, {midnight("day + 1")} AS timeend,
  coalesce(holiday_{language()}, '{SHADES["rest"]}') AS text
FROM mart.calendar
WHERE day_kind <> 'work' AND {_short(thresholds.SHADED_DAYS)}
  AND day BETWEEN CAST($__timeFrom() AS date) - 1 AND CAST($__timeTo() AS date) + 1
ORDER BY day""",
        style.SHADE,
    )


def nights() -> Json:
    """The night windows of leak detection, where the period is short enough to tell them apart."""
    return annotation(
        SHADES["nights"],
        f"""SELECT (day + from_h.value * interval '1 hour') AT TIME ZONE {ZONE} AS time,
  (day + to_h.value * interval '1 hour') AT TIME ZONE {ZONE} AS timeend, '{SHADES["nights"]}' AS text
FROM mart.calendar
JOIN mart.criterion AS from_h ON from_h.name = 'night.start_h'
  AND day >= from_h.valid_from AND day < coalesce(from_h.valid_to, 'infinity')
JOIN mart.criterion AS to_h ON to_h.name = 'night.end_h'
  AND day >= to_h.valid_from AND day < coalesce(to_h.valid_to, 'infinity')
WHERE {_short(thresholds.SHADED_NIGHTS)}
  AND day BETWEEN CAST($__timeFrom() AS date) - 1 AND CAST($__timeTo() AS date) + 1
ORDER BY day""",
        style.SHADE,
        shown=False,
    )


def replacements() -> Json:
    """When the chosen meter was changed."""
    return annotation(
        SHADES["replacement"],
        f"""SELECT valid_from AS time, valid_from AS timeend, '{SHADES["replacement"]}' AS text
FROM mart.meter_history
WHERE meter = {METER} AND valid_from BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY valid_from""",
        style.CALM,
    )


def alarms_of_meter(names: str) -> Json:
    """When an alarm of the chosen meter held, as far as it touches the range; `names`: SQL of an alarm's words."""
    return annotation(
        ALARM_LINK["annotation"],
        f"""SELECT raised_at AS time, coalesce(cleared_at, now()) AS timeend, {names} AS text
FROM ops.alarm
WHERE meter = {METER} AND retracted_at IS NULL AND code IN ({SEEN})
  AND raised_at <= $__timeTo() AND coalesce(cleared_at, now()) >= $__timeFrom()
ORDER BY raised_at DESC
LIMIT {thresholds.ALARM_ROWS}""",
        style.BAD,
    )


def _short(days: int) -> str:
    return f"CAST($__timeTo() AS timestamptz) - CAST($__timeFrom() AS timestamptz) <= interval '{days} days'"

"""Charts: curves over time, bands, bars, shares, curves over a share, points, and strips of states."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards import Json, columns, style
from dashboards.panels.core import column, fixed, panel, steps, unit_of
from dashboards.vocabulary import Text

LIMIT: Json = {**fixed(style.BAD), "custom__lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom__fillOpacity": 0}
"""How a limit is drawn."""
RIGHT: Json = {"custom__axisPlacement": "right"}
"""A series with a scale of its own, at the right."""
BEFORE: Json = {**fixed(style.FORMER), "custom__lineStyle": {"fill": "dash", "dash": [4, 4]}, "custom__fillOpacity": 0}
"""How the period that a curve is compared with is drawn."""


def curves(
    words: Text,
    sql: str | Sequence[str],
    shown: Mapping[str, Json],
    *,
    joined_gap_ms: int,
    step: bool = False,
    from_zero: bool = False,
    legend: Sequence[str] = ("min", "max"),
    **more: Any,
) -> Json:
    """Lines over time; nulls and holes longer than `joined_gap_ms` stay open.

    `step`: draw each value over the interval that it ends (a mean), instead of a line from point to point. `from_zero`: the axis
    begins at 0, as it should for volumes and flows.
    """
    queries = [sql] if isinstance(sql, str) else list(sql)
    of = {name: next((each for each in queries if name in each), queries[0]) for name in shown}
    first = next(iter(shown))
    defaults: Json = {
        "unit": unit_of(first, of[first]),
        "color": {"mode": "palette-classic"},
        "custom": _line(joined_gap_ms, step),
    }
    if from_zero:
        defaults["custom"]["axisSoftMin"] = 0
    overrides = [column(name, of[name], **properties) for name, properties in shown.items()]
    return panel("timeseries", words, sql, defaults=defaults, overrides=overrides, options=_options(legend), **more)


def bars_against(words: Text, sql: str, now: str, before: str, rate: str, **more: Any) -> Json:
    """Bars of column `now` over time before the wider, grey ones of `before`; `rate` is a line with its own scale.

    The SQL selects `time`, `before`, `now`, `rate`, so that the grey ones are drawn first.
    """
    bar: Json = {"custom__drawStyle": "bars", "custom__barAlignment": 0, "custom__lineWidth": 0}
    overrides = [
        column(before, sql, **bar, **fixed(style.FORMER), custom__fillOpacity=45, custom__barWidthFactor=0.85),
        column(now, sql, **bar, **fixed(style.VOLUME), custom__fillOpacity=95, custom__barWidthFactor=0.5),
        column(rate, sql, **RIGHT, **fixed(style.WARN), custom__showPoints="always", custom__pointSize=4),
    ]
    defaults: Json = {"unit": unit_of(now, sql), "custom": _line(0, step=False)}
    del defaults["custom"]["insertNulls"]
    defaults["custom"]["axisSoftMin"] = 0
    return panel("timeseries", words, sql, defaults=defaults, overrides=overrides, options=_options(()), **more)


def many_curves(
    words: Text,
    sql: str,
    value: str,
    *,
    joined_gap_ms: int,
    step: bool = False,
    from_zero: bool = False,
    stacked: bool = False,
    drawn: Mapping[str, Json] | None = None,
    **more: Any,
) -> Json:
    """A line a member over time: rows are `time`, `metric` (who, or of when) and the column `value`.

    `drawn`: properties of single members by their name, such as a sum or a limit.
    """
    defaults: Json = {"unit": unit_of(value, sql), "color": {"mode": "palette-classic"}, "custom": _line(joined_gap_ms, step)}
    if from_zero:
        defaults["custom"]["axisSoftMin"] = 0
    if stacked:
        defaults["custom"] |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 30}
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": key.replace("__", "."), "value": part} for key, part in properties.items()],
        }
        for name, properties in (drawn or {}).items()
    ]
    return panel(
        "timeseries", words, sql, defaults=defaults, overrides=overrides, options=_options(("mean", "max")), long=True, **more
    )


def band(
    words: Text,
    sql: str,
    low: str,
    high: str,
    middle: str,
    *,
    colour: str,
    joined_gap_ms: int,
    further: Mapping[str, Json] | None = None,
    from_zero: bool = False,
    **more: Any,
) -> Json:
    """A band from column `low` to `high` over time with the line `middle` in it, and the columns `further` as lines."""
    thin = {**fixed(colour), "custom__lineWidth": 0}
    lower = column(low, sql, **thin)
    lower_name = next(each["value"] for each in lower["properties"] if each["id"] == "displayName")
    overrides = [
        lower,
        column(high, sql, **thin, custom__fillBelowTo=lower_name, custom__fillOpacity=18),
        column(middle, sql, **fixed(colour), custom__lineWidth=2),
        *(column(name, sql, **properties) for name, properties in (further or {}).items()),
    ]
    defaults: Json = {"unit": unit_of(middle, sql), "custom": _line(joined_gap_ms, step=False)}
    if from_zero:
        defaults["custom"]["axisSoftMin"] = 0
    return panel("timeseries", words, sql, defaults=defaults, overrides=overrides, options=_options(()), **more)


def over(
    words: Text,
    sql: str,
    x: str,
    shown: Mapping[str, Json],
    *,
    from_zero: bool = True,
    bounds: tuple[str, str, str] | None = None,
    **more: Any,
) -> Json:
    """Lines over the numbers of column `x`, which rise: a duration curve, the hours of a week.

    `bounds`: columns (low, high) between which a band of a colour (the third) lies.
    """
    defaults: Json = {
        "unit": unit_of(next(iter(shown)), sql),
        "color": {"mode": "palette-classic"},
        "custom": _line(0, step=False),
    }
    del defaults["custom"]["insertNulls"]
    if from_zero:
        defaults["custom"]["axisSoftMin"] = 0
    overrides = [column(x, sql), *(column(name, sql, **properties) for name, properties in shown.items())]
    if bounds:
        low, high, colour = bounds
        thin = {**fixed(colour), "custom__lineWidth": 0}
        lower = column(low, sql, **thin)
        lower_name = next(each["value"] for each in lower["properties"] if each["id"] == "displayName")
        overrides += [lower, column(high, sql, **thin, custom__fillBelowTo=lower_name, custom__fillOpacity=18)]
    options = {**_options(()), "xField": x}
    return panel("trend", words, sql, defaults=defaults, overrides=overrides, options=options, **more)


def points(words: Text, sql: str, x: str, y: str, *, fit: tuple[str, str] | None = None, colour: str = style.FLOW) -> Json:
    """A point a row, column `y` over `x`. `fit`: SQL whose rows are a line with the same `x`, and its column."""
    series = [_xy(0, x, y)]
    overrides = [column(x, sql), column(y, sql, **fixed(colour), custom__show="points", custom__pointSize={"fixed": 4})]
    queries = [sql]
    if fit:
        queries.append(fit[0])
        series.append(_xy(1, x, fit[1]))
        overrides.append(column(fit[1], fit[0], **fixed(style.BAD), custom__show="lines", custom__lineWidth=2))
    options = {"mapping": "manual", "series": series, "legend": _legend(()), "tooltip": {"mode": "single", "sort": "none"}}
    defaults = {"unit": unit_of(y, sql), "custom": {"show": "points", "pointSize": {"fixed": 4}, "axisPlacement": "auto"}}
    # Without a version Grafana takes the options for those of before 11.1, and shows nothing.
    return panel("xychart", words, queries, defaults=defaults, overrides=overrides, options=options, pluginVersion="12.3.3")


def bars(
    words: Text,
    sql: str,
    x: str,
    shown: Mapping[str, Json] | str,
    *,
    thresholds: Json | None = None,
    colour: str = style.VOLUME,
    maximum: float | None = None,
    beside: str = "",
    horizontal: bool = False,
    stacked: bool = False,
    **more: Any,
) -> Json:
    """A bar a row and column of `shown` over the categories of column `x`; column `beside` only in the tooltip.

    `shown`: one column in `colour` or in that of its threshold, or several with their properties (`fixed`).
    """
    columns = {shown: {}} if isinstance(shown, str) else dict(shown)
    defaults: Json = {
        "unit": unit_of(next(iter(columns)), sql),
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
        "showValue": "never",  # the longest bar's would be cut
        "text": {"valueSize": 12},
        "stacking": "normal" if stacked else "none",
        "groupWidth": 0.7,
        "barWidth": 0.9,
        "barRadius": 0,
        "fullHighlight": False,
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0 if horizontal else 100,
        "legend": {**_legend(()), "showLegend": len(columns) > 1},
        "tooltip": {"mode": "multi" if len(columns) > 1 else "single", "sort": "none"},
    }
    overrides = [column(x, sql, noValue=" "), *(column(name, sql, **properties) for name, properties in columns.items())]
    if beside:
        overrides.append(column(beside, sql, custom__hideFrom={"viz": True, "legend": True, "tooltip": False}))
    return panel("barchart", words, sql, defaults=defaults, overrides=overrides, options=options, **more)


def shares(words: Text, sql: str, value: str) -> Json:
    """A ring: a part a row, named by the text column of the row, by the column `value`."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": f"/^{value}$/", "values": True},
        "pieType": "donut",
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "values": ["percent", "value"]},
        "tooltip": {"mode": "single", "sort": "none"},
        "displayLabels": [],
    }
    shown = style.unit(columns.column(value, sql))
    defaults = {"unit": shown.id, "decimals": shown.decimals, "color": {"mode": "palette-classic"}}
    return panel("piechart", words, sql, defaults=defaults, overrides=[], options=options)


def strip(words: Text, sql: str, value: str, thresholds: Json, *, rows: int = 20, **more: Any) -> Json:
    """A row a member and a cell a time, filled with the colour of its threshold: SQL gives `time`, `metric` and `value`.

    `rows`: members a page; 0: all on one.
    """
    defaults: Json = {
        "unit": unit_of(value, sql),
        "color": {"mode": "thresholds"},
        "thresholds": thresholds,
        "custom": {"fillOpacity": 80, "lineWidth": 0},
    }
    options = {
        "showValue": "never",
        "rowHeight": 0.9,
        "colWidth": 0.94,
        "perPage": rows,
        "legend": {**_legend(()), "showLegend": False},
    }
    options["tooltip"] = {"mode": "single", "sort": "none"}
    return panel("status-history", words, sql, defaults=defaults, overrides=[], options=options, long=True, **more)


def _line(joined_gap_ms: int, step: bool) -> Json:
    return {
        "drawStyle": "line",
        "lineInterpolation": "stepBefore" if step else "linear",
        "lineWidth": 1,
        "fillOpacity": 0,
        "showPoints": "never",
        "spanNulls": False,
        "insertNulls": joined_gap_ms,
        "axisPlacement": "auto",
        "axisLabel": "",
    }


def _options(legend: Sequence[str]) -> Json:
    return {"legend": _legend(legend), "tooltip": {"mode": "multi", "sort": "none"}}


def _legend(calcs: Sequence[str]) -> Json:
    return {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": list(calcs)}


def _xy(frame: int, x: str, y: str) -> Json:
    return {
        "frame": {"matcher": {"id": "byIndex", "options": frame}},
        "x": {"matcher": {"id": "byName", "options": x}},
        "y": {"matcher": {"id": "byName", "options": y}},
    }

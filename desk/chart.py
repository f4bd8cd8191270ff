"""A chart of flow and pressure around an alarm, as numbers that a template draws with SVG."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

WIDTH, HEIGHT = 1000, 190
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 24
TICKS = 4
NEAR = timedelta(seconds=1)


class Tick(NamedTuple):
    """A line of the grid: where, and its number or time."""

    at: float
    text: str


class Dot(NamedTuple):
    """A value: where it is, and what it is."""

    x: float
    y: float
    text: str


class Panel(NamedTuple):
    """One curve with its axes, in units of the drawing."""

    name: str
    unit: str
    path: str
    dots: Sequence[Dot]
    rows: Sequence[Tick]
    columns: Sequence[Tick]
    limit: Tick | None
    band: tuple[float, float] | None
    """From where to where the alarm held."""
    is_empty: bool


class Curve(NamedTuple):
    """What a panel shows: the values with their times, each from its start to its end or at its end alone."""

    name: str
    unit: str
    points: Sequence[tuple[datetime, datetime, float | None]]
    is_stepped: bool
    decimals: int


def curves(rows: Iterable[Any]) -> list[Curve]:
    """Flow and pressure of intervals."""
    known = list(rows)
    flow = [(row.interval_start, row.interval_end, row.flow_m3h) for row in known]
    pressure = [(row.interval_start, row.interval_end, row.pressure_mpa) for row in known]
    return [Curve("flow", "m³/h", flow, True, 2), Curve("pressure", "MPa", pressure, False, 3)]


def panel(
    curve: Curve,
    *,
    begin: datetime,
    end: datetime,
    held: tuple[datetime, datetime],
    limit: float | None,
    zone: ZoneInfo,
) -> Panel:
    """A curve between two times. `held`: when the alarm did; `limit`: None where it has none in this unit."""
    values = [value for _, _, value in curve.points if value is not None]
    bounds = [*values, *([limit] if limit is not None else [])]
    ticks = nice_ticks(min(0.0, *bounds), max(bounds)) if bounds else [0.0, 1.0]
    low, high = ticks[0], ticks[-1]

    def x(at: datetime) -> float:
        share = (min(max(at, begin), end) - begin) / (end - begin)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0])))
    return Panel(
        curve.name,
        curve.unit,
        _path(curve, x, y),
        [
            Dot(x(until), y(value), f"{until.astimezone(zone):%H:%M} {value:,.{curve.decimals}f} {curve.unit}")
            for _, until, value in curve.points
            if value is not None
        ],
        [Tick(y(value), f"{value:,.{decimals}f}") for value in ticks],
        [Tick(x(at), f"{at.astimezone(zone):%H:%M}") for at in _half_hours(begin, end)],
        Tick(y(limit), f"{limit:,.3f}".rstrip("0").rstrip(".")) if limit is not None else None,
        (x(held[0]), x(held[1])) if held[0] < end and held[1] > begin else None,
        not values,
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers from at most `low` to at least `high`, two or more."""
    span = (high - low) or 1.0
    rough = span / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _path(curve: Curve, x: Callable[[datetime], float], y: Callable[[float], float]) -> str:
    """The line, interrupted where a value is missing."""
    pieces: list[str] = []
    before: datetime | None = None
    for start, until, value in curve.points:
        if value is None:
            before = None
            continue
        joins = before is not None and start - before <= NEAR
        if curve.is_stepped:
            pieces.append(f"{'L' if joins else 'M'}{x(start)} {y(value)}L{x(until)} {y(value)}")
        else:
            pieces.append(f"{'L' if joins else 'M'}{x(until)} {y(value)}")
        before = until
    return "".join(pieces)


def _half_hours(begin: datetime, end: datetime) -> list[datetime]:
    step = timedelta(minutes=30)
    first = begin + (step - timedelta(seconds=begin.timestamp() % step.total_seconds()))
    return [first + step * number for number in range(int((end - first) / step) + 1)]

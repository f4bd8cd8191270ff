"""Sites on which alarm rules are tried: the readings of a case, and the alarms of PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import yaml

ZONE = ZoneInfo("Asia/Shanghai")
CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text(encoding="utf-8"))
START = "2026-03-02 00:00"


def values(listed: Sequence[Any]) -> list[float | None]:
    """`[0.3, "0.1 x2", "-"]` as values; None for a reading that did not come."""
    found: list[float | None] = []
    for entry in listed:
        text, _, times = str(entry).partition(" x")
        found += [None if text == "-" else float(text)] * int(times or 1)
    return found


def local(text: str, start: str = START) -> datetime:
    """`hh:mm` on the day of the start, or a whole local time."""
    whole = text if len(text) > 5 else f"{start[:10]} {text}"
    return datetime.fromisoformat(whole).replace(tzinfo=ZONE)


def readings(case: dict[str, Any], terminal: str) -> pl.DataFrame:
    """The readings of a case: the first closes the first step, so that the register has a beginning before it."""
    start, step = local(case.get("start", START)), timedelta(minutes=case.get("step_min", 15))
    flows, pressures = (values(case[name]) if name in case else None for name in ("flow", "pressure"))
    count = len(flows or pressures or [])
    rows, forward, reverse = [], 1000.0, 10.0
    rows.append((start, forward, reverse, None))
    for number in range(count):
        flow = 10.0 if flows is None else flows[number]
        volume = (flow or 0.0) * step.total_seconds() / 3600
        forward, reverse = forward + max(volume, 0.0), reverse + max(-volume, 0.0)
        is_there = (flow is not None) and (pressures is None or pressures[number] is not None)
        if is_there:
            rows.append((start + (number + 1) * step, forward, reverse, pressures[number] if pressures else None))
    columns = {"ts": pl.Datetime("us", "UTC"), "total_m3": pl.Float64, "reverse_m3": pl.Float64, "pressure_mpa": pl.Float64}
    rows = [(at.astimezone(UTC), *others) for at, *others in rows]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(terminal=pl.lit(terminal))


def alarms(dsn: str, condition: str = "retracted_at is null") -> list[tuple[Any, ...]]:
    """`(meter, code, raised_at, cleared_at, peak_value, limit_value, origin)` of the alarms, in order."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select meter, code, raised_at, cleared_at, peak_value, limit_value, origin from ops.alarm "
            f"where {condition} order by meter, code, raised_at"
        ).fetchall()
    return [
        (
            meter,
            code,
            *(at and at.astimezone(ZONE) for at in (raised, cleared)),
            *(None if v is None else round(v, 6) for v in (value, limit)),
            origin,
        )
        for meter, code, raised, cleared, value, limit, origin in rows
    ]

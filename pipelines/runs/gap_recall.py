"""Holes in the data become commands for history, to terminals whose protocol supports them. Nothing is sent from here.

`state/recalled.json` holds the requested spans and their times, so that a terminal without the data is not asked at each run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import duckdb

from assets import gaps, warehouse
from ingest_daemon import operations
from ingest_daemon.contract.files import rebuilt_json, write_json
from ingest_daemon.contract.settings import Settings
from ingest_daemon.operations import CommandSettings

BY = "recall"
MOST_OPEN = 2000
"""Limit of open commands from here; the next run continues."""
AGAIN = timedelta(days=7)
"""Time after which a remaining hole is requested again."""
YOUNG_STEPS = 2
"""Steps after its end in which a hole may still fill by itself."""

HOLES = """
with known as (
    select
        meter,
        interval_end as hole_start,
        lead(interval_start) over (partition by meter order by interval_start, interval_end) as hole_end
    from interval_reading
    -- The day as well: days stand together in the table, and the others need not be read.
    where flags & 1 = 0 and interval_end >= $oldest and day >= cast($oldest as date) - 1
)

select terminal, hole_start, hole_end, reads, step_min
from known
join meter using (meter)
where hole_end > hole_start and hole_end <= $now and terminal is not null
order by terminal, hole_start
"""
"""Spans between two known intervals of a meter; so a day without any reading is in one, too."""


class Hole(NamedTuple):
    """A span (UTC) without readings of a terminal, and the field that would fill it."""

    terminal: str
    start: datetime
    end: datetime
    field: str


@dataclass
class Recalled:
    """The result of a recall: number of `holes`, of `asks` filed for them, and of holes that are not requested, by reason.

    `already`: requested within `AGAIN`. `cannot`: not supported by the protocol. `left`: for the next run, by a limit.
    """

    holes: int = 0
    asks: int = 0
    already: int = 0
    cannot: int = 0
    left: int = 0


def recall(settings: Settings, connection: duckdb.DuckDBPyConnection, now: datetime) -> Recalled:
    """File commands for the holes of the last `[commands] recall_h` hours. Raises `OSError`, `ValueError`."""
    found = Recalled()
    is_supported = operations.history_support(settings, now)
    path = settings.folder.state / gaps.RECALLED
    ledger = rebuilt_json(path, gaps.recalled, "holes may be asked for once more") or {}
    queue = operations.command_queue(settings)
    opened = sum(1 for command in queue.all() if command.by == BY and command.is_open)
    for hole in holes(connection, now - timedelta(hours=settings[CommandSettings].recall_h), now):
        found.holes += 1
        spans = ledger.setdefault(hole.terminal, [])
        if any(_covers(span, hole, now) for span in spans):
            found.already += 1
        elif not is_supported(*hole):
            found.cannot += 1
        elif opened >= MOST_OPEN:
            found.left += 1
        else:
            try:
                filed = queue.file(hole.terminal, "history", by=BY, now=now, start=hole.start, end=hole.end, field=hole.field)
            except ValueError:  # a limit of the queue
                found.left += 1
                continue
            spans.append([hole.start.isoformat(), hole.end.isoformat(), now.isoformat()])
            opened += len(filed)
            found.asks += len(filed)
    if found.asks:
        write_json(path, _pruned(ledger, now), durable=True)
    return found


def holes(connection: duckdb.DuckDBPyConnection, oldest: datetime, now: datetime) -> list[Hole]:
    """The holes since `oldest` that are not too young, by terminal and time."""
    if not (warehouse.has_table(connection, "interval_reading") and warehouse.has_table(connection, "meter")):
        return []
    rows = connection.execute(HOLES, {"oldest": oldest, "now": now}).fetchall()
    return [
        Hole(terminal, start.astimezone(UTC), end.astimezone(UTC), "flow_m3h" if reads == "flow" else "forward_m3")
        for terminal, start, end, reads, step_min in rows
        if end <= now - YOUNG_STEPS * timedelta(minutes=step_min or 15)
    ]


def _covers(span: list[str], hole: Hole, now: datetime) -> bool:
    start, end, asked_at = map(datetime.fromisoformat, span)
    return start <= hole.start and hole.end <= end and now - asked_at < AGAIN


def _pruned(ledger: Mapping[str, list[list[str]]], now: datetime) -> dict[str, Any]:
    fresh = {
        terminal: [span for span in spans if now - datetime.fromisoformat(span[2]) < AGAIN] for terminal, spans in ledger.items()
    }
    return {terminal: spans for terminal, spans in fresh.items() if spans}

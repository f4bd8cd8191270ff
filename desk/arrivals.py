"""When the readings around an alarm came, so that its page shows what was there at a time.

The raw store keeps a reading with its last arrival: one that was sent again counts as of then, and the value that it replaced is
in the journal alone.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from desk.alarms import HELD
from desk.database import has_table
from ingest_daemon.contract.settings import Settings
from ingest_daemon.stores import StoreAway, open_store
from ingest_daemon.stores.settings import StoreSettings


class Arrival(NamedTuple):
    """The time of a reading, and when it came."""

    ts: datetime
    received_at: datetime


def terminals_of(connection: psycopg.Connection[Any], meter: str, at: datetime) -> list[str]:
    """The terminals that measured a meter at a time; where the history has none, that of now. Raises `psycopg.Error`."""
    rows: Sequence[Any] = []
    if has_table(connection, "mart.meter_history"):
        rows = connection.execute(
            f"select distinct terminal from mart.meter_history where meter = %(meter)s and terminal is not null "
            f"and {HELD.format(day='%(at)s')}",
            {"meter": meter, "at": at},
        ).fetchall()
    if not rows and has_table(connection, "mart.meter"):
        query = "select terminal from mart.meter where meter = %s and terminal is not null"
        rows = connection.execute(query, [meter]).fetchall()
    return sorted(row.terminal for row in rows)


def has_seen(connection: psycopg.Connection[Any], terminal: str, at: datetime) -> bool:
    """Whether the terminal measured a meter at a time whose rows the connection sees. Raises `psycopg.Error`."""
    query = f"select from mart.meter_history where terminal = %(terminal)s and {HELD.format(day='%(at)s')} limit 1"
    return connection.execute(query, {"terminal": terminal, "at": at}).fetchone() is not None


def stored(
    settings: Settings, terminals: Sequence[str], begin: datetime, end: datetime, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Columns of the raw store's readings of some terminals in a stretch. Raises `StoreAway`."""
    if not terminals:
        return iter(())
    try:
        store = open_store(settings.folder, settings[StoreSettings])
        rows = store.read(begin, end, columns=list(columns), terminals=set(terminals))
    except ValueError as error:
        raise StoreAway(str(error)) from error
    return rows.select(columns).iter_rows()


def arrivals(settings: Settings, terminals: Sequence[str], begin: datetime, end: datetime) -> list[Arrival] | None:
    """Those of readings in a stretch, in order of their times; None where the raw store cannot tell now."""
    try:
        rows = stored(settings, terminals, begin, end, ("terminal", *Arrival._fields))
    except StoreAway:
        return None
    return sorted((Arrival(*row) for _, *row in rows), key=lambda arrival: arrival.ts)


def known_then(intervals: Sequence[Any], came: Sequence[Arrival], moment: datetime) -> list[Any]:
    """The intervals between whose readings both had come by a moment; an interval without a reading on a side cannot be told."""
    known = []
    for interval in intervals:
        before = max((arrival for arrival in came if arrival.ts <= interval.interval_start), default=None)
        after = min((arrival for arrival in came if arrival.ts >= interval.interval_end), default=None)
        if before and after and max(before.received_at, after.received_at) <= moment:
            known.append(interval)
    return known

"""The local days that wait to be computed: the raw store's arrivals as days, kept until a run has computed them.

`state/touched.json` holds the store's cursor and the waiting days, each with the generation in which it was last touched, so
that a reading that arrives while its day is computed leaves the day waiting.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from assets import calendar
from assets.warehouse import exclusive
from ingest_daemon.contract.files import write_json
from ingest_daemon.stores import RawStore


class Waiting(NamedTuple):
    """Days to compute, in order, as of a generation."""

    days: list[date]
    generation: int


def waiting(state: Path, store: RawStore, zone: ZoneInfo, reach: timedelta) -> Waiting:
    """Every waiting day, after the store's arrivals since the last call. `reach`: the longest hole. Raises `StoreAway`."""
    with _edited(state) as content:
        arrivals = store.arrivals(content["cursor"])
        touched = {
            day for start, end in arrivals.spans.unique().iter_rows() for day in calendar.days_touched(start, end, reach, zone)
        }
        _note(content, touched)
        content["cursor"] = arrivals.cursor
        return Waiting(sorted(date.fromisoformat(day) for day in content["days"]), content["generation"])


def mark(state: Path, days: Iterable[date]) -> None:
    """Add these days, whatever the store's arrivals."""
    with _edited(state) as content:
        _note(content, set(days))


def _note(content: dict[str, Any], days: set[date]) -> None:
    if days:
        content["generation"] += 1
        content["days"].update(dict.fromkeys((day.isoformat() for day in days), content["generation"]))


def done(state: Path, days: list[date], generation: int) -> None:
    """Remove days computed as of `generation`; one touched since stays waiting."""
    with _edited(state) as content:
        for day in days:
            if content["days"].get(day.isoformat(), generation + 1) <= generation:
                del content["days"][day.isoformat()]


@contextmanager
def _edited(state: Path) -> Iterator[dict[str, Any]]:
    """The file's content, written back atomically."""
    path = state / "touched.json"
    with exclusive(state / "touched.lock"):
        content = json.loads(path.read_text()) if path.exists() else {"cursor": None, "generation": 0, "days": {}}
        yield content
        write_json(path, content, durable=True)

"""Which local days wait to be computed, remembered until a run has done them: those of the raw store's arrivals and of edits
of the registry.

A touched day waits for the live figures first, and then, when these are made, for the analysis. `state/touched.json` holds the
store's cursor, whether the warehouse was there, the first day ever touched, and the waiting days of both, each with the
generation in which it was last touched: a reading that arrives while its day is computed leaves the day waiting.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb

from assets import calendar, registry_history
from assets.warehouse import exclusive
from assets.workbench import Workbench
from ingest_daemon.contract.files import rebuilt_json, write_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore


class Waiting(NamedTuple):
    """Days that wait for the live figures, and those that wait for the analysis alone, in order, as of a generation."""

    live: list[date]
    analysis: list[date]
    generation: int


def waiting(state: Path, store: RawStore, zone: ZoneInfo, reach: timedelta) -> Waiting:
    """Every waiting day, after the store's arrivals since the last call. `reach`: the longest hole. Raises `StoreAway`."""
    with _edited(state) as content:
        is_there = Site(state.parent).marts.exists()
        if content["warehouse"] and not is_there:
            LOG.warning("marts.duckdb is not there any more: every day of the raw store is computed again")
            content["cursor"] = None
        content["warehouse"] = is_there
        arrivals = store.arrivals(content["cursor"])
        touched = {
            day for start, end in arrivals.spans.unique().iter_rows() for day in calendar.days_touched(start, end, reach, zone)
        }
        _note(content, touched)
        content["cursor"] = arrivals.cursor
        live = {date.fromisoformat(day) for day in content["live"]}
        analysis = {date.fromisoformat(day) for day in content["analysis"]} - live
        return Waiting(sorted(live), sorted(analysis), content["generation"])


def take_over_registry(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """Let the days wait that an edit of the registry concerns, or a card of billing for a meter that it named.

    The caller holds the run's lock. Raises `StoreAway`, `RegistryError`.
    """
    state, history = bench.site.state, bench.site.registry_history
    if registry_history.is_edited(bench.site.registry, history) or registry_history.is_met(connection, history):
        days = waiting(state, bench.store, bench.zone, bench.max_hole).live
        registry_history.take_over(bench, connection, days, lambda edited: mark(state, edited))


def begin_again(state: Path) -> None:
    """Let every day of the raw store wait."""
    with _edited(state) as content:
        content["cursor"] = None


def mark(state: Path, days: Iterable[date]) -> None:
    """Add these days, whatever the store's arrivals."""
    with _edited(state) as content:
        _note(content, set(days))


def first_day(state: Path) -> date | None:
    """The first day that ever waited; None before the first reading."""
    with _edited(state) as content:
        return date.fromisoformat(content["first_day"]) if content["first_day"] else None


def done_live(state: Path, days: list[date], generation: int) -> None:
    """Days whose live figures are made as of `generation` wait for the analysis; one touched since stays waiting."""
    with _edited(state) as content:
        taken = _taken(content["live"], days, generation)
        content["analysis"].update(dict.fromkeys(taken, content["generation"]))


def done_analysis(state: Path, days: list[date]) -> None:
    """Remove analysed days. The caller holds the run's lock, so that no live figures were made meanwhile."""
    with _edited(state) as content:
        _taken(content["analysis"], days, content["generation"])


def _taken(waiting: dict[str, int], days: list[date], generation: int) -> list[str]:
    names = [day.isoformat() for day in days if waiting.get(day.isoformat(), generation + 1) <= generation]
    for name in names:
        del waiting[name]
    return names


def _note(content: dict[str, Any], days: set[date]) -> None:
    if days:
        content["generation"] += 1
        content["live"].update(dict.fromkeys((day.isoformat() for day in days), content["generation"]))
        content["first_day"] = min(filter(None, (content["first_day"], min(days).isoformat())))


def _content(value: dict[str, Any]) -> dict[str, Any]:
    """The content of the file, whole. Raises `ValueError`, `TypeError`, `AttributeError` where it is something else."""
    content = {"cursor": None, "warehouse": False, "generation": 0, "first_day": None, "live": {}, "analysis": {}, **value}
    content["live"] = {**content["live"], **content.pop("days", {})}  # of a version with one list
    for day, generation in (
        *content["live"].items(),
        *content["analysis"].items(),
        (content["first_day"], content["generation"]),
    ):
        if day is not None:
            date.fromisoformat(day)
        int(generation)
    return content


@contextmanager
def _edited(state: Path) -> Iterator[dict[str, Any]]:
    """The file's content, written back atomically."""
    path = state / "touched.json"
    with exclusive(state / "touched.lock"):
        content = rebuilt_json(path, _content, "every day of the raw store is computed again") or _content({})
        before = deepcopy(content)
        yield content
        if content != before or not path.exists():
            write_json(path, content, durable=True)

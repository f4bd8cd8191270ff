"""The journal of a daemon that was lost, drained on another host: its forwarding and its sinks run once more, without reception.

What is drained goes where the lost daemon would have brought it: to its share of the raw store, under the positions of its
journal, and to PostgreSQL. Its own cursors move in its folder, so a drain that is killed goes on where it was, and one that comes
after it has nothing to do; the daemon's lock keeps both off each other.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.alarm_sink import AlarmSink
from ingest_daemon.forwarding.forwarder import Forwarder
from ingest_daemon.forwarding.handover import Handover
from ingest_daemon.forwarding.latest_readings import LatestReadings
from ingest_daemon.forwarding.open_alarms import OpenAlarms
from ingest_daemon.forwarding.quarantine import unadopted_entries
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.journal.reader import CURSORS, backlog, read_cursor, restore_cursors, segments, walk
from ingest_daemon.journal.records import ALARM, DATA, STRANGER, STREAMS, Gap
from ingest_daemon.journal.share import note_share, share_of
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.stores import RawStore
from ingest_daemon.terminals.registry import Registry

LOOK_S = 0.2
STOP_S = 30.0

VITAL = ("store", AlarmSink.PART, LatestReadings.PART)
"""Parts of the health without which a drain waits."""


class Progress(NamedTuple):
    """Bytes that the slowest reader has still before it, of those that there were, and what is waited for ("": nothing)."""

    left_bytes: int
    all_bytes: int
    waits_for: str


@dataclass
class Drained:
    """What a drain did. `frames`: by stream, those that were before the forwarder. `damaged`: places without a valid record."""

    share: str
    frames: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, list[Gap]] = field(default_factory=dict)
    readings: int = 0
    duplicates: int = 0
    alarm_events: int = 0
    adopted: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)


def check_folder(lost: Site) -> None:
    """Raises `ValueError` where the folder has no journal; nothing is written to it then."""
    if not any(segments(lost.journal / stream) for stream in STREAMS):
        raise ValueError(
            f"{lost.root} 中没有日志 / there is no journal in {lost.root}: expected the site folder of the lost "
            "daemon, with journal/ in it and, where that was saved, state/"
        )


def identify(lost: Site, share: str) -> str:
    """The name of the lost daemon, from its journal; `share`: what a person says ("": nothing).

    Raises `ValueError` where there is no name, or another name.
    """
    if share:
        note_share(lost, share)
    if not share_of(lost):
        raise ValueError(
            f"不知道 {lost.journal} 属于哪个采集进程 / whose journal {lost.journal} is, is not noted in it: name the "
            "lost daemon's [store] share with --share NAME"
        )
    return share_of(lost)


def drain(
    lost: Site,
    settings: TimeSettings,
    store: RawStore,
    registry: Registry,
    dsn: str,
    journal_bytes: tuple[int, int],
    tell: Callable[[Progress], None],
) -> Drained:
    """Bring what the lost daemon had not forwarded to store and database; returns when all of it is there.

    `lost`: its folder, whose lock the caller holds. `store`, `registry`, `dsn`: of a site that is well.
    `journal_bytes`: size of a segment and budget. Raises `OSError`.
    """
    restore_cursors(lost)
    drained = _look_through(lost)
    adopts = _ask_for_adoption(lost, registry)
    all_bytes = max(backlog(lost).values())
    if not (all_bytes or adopts):
        return drained
    broken: list[Exception] = []
    counters = Counters()
    journals = Journals(lost, *journal_bytes)
    journals.start(lambda stream: 0, lambda *_: None, broken.append)
    handover, open_alarms = Handover(), OpenAlarms()
    threads = (
        Forwarder(lost, settings, store, registry, journals, counters, handover, open_alarms),
        AlarmSink(lost, dsn, registry, journals, counters, open_alarms),
        LatestReadings(lost, dsn, settings, registry, journals, counters, handover),
    )
    for thread in threads:
        thread.start()
    idle = 0
    try:
        while idle < 2:  # an event that the forwarder wrote between two looks is seen by the second
            time.sleep(LOOK_S)
            if broken:
                raise broken[0]
            left_bytes = max(backlog(lost).values())
            idle = idle + 1 if not left_bytes and replay.asked(lost) is None else 0
            tell(Progress(left_bytes, all_bytes, _ailment(counters.health)))
    finally:
        for thread in threads:
            thread.stop(STOP_S)
        journals.finish()
        journals.close()
    answer = replay.answer(lost, adopts) if adopts else None
    drained.adopted = sum(answer.frames.values()) if answer else 0
    drained.readings, drained.duplicates = counters.readings, counters.duplicates
    drained.alarm_events, drained.quarantined = counters.alarm_events, Counter(counters.quarantined)
    return drained


def _look_through(lost: Site) -> Drained:
    """Count the frames before the forwarder's cursors, and name the damaged places from the first cursor of each stream on."""
    drained = Drained(share_of(lost))
    for stream in dict.fromkeys(CURSORS.values()):
        cursors = {name: read_cursor(lost, name) for name, read in CURSORS.items() if read == stream}
        for chunk in walk(lost.journal / stream, min(cursors.values())):
            if stream in (ALARM, DATA, STRANGER):
                drained.frames[stream] += sum(record.position >= cursors[stream] for record in chunk.records)
            if chunk.damaged:
                drained.damaged.setdefault(stream, []).extend(chunk.damaged)
    return drained


def _ask_for_adoption(lost: Site, registry: Registry) -> str:
    """The name of a request to adopt what waits of terminals that are registered by now; "" where nothing does."""
    terminals = registry.terminals()
    return replay.ask(lost) if any(entry.terminal in terminals for entry in unadopted_entries(lost.quarantine)) else ""


def _ailment(health: Mapping[str, str]) -> str:
    return "; ".join(f"{part}: {health[part]}" for part in VITAL if health.get(part, "ok") != "ok")

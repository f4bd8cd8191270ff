"""From the journal to the raw store: decode groups of frames, quarantine what cannot be stored, store the rest, move the cursor.

Each reading is stored at least once, and the same reading twice is the same point; so a kill at any moment loses nothing and
doubles nothing. One thread serves both streams, alarms first: the store has one writer, and the terminals' state needs no lock.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import polars as pl

from ingest_daemon.contract.files import rebuilt_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.alarm_sink import AlarmWord
from ingest_daemon.forwarding.comparison import Compared, compare
from ingest_daemon.forwarding.handover import Handover
from ingest_daemon.forwarding.journal_thread import JournalThread
from ingest_daemon.forwarding.open_alarms import OpenAlarms
from ingest_daemon.forwarding.reprocessing import Reprocessor
from ingest_daemon.forwarding.server_clock import ServerClock
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.sinks import WAIT_S, Overtaken, Sinks, Stopped
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.forwarding.triage import Group, TimeLimits, triage
from ingest_daemon.journal.reader import cursor_path, read
from ingest_daemon.journal.records import ALARM, DATA, STRANGER, Chunk, JournalBroken, Record
from ingest_daemon.journal.share import share_of
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.stores import RawStore
from ingest_daemon.stores.points import runs
from ingest_daemon.terminals.registry import Registry, Terminal

GROUP_BYTES = 4 << 20
GATHER_S = 0.2
"""After a silence the first frame waits this long for others: many small groups would cost the store more than one."""
ADOPT_S = 5.0
"""Seconds after a change of the registry until frames are adopted: a person may save it several times."""
STATE_SAVE_S = 60.0
"""The terminals' state is saved this often; after a kill it is read back and brought up to date from the journal."""

STREAMS = (ALARM, DATA, STRANGER)
STRANGERS = 2000
"""Frames of unregistered terminals forwarded at a time, so that a flood of them keeps no meter waiting."""


class Forwarder(JournalThread):
    """The thread that brings frames from the journal to the raw store."""

    def __init__(
        self,
        site: Site,
        settings: TimeSettings,
        store: RawStore,
        registry: Registry,
        journals: Journals,
        counters: Counters,
        handover: Handover,
        open_alarms: OpenAlarms,
    ) -> None:
        super().__init__("forwarder", site, journals, STREAMS)
        self._settings, self._counters = settings, counters
        self._registry, self._handover, self._open_alarms = registry, handover, open_alarms
        self._share = share_of(site)
        for stream in (ALARM, DATA):
            handover.start(stream, self._positions[stream])
        self._sinks = Sinks(site, settings, store, journals, counters, self._stopping)
        self._reprocessor = Reprocessor(site, settings, store, registry, self._sinks)
        self._state = TerminalState()
        self._registered: Mapping[str, Terminal] = {}
        """Terminals for which adoption was considered last."""
        self._adopt_at_s = float("inf")
        self._server_clock = ServerClock(settings.drift_s)
        self._saved_at = time.monotonic()

    def _run(self) -> None:
        wait, restored = WAIT_S[0], False
        while True:
            try:
                if not restored:
                    self._restore_state()
                    restored = True
                if request := replay.asked(self._site):
                    self._reprocessor.run(request, lambda: self._positions, self._state, self._catch_up)
                self._adopt_registered()
                if self._step():
                    wait = WAIT_S[0]
                    continue
                if self._stopping.is_set():
                    self._save_state()
                    return
                self._sinks.log.flush()
                if self._journals.wait(self._positions, 0.5):
                    self._stopping.wait(GATHER_S)
            except Stopped:
                return
            except JournalBroken as error:
                self._journals.fail(error)
                return
            except Exception as error:
                self._counters.health["store"] = repr(error)
                LOG.exception("forwarding failed; the group stays in the journal and is tried again in %.1f s", wait)
                if self._stopping.wait(wait):
                    return
                wait = min(wait * 2, WAIT_S[1])

    def _adopt_registered(self) -> None:
        """Once after each change of the registry, adopt the frames of terminals that are registered now."""
        terminals, now_s = self._registry.terminals(), time.monotonic()
        if terminals is not self._registered:
            self._registered, self._adopt_at_s = terminals, now_s + ADOPT_S
        if now_s >= self._adopt_at_s:
            self._adopt_at_s = float("inf")
            try:
                self._reprocessor.adopt_registered(lambda: self._positions, self._state, self._catch_up)
            except (ValueError, KeyError) as error:
                LOG.warning("nothing is adopted by itself: a ledger in %s cannot be read: %r", self._site.quarantine, error)

    def _step(self) -> bool:
        """Forward one group, of alarms before data; False where there is none."""
        for stream in STREAMS:
            chunk = self._read(stream, self._journals.end(stream), GROUP_BYTES)
            if stream == STRANGER and len(chunk.records) > STRANGERS:
                chunk = Chunk(chunk.records[:STRANGERS], chunk.records[STRANGERS].position, chunk.damaged)
            if chunk.next_position > self._positions[stream]:
                with suppress(Overtaken):
                    self._forward(stream, chunk)
                return True
        return False

    def _catch_up(self) -> None:
        """Between batches of old frames: save the state, then forward all new frames. Raises `Stopped`."""
        self._save_state()
        while not self._stopping.is_set() and self._step():
            pass
        if self._stopping.is_set():
            raise Stopped

    def _forward(self, stream: str, chunk: Chunk) -> None:
        for gap in chunk.damaged if stream != STRANGER else ():  # there the journal drops the oldest, and logs it
            LOG.error("journal %s is damaged at %d: %d bytes hold no valid record and are passed over", stream, *gap)
            self._counters.damaged_bytes[stream] += gap.length
        if chunk.records:
            # The store is asked before anything of a group is remembered, so a group that gives way can begin anew.
            self._sinks.gives_way = partial(self._has_alarms, stream)
            try:
                self._settle(stream, chunk)
            finally:
                self._sinks.gives_way = lambda: False
        self._sinks.save(cursor_path(self._site, stream), {"position": chunk.next_position})
        self._positions[stream] = chunk.next_position
        if time.monotonic() - self._saved_at > STATE_SAVE_S:
            self._save_state()

    def _has_alarms(self, stream: str) -> bool:
        """Whether a group must give way to alarms."""
        return stream != ALARM and self._journals.end(ALARM) > self._positions[ALARM]

    def _settle(self, stream: str, chunk: Chunk) -> None:
        """Bring a group to store, quarantine and events. Doing it twice changes nothing."""
        records = chunk.records
        group = self._triage(stream, records)
        table = runs(group.readings)
        if stream != STRANGER:
            self._handover.give(stream, self._positions[stream], chunk.next_position, group.readings, table)
        compared = self._compare(stream, records, group.readings, table)
        # Before the store changes: afterwards the old value of a contradiction is gone.
        self._sinks.quarantine(group.kept + compared.kept)
        if len(compared.readings):
            self._sinks.write(stream, records, compared.readings)
        changed = self._state.new_alarm_words(group.alarm_words, self._open_codes)
        since = self._state.since(group.alarm_words if stream == ALARM else changed)
        if stream == ALARM:
            changed = []  # the alarm sink reads alarm frames by itself
        self._sinks.emit_events(changed + since + self._clock_words(group.offsets, records))
        self._state.note(table)
        self._counters.duplicates += compared.duplicates

    def _clock_words(self, offsets: pl.DataFrame, records: Sequence[Record]) -> list[AlarmWord]:
        """CLOCK words of terminals; none while the server's own clock is wrong, which is said instead."""
        self._server_clock.note(offsets)
        self._counters.health["clock"] = self._server_clock.fault or "ok"
        if self._server_clock.fault:
            self._sinks.log.warn("clock", self._server_clock.fault)
            return []
        return self._state.clock_news(offsets, records, self._settings.drift_s, self._open_codes)

    def _open_codes(self, terminal: str, origin: str) -> frozenset[str] | None:
        """See `OpenAlarms.codes`."""
        found = self._registry.terminals().get(terminal)
        return self._open_alarms.codes(found.meter, origin) if found else None

    def _triage(self, stream: str, records: Sequence[Record]) -> Group:
        registry = self._registry.current
        return triage(stream, records, registry.terminals, registry.profiles, TimeLimits.of(self._settings), self._share)

    def _compare(self, stream: str, records: Sequence[Record], readings: pl.DataFrame, table: pl.DataFrame) -> Compared:
        suspects = self._state.suspects(readings, table)
        if not suspects.any():
            return Compared(readings, [], 0)
        suspected = readings.filter(suspects)
        compared = compare(stream, records, suspected, self._sinks.read(suspected))
        return compared._replace(readings=pl.concat([readings.filter(~suspects), compared.readings]))

    def _restore_state(self) -> None:
        """Read the saved state and bring it up to date with the frames that were forwarded since."""
        path = self._site.state / "terminals.json"
        state = rebuilt_json(path, TerminalState, "made again from the journal") or TerminalState()
        for stream in STREAMS:
            while (position := state.positions[stream]) < self._positions[stream]:
                chunk = read(self._site.journal / stream, position, self._positions[stream], GROUP_BYTES)
                if chunk.next_position == position:
                    break  # the segments are gone, forwarded long ago
                if chunk.records:
                    group = self._triage(stream, chunk.records)
                    state.new_alarm_words(group.alarm_words)
                    state.clock_news(group.offsets, chunk.records, self._settings.drift_s)
                    state.note(runs(group.readings))
                state.positions[stream] = chunk.next_position
        self._state = state

    def _save_state(self) -> None:
        self._state.positions = dict(self._positions)
        self._sinks.save(self._site.state / "terminals.json", self._state.save())
        self._saved_at = time.monotonic()

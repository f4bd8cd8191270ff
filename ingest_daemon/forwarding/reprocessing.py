"""Old frames are brought to the raw store again: adoption and replay, in the forwarder's thread (requests: `replay.py`)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby, islice
from operator import itemgetter

import polars as pl

from ingest_daemon import codecs
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.comparison import compare
from ingest_daemon.forwarding.decoding import senders
from ingest_daemon.forwarding.latest_readings import request_rebuild
from ingest_daemon.forwarding.quarantine import QuarantineEntry, entry_key, entry_keys, mark_adopted, unadopted_entries
from ingest_daemon.forwarding.replay import ReplayRequest, ReplayResult, ReplaySource
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.sinks import Sinks, Stopped
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.forwarding.triage import TimeLimits, triage
from ingest_daemon.journal.records import JournalBroken, Record
from ingest_daemon.journal.share import share_of
from ingest_daemon.stores import RawStore
from ingest_daemon.stores.points import KEY, POSITION, merge, runs, spans
from ingest_daemon.terminals.registry import Registry, Terminal

BATCH_FRAMES = 5000
"""Old frames that are decoded at a time; between batches new frames go first."""

MOVED = timedelta(days=1)
"""Old points of a frame are searched so far around its times of today: a mistaken time zone is half a day."""


class Reprocessor:
    """Carries out requests of `replay.py`: old frames go to the store as of when they were received."""

    def __init__(self, site: Site, settings: TimeSettings, store: RawStore, registry: Registry, sinks: Sinks) -> None:
        self._site, self._settings, self._store = site, settings, store
        self._registry, self._sinks = registry, sinks
        self._share = share_of(site)

    def run(
        self, request: ReplayRequest, ends: Callable[[], Mapping[str, int]], state: TerminalState, between: Callable[[], None]
    ) -> None:
        """Carry out a request and answer it; whatever goes wrong ends in the answer, so that no request blocks the forwarder.

        `ends`: positions up to which frames are forwarded. `between`: called after each batch, when all of it is stored.
        """
        result, before = ReplayResult(), None
        try:
            # A key may only become free when another frame's point leaves it: then all is done once more.
            while before != result.withdrawn:
                before = dict(result.withdrawn)
                result.frames.clear()
                self._reprocess(request, dict(ends()), state, result, between)
            result.left = dict(Counter(entry.terminal for entry in unadopted_entries(self._site.quarantine)))
        except (Stopped, JournalBroken):
            raise
        except Exception as error:
            LOG.exception("a replay was given up")
            result.error = repr(error)
        self._sinks.retry(partial(request_rebuild, self._site, request.span))
        if request.name:
            self._sinks.retry(partial(replay.reply, self._site, request, result))
        else:
            LOG.info("adopted by itself, frames a terminal registered since: %s", result.frames or result.error)

    def _reprocess(
        self,
        request: ReplayRequest,
        ends: Mapping[str, int],
        state: TerminalState,
        result: ReplayResult,
        between: Callable[[], None],
    ) -> None:
        self._registry.catch_up()  # who registers a terminal and asks for its frames means the registry as it is now
        terminals = self._registry.terminals()
        waiting = self._adoptable(terminals, by_itself=not request.name)
        unadopted = {(entry.stream, entry.position): entry.terminal for entry in waiting}
        recorded = entry_keys(self._site.quarantine)
        for batch in _batches(replay.select(self._site, request, unadopted, ends)):
            for stream, group in groupby(batch, key=itemgetter(0)):
                self._reprocess_group(stream, [record for _, record in group], recorded, state, result)
            # Before the entries are marked: a daemon that is killed in between does all of it again, with the same result.
            between()
            positions = ((stream, record.position) for stream, record in batch)
            adopted = {position: unadopted[position] for position in positions if position in unadopted}
            if adopted:
                self._sinks.retry(partial(mark_adopted, self._site.quarantine, adopted))

    def adopt_registered(self, ends: Callable[[], Mapping[str, int]], state: TerminalState, between: Callable[[], None]) -> None:
        """Adopt the frames of terminals that were registered since, where there are any."""
        if any(True for _ in self._adoptable(self._registry.terminals(), by_itself=True)):
            self.run(ReplayRequest("", None), ends, state, between)

    def _adoptable(self, terminals: Mapping[str, Terminal], *, by_itself: bool) -> Iterator[QuarantineEntry]:
        """Unadopted entries of registered terminals.

        `by_itself`: without a person's word, so a frame must carry its terminal's registered password, if there is one.
        """
        for entry in unadopted_entries(self._site.quarantine):
            terminal = terminals.get(entry.terminal)
            if terminal is None:
                continue
            carried = codecs.load(entry.way.protocol).password(entry.raw) if by_itself and terminal.password else None
            if carried is None or terminal.has_password(carried):
                yield entry

    def _reprocess_group(
        self, stream: str, records: Sequence[Record], recorded: set[tuple[str, ...]], state: TerminalState, result: ReplayResult
    ) -> None:
        """Store what the frames say today; they are older than other stored ones, so where two meet the later arrival wins.

        Quarantine entries that are `recorded` are not added again. Clocks are not judged: those times are over.
        """
        limits, registry = TimeLimits.of(self._settings, datetime.now(UTC)), self._registry.current
        group = triage(stream, records, registry.terminals, registry.profiles, limits, self._share)
        _count(result.frames, Counter(terminal for terminal, *_ in senders(records, range(len(records)))))
        entries = group.kept
        if len(group.readings):
            stored = self._withdraw_moved(group.readings, self._sinks.read(group.readings), result)
            # The old reading of a frame does not contradict its reading of today.
            others = stored.join(group.readings, on=[*KEY, *POSITION], how="anti")
            entries = entries + compare(stream, records, group.readings, others).kept
        self._sinks.quarantine([entry for entry in entries if entry_key(entry) not in recorded])
        if len(group.readings):
            self._store_merged(stream, records, group.readings, stored, result)
            state.note(runs(group.readings))
        # All words: the alarm sink passed over those of unknown terminals, and it writes no event twice.
        state.new_alarm_words(group.alarm_words)
        self._sinks.emit_events(group.alarm_words + state.since(group.alarm_words))

    def _store_merged(
        self, stream: str, records: Sequence[Record], readings: pl.DataFrame, stored: pl.DataFrame, result: ReplayResult
    ) -> None:
        """Store the readings merged with the points that are `stored` at their keys, where that changes something.

        Merged here, because a store that lets the last writer win would let the older arrival win. A reading of the same frame
        as the stored point comes after it, so it replaces the frame's old values.
        """
        today = merge(readings)
        points = merge(pl.concat([stored, today])).join(today, on=KEY, how="semi")
        points = points.join(stored, on=[*READING], how="anti", nulls_equal=True)
        if points.is_empty():
            return
        index = readings.select(*KEY, "index").unique(KEY, keep="last", maintain_order=True)
        refused = self._sinks.write(stream, records, points.join(index, on=KEY, how="left", maintain_order="left"))
        points = points.join(refused, on=KEY, how="anti")
        _count(result.readings, _by_terminal(points.join(stored, on=KEY, how="anti")))
        _count(result.corrected, _by_terminal(points.join(stored, on=KEY, how="semi")))

    def _withdraw_moved(self, readings: pl.DataFrame, stored: pl.DataFrame, result: ReplayResult) -> pl.DataFrame:
        """Take out the points that the readings' frames gave at other keys than today; returns `stored` without them.

        They are searched only around readings that are not stored yet as their frame's, and up to `MOVED` away.
        """
        moved = readings.join(stored, on=[*KEY, *POSITION], how="anti")
        frames = moved.select(POSITION).unique()
        old = [stored.head(0).select(*KEY, *POSITION)]
        for start, end in spans(pl.concat([moved["ts"], moved["received_at"]])).iter_rows():
            around = self._sinks.retry(partial(self._store.read, start - MOVED, end + MOVED)).select(*KEY, *POSITION)
            old.append(around.join(frames, on=POSITION, how="semi").join(readings, on=[*KEY, *POSITION], how="anti"))
        points = pl.concat(old).unique()
        if len(points):
            self._sinks.retry(partial(self._store.withdraw, points))
            _count(result.withdrawn, _by_terminal(points))
        return stored.join(points, on=[*KEY, *POSITION], how="anti")


def _batches(frames: Iterator[ReplaySource]) -> Iterator[list[ReplaySource]]:
    while batch := sorted(islice(frames, BATCH_FRAMES), key=lambda source: (source[0], source[1].position)):
        yield batch


def _count(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for terminal, count in more.items():
        counts[terminal] = counts.get(terminal, 0) + count


def _by_terminal(points: pl.DataFrame) -> dict[str, int]:
    return dict(points.group_by("terminal").len().iter_rows())

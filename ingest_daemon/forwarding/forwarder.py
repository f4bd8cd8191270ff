"""From the journal to the raw store: decode groups of frames, part what cannot be stored, store the rest, move the cursor.

At least once, and the same reading twice is the same point; so a kill at any moment loses nothing and doubles nothing. One
thread serves both streams, alarms first: the store sees one writer, and what is known of a terminal needs no lock.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from statistics import median
from typing import Any, NamedTuple, TypeVar

import polars as pl

from ingest_daemon.contract.files import read_json, write_json
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.schema import FIELDS, READING, TIMESTAMP, Reason
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.alarm_sink import SERVER, AlarmWord
from ingest_daemon.forwarding.decoding import senders
from ingest_daemon.forwarding.quarantine import (
    QuarantineEntry,
    add_entries,
    entry_key,
    entry_keys,
    mark_adopted,
    unadopted_entries,
)
from ingest_daemon.forwarding.replay import ReplayRequest, ReplayResult
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.triage import Group, quarantine_entry, triage
from ingest_daemon.journal.reader import cursor_path, read, read_cursor, segments
from ingest_daemon.journal.records import ALARM, DATA, EVENT_KIND, HEADER, MAX_PAYLOAD, Chunk, JournalBroken, Record
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.stores import RawStore, StoreAway
from ingest_daemon.stores.points import KEY, OWN, merge, spans
from ingest_daemon.terminals.registry import Registry, Terminal

GROUP_BYTES = 4 << 20
GATHER_S = 0.2
"""After a silence the first frame waits this long for others: many small groups would cost the store more than one."""
WAIT_S = (0.5, 30.0)
"""First and longest pause before the store is tried again."""
AGAIN_FRAMES = 5000
"""Old frames that are brought again at a time."""
MOVED = timedelta(days=1)
"""A point that a frame gave at a wrong time is looked for so far around the right one: a zone mistaken is half a day."""
STATE_SAVE_S = 60.0
"""The memory of terminals is saved this often; after a kill it is read back and brought up to date from the journal."""

STREAMS = (ALARM, DATA)
_NAMES = [field.name for field in FIELDS]
T = TypeVar("T")

CLOCK_FRAMES = 3
"""A terminal's clock is judged by the median of this many frames (domain.md B8, V06)."""


class Stopped(Exception):
    """The forwarder was told to stop while it waited for the store."""


class Overtaken(Exception):
    """Alarms came while data waited for the store: they go first."""


class Compared(NamedTuple):
    """Readings to store, entries of those that contradict a stored one (which are stored, too), number of exact duplicates."""

    readings: pl.DataFrame
    kept: list[QuarantineEntry]
    duplicates: int


def compare(stream: str, records: Sequence[Record], readings: pl.DataFrame, stored: pl.DataFrame) -> Compared:
    """Compare each reading with the point before it: what is stored (columns of `READING`), then earlier rows of the group.

    A field that was empty and is now given completes the point; one given twice with different values is a contradiction.
    """
    both = pl.concat([stored.with_columns(index=pl.lit(None, pl.Int64)), readings.with_columns(pl.col("index").cast(pl.Int64))])
    before = {name: f"{name}_before" for name in _NAMES}
    judged = both.with_columns(
        *(pl.col(name).forward_fill().shift().over(KEY).alias(old) for name, old in before.items()),
        again=pl.int_range(pl.len()).over(KEY) > 0,
    ).filter(pl.col("index").is_not_null())
    differs = pl.any_horizontal((pl.col(name) != pl.col(old)).fill_null(False) for name, old in before.items())
    completes = pl.any_horizontal(pl.col(name).is_not_null() & pl.col(old).is_null() for name, old in before.items())
    judged = judged.with_columns(differs=differs, new=~pl.col("again") | differs | completes)
    kept = [
        quarantine_entry(Reason.CONFLICT, stream, records, row["index"], row["terminal"], row["ts"], _changes(row, before))
        for row in judged.filter("differs").iter_rows(named=True)
    ]
    new_alarm_words = judged.filter("new")
    return Compared(new_alarm_words.select(*READING, "index"), kept, len(judged) - len(new_alarm_words))


def _changes(row: Mapping[str, Any], before: Mapping[str, str]) -> str:
    pairs = [(name, row[old], row[name]) for name, old in before.items()]
    return "; ".join(f"{name}: {old} → {new}" for name, old, new in pairs if None not in (old, new) and old != new)


def _refusals(stream: str, records: Sequence[Record], written: pl.DataFrame, refused: pl.DataFrame) -> list[QuarantineEntry]:
    """`written`: what the store was given, with `index`; `refused`: what it gave back, with `detail`."""
    if refused.is_empty():  # nearly always; then it need not have the column
        return []
    places = dict(written.select("frame", "index").iter_rows())
    return [
        quarantine_entry(Reason.STORE_REFUSED, stream, records, places[frame], terminal, ts, detail)
        for frame, terminal, ts, detail in refused.select("frame", "terminal", "ts", "detail").iter_rows()
    ]


def _count(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for terminal, count in more.items():
        counts[terminal] = counts.get(terminal, 0) + count


def _by_terminal(points: pl.DataFrame) -> dict[str, int]:
    return dict(points.group_by("terminal").len().iter_rows())


class TerminalState:
    """What is known of terminals: newest device time stored, last alarm word, and whether the clock is off.

    It is what the journal up to some position says; so it can always be made again from there.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """`saved`: what `save` gave."""
        saved = saved or {}
        self.positions: dict[str, int] = {stream: saved.get("positions", {}).get(stream, 0) for stream in STREAMS}
        self.newest_us: dict[str, int] = saved.get("newest_us", {})
        self._words: dict[str, tuple[int, tuple[str, ...]]] = {
            terminal: (at, tuple(active)) for terminal, (at, active) in saved.get("words", {}).items()
        }
        self._drifted: set[str] = set(saved.get("drifted", ()))
        self._offsets: dict[str, list[float]] = saved.get("offsets", {})
        self._timed: set[str] = set()

    def save(self) -> dict[str, Any]:
        """The memory as JSON."""
        return {
            "positions": self.positions,
            "newest_us": self.newest_us,
            "words": self._words,
            "drifted": sorted(self._drifted),
            "offsets": self._offsets,
        }

    def suspects(self, readings: pl.DataFrame) -> pl.Series:
        """Which readings may meet a stored point or one of the same group; all others are new for certain."""
        names = readings["terminal"].unique()
        newest = pl.Series([self.newest_us.get(name) for name in names], dtype=pl.Int64).cast(TIMESTAMP)
        table = pl.DataFrame({"terminal": names, "newest": newest})
        joined = readings.select(KEY).join(table, on="terminal", how="left", maintain_order="left")
        return joined.select((pl.col("ts") <= pl.col("newest")).fill_null(False) | pl.struct(KEY).is_duplicated()).to_series()

    def note(self, readings: pl.DataFrame) -> None:
        """The readings are stored."""
        latest = readings.group_by("terminal").agg(pl.col("ts").max().dt.epoch("us"))
        for terminal, at in latest.iter_rows():
            self.newest_us[terminal] = max(at, self.newest_us.get(terminal, at))

    def new_alarm_words(self, found: Sequence[AlarmWord]) -> list[AlarmWord]:
        """Those of the words that may tell something new: a change, or an alarm older than the last known word."""
        changed = []
        for word in found:
            at, active = self._words.get(word.terminal, (word.event_us, ()))
            if word.event_us < at:
                changed += [word] if word.active else []
                continue
            changed += [word] if word.active != active else []
            self._words[word.terminal] = (word.event_us, word.active)
        return changed

    def since(self, heard: Sequence[AlarmWord]) -> list[AlarmWord]:
        """The last known words of terminals whose last word of those `heard`, in order of time, is older and has alarms.

        Who hears the older ones, as the alarm sink does of alarm frames, must hear the last one too: else an alarm stays open
        that was over before it was told.
        """
        latest = {word.terminal: word for word in heard}
        known = [(word, *self._words.get(terminal, (word.event_us, ()))) for terminal, word in latest.items() if word.active]
        return [word._replace(event_us=at, active=active, values={}) for word, at, active in known if at > word.event_us]

    def clock_news(self, offsets: pl.DataFrame, records: Sequence[Record], drift_s: float) -> list[AlarmWord]:
        """CLOCK words of terminals whose clock went wrong or came right. `offsets`: of `triage.clock_offsets`.

        A clock is judged by the median of a terminal's last frames, so one old frame that was sent again raises nothing.
        """
        wrong = offsets.filter(pl.col("offset_s").abs() > drift_s)["terminal"].unique().to_list()
        watched = {*wrong, *self._offsets}
        changed = []
        for terminal, offset_s, index in offsets.filter(pl.col("terminal").is_in(list(watched))).iter_rows():
            seen = terminal in self._timed or terminal in self.newest_us
            before = self._offsets.get(terminal, [0.0] * (CLOCK_FRAMES - 1) if seen else [])
            self._timed.add(terminal)
            recent = [*before, offset_s][-CLOCK_FRAMES:]
            self._offsets[terminal] = recent
            judged_s = median(recent)
            off = abs(judged_s) > drift_s
            if off != (terminal in self._drifted):
                (self._drifted.add if off else self._drifted.discard)(terminal)
                record = records[index]
                active, values = ("CLOCK",) if off else (), {"CLOCK": judged_s}
                changed.append(
                    AlarmWord(terminal, SERVER, record.received_us, record.received_us, record.position, active, values, drift_s)
                )
            if all(abs(value) <= drift_s for value in recent):
                del self._offsets[terminal]
        self._timed.update(offsets["terminal"])
        return changed


class Forwarder:
    """The thread that brings frames from the journal to the raw store."""

    def __init__(
        self,
        site: Site,
        settings: TimeSettings,
        store: RawStore,
        registry: Registry,
        journals: Journals,
        counters: Counters,
    ) -> None:
        self._site, self._settings, self._store = site, settings, store
        self._journals, self._counters = journals, counters
        self._registry = registry
        self._positions = {stream: read_cursor(site, stream) for stream in STREAMS}
        self._state = TerminalState()
        self._saved_at = time.monotonic()
        self._stopping = threading.Event()
        self._gives_way = False
        self._limited = RateLimitedLog()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Forward what is quick and end; what is left follows after the next start."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def position(self, stream: str) -> int:
        """Position before which the forwarder needs nothing more of a stream."""
        return self._positions[stream]

    def _run(self) -> None:
        wait, restored = WAIT_S[0], False
        while True:
            try:
                if not restored:
                    self._restore_state()
                    restored = True
                if request := replay.asked(self._site):
                    self._reprocess(request)
                if self._step():
                    wait = WAIT_S[0]
                    continue
                if self._stopping.is_set():
                    self._save_state()
                    return
                self._limited.flush()
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

    def _step(self) -> bool:
        """Forward one group, of alarms before data; False where there is none."""
        for stream in STREAMS:
            chunk = self._read(stream, self._positions[stream])
            if chunk.next_position > self._positions[stream]:
                with suppress(Overtaken):
                    self._forward(stream, chunk)
                return True
        return False

    def _read(self, stream: str, position: int) -> Chunk:
        return read(self._site.journal / stream, position, self._journals.end(stream), GROUP_BYTES)

    def _forward(self, stream: str, chunk: Chunk) -> None:
        for gap in chunk.damaged:
            LOG.error("journal %s is damaged at %d: %d bytes hold no valid record and are passed over", stream, *gap)
        if chunk.records:
            # The store is asked before anything is remembered of a group, so one that is left while it waits can begin anew.
            self._gives_way = stream == DATA
            try:
                self._settle(stream, chunk.records)
            finally:
                self._gives_way = False
        self._retry_until_stored(
            lambda: write_json(cursor_path(self._site, stream), {"position": chunk.next_position}, durable=True)
        )
        self._positions[stream] = chunk.next_position
        if time.monotonic() - self._saved_at > STATE_SAVE_S:
            self._save_state()

    def _settle(self, stream: str, records: Sequence[Record]) -> None:
        """Bring a group to where it belongs: store, ledgers, events. Doing it twice changes nothing."""
        group = self._triage(stream, records)
        compared = self._compare(stream, records, group.readings)
        # Before the store changes: afterwards nobody could tell the old value any more.
        self._quarantine(group.kept + compared.kept)
        stored = compared.readings.select(*READING)
        if len(stored):
            refused = self._retry_until_stored(lambda: self._store.write(stored))
            self._quarantine(_refusals(stream, records, compared.readings, refused))
            self._counters.readings += len(stored) - len(refused)
        changed = self._state.new_alarm_words(group.alarm_words)
        since = self._state.since(group.alarm_words if stream == ALARM else changed)
        if stream == ALARM:
            changed = []  # the sink reads alarm frames by itself
        self._emit_events(changed + since + self._state.clock_news(group.offsets, records, self._settings.drift_s))
        self._state.note(group.readings)
        self._counters.duplicates += compared.duplicates

    def _triage(self, stream: str, records: Sequence[Record]) -> Group:
        future = timedelta(seconds=self._settings.future_s)
        return triage(stream, records, self._registry.terminals(), self._registry.profiles(), future)

    def _compare(self, stream: str, records: Sequence[Record], readings: pl.DataFrame) -> Compared:
        suspects = self._state.suspects(readings)
        if not suspects.any():
            return Compared(readings, [], 0)
        suspected = readings.filter(suspects)
        compared = compare(stream, records, suspected, self._points(suspected))
        return compared._replace(readings=pl.concat([readings.filter(~suspects), compared.readings]))

    def _points(self, readings: pl.DataFrame) -> pl.DataFrame:
        """What is stored at the keys of the readings (at least one)."""
        keys = readings.select(KEY).unique()
        found = []
        for start, end in spans(readings["ts"]).iter_rows():
            span = self._retry_until_stored(partial(self._store.read, start, end))
            found.append(span.join(keys, on=KEY, how="semi"))
        return pl.concat(found).select(*READING)

    def _reprocess(self, request: ReplayRequest) -> None:
        """Bring frames that were dealt with before to the store once more, as of when they came; answer the request.

        Between groups what came in since goes first. Whatever goes wrong ends in the answer: a request must not hold that up.
        """
        done, before = ReplayResult(), None
        try:
            # A place may only become free when another frame's point leaves it: then all is done once more.
            while before != done.withdrawn:
                before = dict(done.withdrawn)
                done.frames.clear()
                self._replay(request, done)
            done.left = dict(Counter(entry.terminal for entry in unadopted_entries(self._site.quarantine)))
        except (Stopped, JournalBroken):
            raise
        except Exception as error:
            LOG.exception("bringing old frames again was given up")
            done.error = repr(error)
        self._retry_until_stored(partial(replay.reply, self._site, request, done))

    def _replay(self, request: ReplayRequest, done: ReplayResult) -> None:
        self._registry.catch_up()  # who registers a terminal and asks for its frames means the registry as it is now
        terminals = dict(self._registry.terminals())
        waiting = (entry for entry in unadopted_entries(self._site.quarantine) if entry.terminal in terminals)
        unadopted = {(entry.stream, entry.position): entry.terminal for entry in waiting}
        known = entry_keys(self._site.quarantine)
        frames = replay.select(self._site, request, unadopted, dict(self._positions))
        while batch := sorted(islice(frames, AGAIN_FRAMES), key=lambda old: (old[0], old[1].position)):
            for stream, group in groupby(batch, key=itemgetter(0)):
                self._reprocess_group(stream, [record for _, record in group], terminals, known, done)
            # In this order, all of it may be done twice: the same point, the same event.
            self._save_state()
            places = ((stream, record.position) for stream, record in batch)
            adopted = {place: unadopted[place] for place in places if place in unadopted}
            if adopted:
                self._retry_until_stored(partial(mark_adopted, self._site.quarantine, adopted))
            while not self._stopping.is_set() and self._step():
                pass
            if self._stopping.is_set():
                raise Stopped

    def _reprocess_group(
        self,
        stream: str,
        records: Sequence[Record],
        terminals: Mapping[str, Terminal],
        known: set[tuple[str, ...]],
        done: ReplayResult,
    ) -> None:
        """Like `_settle`, but these frames are older than others that are stored: where two meet, the later arrival wins.

        What the ledgers have (`known`) is not kept again. Clocks are not judged: that is over.
        """
        future = timedelta(seconds=self._settings.future_s)
        group = triage(stream, records, terminals, self._registry.profiles(), future)
        _count(done.frames, Counter(terminal for terminal, *_ in senders(records, range(len(records)))))
        kept = group.kept
        if len(group.readings):
            stored = self._withdraw_moved(stream, group.readings, self._points(group.readings), done)
            # What a frame was taken for is no contradiction to what it says today.
            others = stored.join(group.readings, on=OWN, how="anti")
            kept = kept + compare(stream, records, group.readings, others).kept
        self._quarantine([entry for entry in kept if entry_key(entry) not in known])
        if len(group.readings):
            # Merged here, for a store that lets the last writer win would let the older arrival win. A point of the same frame
            # as the stored one comes after it, so what the frame says today replaces what it was taken for.
            new_alarm_words = merge(group.readings)
            points = merge(pl.concat([stored, new_alarm_words])).join(new_alarm_words, on=KEY, how="semi")
            points = points.join(stored, on=[*READING], how="anti", nulls_equal=True)
            if len(points):
                refused = self._retry_until_stored(partial(self._store.write, points))
                mine = refused.drop("frame").join(group.readings.select(*KEY, "frame").unique(KEY), on=KEY)
                self._quarantine(_refusals(stream, records, group.readings, mine))
                points = points.join(refused, on=KEY, how="anti")
            _count(done.readings, _by_terminal(points.join(stored, on=KEY, how="anti")))
            _count(done.corrected, _by_terminal(points.join(stored, on=KEY, how="semi")))
            self._counters.readings += len(points)
            self._state.note(group.readings)
        # All of them: the sink, which passed over a stranger's alarms, writes an event that it knows already no second time.
        self._state.new_alarm_words(group.alarm_words)
        self._emit_events(group.alarm_words + self._state.since(group.alarm_words))

    def _withdraw_moved(self, stream: str, readings: pl.DataFrame, stored: pl.DataFrame, done: ReplayResult) -> pl.DataFrame:
        """Take out the points that the frames of the readings gave when they were understood otherwise; the others stay `stored`.

        They are looked for only around readings that are not stored yet as their frame's, and there up to `MOVED` away.
        """
        moved = readings.join(stored, on=OWN, how="anti")
        frames = moved.select("received_at", "frame").unique()
        found = [pl.DataFrame(schema=READING)]
        for start, end in spans(pl.concat([moved["ts"], moved["received_at"]])).iter_rows():
            around = self._retry_until_stored(partial(self._store.read, start - MOVED, end + MOVED))
            found.append(around.join(frames, on=["received_at", "frame"], how="semi").join(readings, on=OWN, how="anti"))
        points = pl.concat(found).select(OWN).unique()
        for other in STREAMS:
            if other != stream and len(points):
                points = self._not_of(other, points)
        if len(points):
            self._retry_until_stored(partial(self._store.withdraw, points))
            _count(done.withdrawn, _by_terminal(points))
        return stored.join(points, on=OWN, how="anti")

    def _not_of(self, stream: str, points: pl.DataFrame) -> pl.DataFrame:
        """Those of the points that no frame of the stream gives: positions are the same in all streams, receive times may be.

        Where the journal has no more what was there, the point is taken for the stream's.
        """
        places = points.select("frame", pl.col("received_at").dt.epoch("us")).unique()
        begin = next((start for start, _ in segments(self._site.journal / stream)), 0)
        there = places.filter(pl.col("frame").is_between(begin, self._journals.end(stream), closed="left"))
        same = [record for place in there.iter_rows() if (record := self._record(stream, *place))]
        if same:
            points = points.join(self._triage(stream, same).readings, on=OWN, how="anti")
        return points.filter(pl.col("frame") >= begin)

    def _record(self, stream: str, position: int, received_us: int) -> Record | None:
        """The record that was received then, if one begins there."""
        start, path = [(start, path) for start, path in segments(self._site.journal / stream) if start <= position][-1]
        with path.open("rb") as file:
            file.seek(position - start)
            head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            return None
        length, _, at_us, _ = HEADER.unpack(head)
        if at_us != received_us or length > MAX_PAYLOAD:
            return None
        chunk = read(self._site.journal / stream, position, position + HEADER.size + length, 1)
        return next(iter(chunk.records), None)

    def _quarantine(self, entries: Sequence[QuarantineEntry]) -> None:
        if entries:
            counts: Counter[str] = self._retry_until_stored(lambda: add_entries(self._site.quarantine, entries))
            self._counters.quarantined += counts
            for reason, count in counts.items():
                self._limited.warn(reason, f"{count} kept aside in {self._site.quarantine / reason}.jsonl; {entries[0].detail}")

    def _emit_events(self, found: Sequence[AlarmWord]) -> None:
        """Put words into the journal's stream `event`, where the alarm sink finds them."""

        def store() -> None:
            for word in found:
                self._journals.event.append(word.payload(), word.received_us, EVENT_KIND)
            self._journals.event.commit()

        if found:
            self._retry_until_stored(store)

    def _retry_until_stored(self, call: Callable[[], T]) -> T:
        """The call's result, however long the store is away or the disk full. Raises `Stopped` when the daemon stops."""
        wait = WAIT_S[0]
        while True:
            try:
                result = call()
            except JournalBroken:
                raise
            except (StoreAway, OSError) as error:
                self._counters.health["store"] = str(error)
                self._limited.warn("store away", f"{error}; everything stays in the journal, tried again from time to time")
                if self._stopping.wait(wait):
                    raise Stopped from None
                wait = min(wait * 2, WAIT_S[1])
                if self._gives_way and isinstance(error, StoreAway) and self._journals.end(ALARM) > self._positions[ALARM]:
                    raise Overtaken from None
            else:
                self._counters.health["store"] = "ok"
                return result

    def _restore_state(self) -> None:
        """Read the memory and bring it up to date with what was forwarded since it was saved."""
        try:
            state = TerminalState(read_json(self._site.state / "terminals.json"))
        except ValueError as error:
            LOG.warning("%s; made again from the journal", error)
            state = TerminalState()
        for stream in STREAMS:
            while (position := state.positions[stream]) < self._positions[stream]:
                chunk = read(self._site.journal / stream, position, self._positions[stream], GROUP_BYTES)
                if chunk.next_position == position:
                    break  # the segments are gone, forwarded long ago
                if chunk.records:
                    group = self._triage(stream, chunk.records)
                    state.new_alarm_words(group.alarm_words)
                    state.clock_news(group.offsets, chunk.records, self._settings.drift_s)
                    state.note(group.readings)
                state.positions[stream] = chunk.next_position
        self._state = state

    def _save_state(self) -> None:
        self._state.positions = dict(self._positions)
        self._retry_until_stored(lambda: write_json(self._site.state / "terminals.json", self._state.save(), durable=True))
        self._saved_at = time.monotonic()

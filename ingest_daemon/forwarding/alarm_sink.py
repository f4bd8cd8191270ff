"""Alarm events into PostgreSQL `ops.alarm_event`, with cursors of their own: neither data nor the raw store can hold them up.

A code is raised or cleared by the alarm words of a terminal in the order of their time; `ops.alarm_event` tells each change as it
became known. In the same transaction the words are kept in `ops.alarm_word`, and the spans that follow from all of them, whatever
came first, go into the ledger of alarms (`contract/alarm_ledger.py`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl
import psycopg

from ingest_daemon.contract import alarm_ledger
from ingest_daemon.contract.alarm_codes import ALARMS, DEVICE
from ingest_daemon.contract.alarm_ledger import Span, Window
from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.attribution import attribute
from ingest_daemon.forwarding.decoding import decode
from ingest_daemon.forwarding.open_alarms import OpenAlarms
from ingest_daemon.forwarding.postgres_sink import PostgresSink
from ingest_daemon.journal.reader import CURSORS, cursor_path
from ingest_daemon.journal.records import ALARM, EVENT, Record
from ingest_daemon.journal.share import share_of
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.terminals.registry import Registry, Terminal

GROUP_BYTES = 1 << 20
READERS = ("alarm-events", "events")

INSERT = """
insert into ops.alarm_event
    (meter, terminal, code, state, event_at, received_at, value, limit_value, unit, origin, frame)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict do nothing"""

LAST_WORDS = """
select asked.terminal, asked.origin, word.event_at, word.active
from unnest(%s::text[], %s::text[]) as asked (terminal, origin) cross join lateral (
    select event_at, active from ops.alarm_word as known
    where known.terminal = asked.terminal and known.origin = asked.origin order by event_at desc limit 1
) as word"""
"""The newest word of some terminals, of whichever daemon."""

STATE_AT = """
select state from ops.alarm_event
where terminal = %s and code = %s and origin = %s and event_at <= %s order by event_at desc, received_at desc limit 1"""

INSERT_WORD = """
insert into ops.alarm_word as known (terminal, origin, event_at, meter, active, details, received_at, frame)
values (%s, %s, %s, %s, %s, %s, %s, %s)
on conflict (terminal, origin, event_at) do update
set active = excluded.active, details = excluded.details, received_at = excluded.received_at, frame = excluded.frame
where excluded.active > known.active"""
"""Of two words of one moment the one with more alarms counts, whichever came first."""

WORDS_FROM = """
select event_at, active, details, terminal, frame, received_at from ops.alarm_word
where meter = %s and origin = %s and event_at >= coalesce(
    (select max(event_at) from ops.alarm_word where meter = %s and origin = %s and event_at < %s), '-infinity')
order by event_at, terminal"""
"""The words of a meter from the last before a time."""

EVENTS_WITHOUT_WORDS = """
select terminal, origin, event_at, code, state, meter, value, limit_value, received_at, frame
from ops.alarm_event where not exists (select from ops.alarm_word) order by terminal, origin, event_at, state"""

ANY_LATER = "select exists (select from ops.alarm_event where terminal = %s and code = %s and origin = %s and event_at > %s)"


class AlarmWord(NamedTuple):
    """All alarms of a terminal at one moment, from one origin: the codes that are set; all others are clear.

    Times in µs since 1970 UTC; `frame` is the journal position; `values` by code; `limit` where the origin itself gives it.
    """

    terminal: str
    origin: str
    event_us: int
    received_us: int
    frame: int
    active: tuple[str, ...]
    values: Mapping[str, float | None]
    limit: float | None = None

    def payload(self) -> bytes:
        """The word as a record of the journal's stream `event`."""
        return json.dumps(self._asdict()).encode()


def from_payload(payload: bytes) -> AlarmWord:
    """The inverse of `AlarmWord.payload`."""
    fields = json.loads(payload)
    return AlarmWord(**{**fields, "active": tuple(fields["active"])})


def alarm_words(alarms: pl.DataFrame, records: Sequence[Record], repeated: pl.Expr | None = None) -> list[AlarmWord]:
    """The rows of `Decoded.alarms` as words, in order of terminal and time, each only where it differs from the one before.

    `records`: the group that was decoded. `repeated`: rows that are wanted although they say the same as the one before, because
    what was between may have come to another daemon.
    """
    key = pl.col("active").list.sort().list.join(",")
    changed = (key != key.shift()).over("terminal").fill_null(True)
    rows = alarms.sort("terminal", "event_at", "frame").filter(changed if repeated is None else changed | repeated)
    moments = rows["event_at"].dt.epoch("us")
    return [
        AlarmWord(
            row["terminal"],
            DEVICE,
            event_us,
            records[row["frame"]].received_us,
            records[row["frame"]].position,
            tuple(sorted(row["active"])),
            {code: row[alarm.value_field] for code, alarm in ALARMS.items() if alarm.value_field},
        )
        for row, event_us in zip(rows.iter_rows(named=True), moments, strict=True)
    ]


def moment(microseconds: int) -> datetime:
    """µs since 1970 UTC as a time."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


Row = tuple[Any, ...]


class AlarmStateMachine:
    """The codes that are raised, by terminal and origin, and the time of the last word."""

    def __init__(self, last_words: Iterable[tuple[str, str, datetime, Sequence[str]]] = ()) -> None:
        """`last_words`: rows of `LAST_WORDS`."""
        self._raised: dict[tuple[str, str], set[str]] = {}
        self.seen_us: dict[tuple[str, str], int] = {}
        for terminal, origin, event_at, active in last_words:
            self.seen_us[terminal, origin] = round(event_at.timestamp() * 1e6)
            self._raised[terminal, origin] = set(active)

    def is_late(self, word: AlarmWord) -> bool:
        """Whether a later word of the terminal was seen before this one."""
        return word.event_us < self.seen_us.get((word.terminal, word.origin), word.event_us)

    def apply(self, word: AlarmWord) -> list[tuple[str, str]]:
        """Take the word as the newest; returns code and state of each change."""
        key = word.terminal, word.origin
        before, now = self._raised.get(key, set()), set(word.active)
        self._raised[key], self.seen_us[key] = now, word.event_us
        return [(code, "raised") for code in sorted(now - before)] + [(code, "cleared") for code in sorted(before - now)]


def event_row(word: AlarmWord, terminal: Terminal, code: str, state: str, event_us: int) -> Row:
    """One row of `ops.alarm_event`, in the order of `INSERT`."""
    limit = terminal.limit(code) if word.limit is None else word.limit
    times = moment(event_us), moment(word.received_us)
    unit = ALARMS[code].unit if code in ALARMS else ""
    return (terminal.meter, word.terminal, code, state, *times, word.values.get(code), limit, unit, word.origin, word.frame)


class AlarmSink(PostgresSink):
    """Delivers the alarm words of the journal."""

    PART, WAITING = "postgres", "alarm events"

    def __init__(
        self,
        site: Site,
        dsn: str,
        registry: Registry,
        journals: Journals,
        counters: Counters,
        open_alarms: OpenAlarms,
    ) -> None:
        super().__init__("alarm-sink", site, dsn, journals, counters, READERS)
        self._registry, self._open_alarms = registry, open_alarms
        self._has_others = bool(share_of(site))

    def _deliver(self, connection: psycopg.Connection) -> None:
        keep_words(connection, words_of_events(connection.execute(EVENTS_WITHOUT_WORDS).fetchall()))
        connection.commit()
        self._counters.health[self.PART] = "ok"
        while True:
            if self._has_others:
                self._open_alarms.look(connection)
            # In this order: an event of the forwarder that follows from an alarm frame is delivered after that frame.
            ends = {stream: self._journals.end(stream) for stream in (EVENT, ALARM)}
            if any(self._group(connection, name, ends[CURSORS[name]]) for name in READERS):
                continue
            if self._stopping.is_set():
                return
            if not self._journals.wait({ALARM: self._positions["alarm-events"], EVENT: self._positions["events"]}, 1.0):
                connection.execute("select 1")  # a server that went is noticed before the next alarm
                connection.commit()

    def _group(self, connection: psycopg.Connection, name: str, end: int) -> bool:
        stream = CURSORS[name]
        chunk = self._read(name, end, GROUP_BYTES)
        if chunk.next_position == self._positions[name]:
            return False
        registry = self._registry.current
        if stream == EVENT:
            words = [from_payload(record.payload) for record in chunk.records]
        else:
            decoded = decode(chunk.records, registry.profiles)
            alarms = attribute(decoded, chunk.records, registry.terminals).decoded.alarms
            words = alarm_words(alarms, chunk.records, pl.lit(True) if self._has_others else None)
        registered = [(word, registry.terminals[word.terminal]) for word in words if word.terminal in registry.terminals]
        written = insert(connection, registered)
        connection.commit()
        self._counters.alarm_events += written
        write_json(cursor_path(self._site, name), {"position": chunk.next_position}, durable=True)
        self._positions[name] = chunk.next_position
        return True


def insert(connection: psycopg.Connection, words: Sequence[tuple[AlarmWord, Terminal]]) -> int:
    """Write the changes that the words make, without committing; returns the number of new events.

    What was raised before is read anew each time, by one daemon after the other: the last word may have come to another one.
    """
    if not words:
        return 0
    alarm_ledger.lock(connection)
    asked = {(word.terminal, word.origin) for word, _ in words}
    columns = [list(column) for column in zip(*asked, strict=True)]
    states = AlarmStateMachine(connection.execute(LAST_WORDS, columns).fetchall())
    written = 0
    rows: list[Row] = []
    for word, terminal in words:
        if states.is_late(word):
            written += _insert(connection, rows)
            rows = []
            written += _insert(connection, _late_rows(connection, states, word, terminal))
        else:
            rows += [event_row(word, terminal, code, state, word.event_us) for code, state in states.apply(word)]
    written += _insert(connection, rows)
    keep_words(connection, [word_row(word, terminal) for word, terminal in words])
    return written


def _late_rows(connection: psycopg.Connection, states: AlarmStateMachine, word: AlarmWord, terminal: Terminal) -> list[Row]:
    """Events of a word that comes after a later one: its new alarms were raised at its time, and are over by the last word."""
    rows: list[Row] = []
    for code in word.active:
        key = (word.terminal, code, word.origin, moment(word.event_us))
        if connection.execute(STATE_AT, key).fetchone() == ("raised",):
            continue
        rows.append(event_row(word, terminal, code, "raised", word.event_us))
        if connection.execute(ANY_LATER, key).fetchone() == (False,):
            rows.append(event_row(word, terminal, code, "cleared", states.seen_us[word.terminal, word.origin]))
    return rows


def _insert(connection: psycopg.Connection, rows: Sequence[Row]) -> int:
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
        return cursor.rowcount


# --- spans from words ---------------------------------------------------------------------------------------------------------


def word_row(word: AlarmWord, terminal: Terminal) -> Row:
    """One row of `ops.alarm_word`, in the order of `INSERT_WORD`."""
    details = {
        code: [word.values.get(code), terminal.limit(code) if word.limit is None else word.limit] for code in sorted(word.active)
    }
    times = moment(word.event_us), moment(word.received_us)
    return word.terminal, word.origin, times[0], terminal.meter, sorted(word.active), json.dumps(details), times[1], word.frame


def words_of_events(events: Iterable[Row]) -> list[Row]:
    """The rows of `ops.alarm_word` that a version without them would have had. `events`: rows of `EVENTS_WITHOUT_WORDS`."""
    found: dict[Row, Row] = {}
    active: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for terminal, origin, event_at, code, state, meter, value, limit, received_at, frame in events:
        own = active.setdefault((terminal, origin), {})
        own.pop(code, None)
        if state == "raised":
            own[code] = [value, limit]
        key = terminal, origin, event_at
        found[key] = (*key, meter, sorted(own), json.dumps(own), received_at, frame)
    return list(found.values())


def keep_words(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Keep words (`word_row`) and bring the spans of the ledger to what all words say, without committing."""
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_WORD, rows)
    since: dict[tuple[str, str], datetime] = {}
    for _, origin, event_at, meter, *_ in rows:
        since[meter, origin] = min(event_at, since.get((meter, origin), event_at))
    for (meter, origin), first_at in since.items():
        _follow(connection, meter, origin, first_at)


def _follow(connection: psycopg.Connection, meter: str, origin: str, first_at: datetime) -> None:
    words = connection.execute(WORDS_FROM, [meter, origin, meter, origin, first_at]).fetchall()
    for code in sorted({code for _, active, *_ in words for code in active} & ALARMS.keys()):
        known = alarm_ledger.spans_between(connection, code, [meter], words[0][0], alarm_ledger.FOREVER, origin)
        begin = min([words[0][0], *(span.started_at for span in known)])
        own = connection.execute(WORDS_FROM, [meter, origin, meter, origin, begin]).fetchall() if begin < words[0][0] else words
        own = [word for word in own if word[0] >= begin]
        window = Window(meter, begin, alarm_ledger.FOREVER)
        spans = [span for span in spans_of(meter, code, origin, own) if span.until > begin]
        alarm_ledger.replace_spans(connection, code, origin, [window], spans, by="daemon")


def spans_of(meter: str, code: str, origin: str, words: Iterable[Row]) -> list[Span]:
    """From the first word with the code to the next without it, of the rows of `WORDS_FROM`."""
    spans: list[Span] = []
    is_open = False
    for event_at, active, details, terminal, frame, received_at in words:
        if code in active and not is_open:
            value, limit = details.get(code, (None, None))
            spans.append(Span(meter, code, origin, event_at, None, value, limit, ALARMS[code].unit, terminal, frame, received_at))
        elif code not in active and is_open:
            spans[-1] = spans[-1]._replace(ended_at=event_at)
        is_open = code in active
    return spans

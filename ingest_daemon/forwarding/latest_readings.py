"""The newest reading of each terminal in PostgreSQL `ops.latest_reading`, seconds after its frame, whatever else is away.

A thread of its own, with cursors of its own: neither the raw store nor a computation of figures holds it up. It takes what the
forwarder decoded, and decodes by itself only where the forwarder is late, because the raw store is slow or away.

Newest is by device time: a late old reading replaces nothing; of two readings for one time the later arrival wins field by field,
as in the raw store. While PostgreSQL is away the newest readings are kept in `state/`, so that the journal need not keep what is
forwarded already; what is not forwarded yet stays in the journal.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psycopg

from ingest_daemon.contract.files import rebuilt_json, set_aside, write_json, write_parquet
from ingest_daemon.contract.latest_reading import COLUMNS, FIELD_NAMES
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.handover import Handover, newest
from ingest_daemon.forwarding.postgres_sink import PostgresSink
from ingest_daemon.forwarding.replay import ReplayRange, replayed
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.triage import TimeLimits, triage
from ingest_daemon.journal.reader import CURSORS, cursor_path, segments
from ingest_daemon.journal.records import STRANGER, Record
from ingest_daemon.journal.share import share_of, shared_stream
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.terminals.registry import Registry

READERS = ("latest-alarm", "latest-data")
GROUP_BYTES = 4 << 20
GROUPS = 8
"""Groups of each stream between two deliveries while a backlog is read."""
GATHER_S = 0.5
"""After a silence the first frame waits this long for others."""
PATIENCE_S = 1.5
"""The forwarder has this long to hand over what came; then it is decoded here."""
CURSOR_S = 2.0
"""Seconds between two moves of the cursors; what is read twice after a kill changes nothing."""
PENDING_S = 1.0
"""Seconds between two moves of the cursors while PostgreSQL is away."""
UPSERT_ROWS = 10_000
REBUILD_FRAMES = 5000
"""Old frames that are decoded between two deliveries."""

_MERGED = "{0} = case when excluded.ts = present.ts then coalesce(excluded.{0}, present.{0}) else excluded.{0} end"

UPSERT = f"""
insert into ops.latest_reading as present ({", ".join(COLUMNS)}, updated_at)
select *, now() from unnest({", ".join(f"%s::{COLUMNS[name]}[]" for name in COLUMNS)})
on conflict (terminal) do update set
    {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in FIELD_NAMES and name != "terminal")},
    {", ".join(_MERGED.format(name) for name in FIELD_NAMES)},
    updated_at = excluded.updated_at
where excluded.ts > present.ts
    or (excluded.ts = present.ts and (excluded.received_at, excluded.frame) > (present.received_at, present.frame))"""

FORGET = """
delete from ops.latest_reading
where stream = %s and frame >= %s and frame < %s and received_at >= to_timestamp(%s / 1e6) and (terminal = %s or %s = '')"""


def request_rebuild(site: Site, span: ReplayRange | None) -> None:
    """Have the rows made again of old frames: of a replayed span, or (None) of adopted frames. Raises `OSError`.

    A request that waits already is widened to everything.
    """
    path = _rebuild_path(site)
    wanted = asdict(span or ReplayRange(streams=(STRANGER,))) | {"is_replay": span is not None}
    if waiting := _waiting_rebuild(path):
        wanted = asdict(ReplayRange()) | {"is_replay": wanted["is_replay"] or waiting[1]}
    write_json(path, wanted, durable=True)


def _waiting_rebuild(path: Path) -> tuple[ReplayRange, bool] | None:
    """The range of the request that waits, and whether it is of a replay; everything where the request is damaged."""
    is_there = path.exists()
    return rebuilt_json(path, _asked, "all of it is made again") or ((ReplayRange(), True) if is_there else None)


def _asked(request: Mapping[str, Any]) -> tuple[ReplayRange, bool]:
    span = {name: value for name, value in request.items() if name != "is_replay"}
    return ReplayRange(**{**span, "streams": tuple(request["streams"])}), bool(request["is_replay"])


def _rebuild_path(site: Site) -> Path:
    return site.state / "latest-rebuild.json"


class _Rebuild(NamedTuple):
    """A rebuild in progress: its range, positions where it ends, and the frames still to be decoded."""

    span: ReplayRange
    is_replay: bool
    ends: dict[str, int]
    frames: Iterator[tuple[str, Record]]


class LatestReadings(PostgresSink):
    """Delivers the newest reading of each terminal."""

    PART, WAITING = "latest_readings", "latest readings"

    def __init__(
        self,
        site: Site,
        dsn: str,
        settings: TimeSettings,
        registry: Registry,
        journals: Journals,
        counters: Counters,
        handover: Handover,
    ) -> None:
        super().__init__("latest-readings", site, dsn, journals, counters, READERS)
        self._settings, self._registry, self._handover = settings, registry, handover
        self._share = share_of(site)
        self._due = dict.fromkeys(READERS, (0, 0.0))
        """Position up to which the forwarder should have handed over, and since when it was waited for."""
        self._pending_path = site.state / "latest-readings.parquet"
        self._pending = pl.DataFrame(schema=READING)
        self._saved = dict(self._positions)
        """Positions of the cursors on disk."""
        self._saved_s = time.monotonic()
        self._rebuild: _Rebuild | None = None
        self._rebuilt = self._pending
        if self._pending_path.exists():
            try:
                self._pending = pl.read_parquet(self._pending_path, glob=False).select(*READING)
            except (OSError, pl.exceptions.PolarsError) as error:
                LOG.warning(
                    "%s cannot be read (%s): all latest readings are made again from the journal", self._pending_path, error
                )
                request_rebuild(site, ReplayRange())
                set_aside(self._pending_path)

    def position(self, stream: str) -> int:
        """Position before which this thread needs nothing more of a stream, not even after a kill."""
        return min(position for reader, position in self._saved.items() if CURSORS[reader] == stream)

    def _deliver(self, connection: psycopg.Connection) -> None:
        self._counters.health[self.PART] = "ok"
        self._rebuild = None
        while True:
            more = self._gather(is_needed=True)
            if len(self._pending):
                upsert(connection, self._pending, self._registry)
                connection.commit()
                self._pending = self._pending.clear()
            stopping = self._stopping.is_set()
            if stopping or time.monotonic() - self._saved_s > CURSOR_S:
                self._save_cursors()
                self._pending_path.unlink(missing_ok=True)
            if more or (not stopping and self._rebuild_step(connection)):
                continue
            if stopping:
                return
            streams = {CURSORS[reader]: position for reader, position in self._positions.items()}
            if self._journals.wait(streams, 1.0):
                self._stopping.wait(GATHER_S)
            else:
                connection.execute("select 1")  # a server that went is noticed before the next reading
                connection.commit()

    def _while_away(self) -> None:
        while self._gather(is_needed=False) and not self._stopping.is_set():
            pass
        if self._positions != self._saved and time.monotonic() - self._saved_s > PENDING_S:
            write_parquet(self._pending_path, self._pending)
            self._save_cursors()

    def _save_cursors(self) -> None:
        for reader, position in self._positions.items():
            if position != self._saved[reader]:
                write_json(cursor_path(self._site, reader), {"position": position}, durable=True)
                self._saved[reader] = position
        self._saved_s = time.monotonic()

    def _gather(self, *, is_needed: bool) -> bool:
        """Take what the forwarder handed over, and read some groups that it did not; whether there are more.

        `is_needed`: read also what the forwarder has still to forward, where it is late or the daemon stops.
        """
        more = False
        for reader in READERS:
            stream = CURSORS[reader]
            if span := self._handover.take(stream, self._positions[reader]):
                self._add(span.readings)
                self._positions[reader] = span.end
            end = self._own_end(reader, is_needed=is_needed)
            for _ in range(GROUPS):
                chunk = self._read(reader, end, GROUP_BYTES)
                if chunk.next_position == self._positions[reader]:
                    break
                if chunk.records:
                    self._add(self._readings(stream, chunk.records))
                self._positions[reader] = chunk.next_position
            more = more or self._positions[reader] < end
        return more

    def _own_end(self, reader: str, *, is_needed: bool) -> int:
        """Position up to which this thread decodes by itself."""
        position, now_s = self._positions[reader], time.monotonic()
        end = self._journals.end(CURSORS[reader])
        if is_needed and self._stopping.is_set():
            return end
        due, since_s = self._due[reader]
        if position >= due:
            self._due[reader] = end, now_s
        elif is_needed and now_s - since_s > PATIENCE_S:
            return end
        return max(position, min(self._handover.begin(CURSORS[reader]), end))

    def _add(self, readings: pl.DataFrame) -> None:
        """Add readings to the pending ones."""
        self._pending = newest(pl.concat([self._pending, readings]))
        if self._rebuild:  # the row that it withdraws may have been newer than this reading
            self._rebuilt = newest(pl.concat([self._rebuilt, readings]))

    def _readings(self, stream: str, records: Sequence[Record]) -> pl.DataFrame:
        """What the frames say of registered terminals and may be believed."""
        registry = self._registry.current
        limits = TimeLimits.of(self._settings, datetime.now(UTC) if self._rebuild else None)
        group = triage(stream, records, registry.terminals, registry.profiles, limits, self._share)
        return group.readings.select(*READING)

    def _rebuild_step(self, connection: psycopg.Connection) -> bool:
        """Go on with a rebuild, if one is wanted; whether there is more of it."""
        rebuild = self._rebuild or self._begin_rebuild()
        if rebuild is None:
            return False
        self._rebuild = rebuild
        batch = list(islice(rebuild.frames, REBUILD_FRAMES))
        for stream, group in groupby(batch, key=lambda source: source[0]):
            readings = self._readings(stream, [record for _, record in group])
            self._rebuilt = newest(pl.concat([self._rebuilt, readings]))
        if batch:
            return True
        if rebuild.is_replay:
            # Rows of frames that the journal has no more are left: nothing could take their place.
            for stream in rebuild.span.streams:
                begin = next((start for start, _ in segments(self._site.journal / stream)), 0)
                begin, span = max(begin, rebuild.span.begin), rebuild.span
                positions = (shared_stream(self._share, stream), begin, rebuild.ends[stream])
                connection.execute(FORGET, (*positions, span.from_us, span.terminal, span.terminal))
        upsert(connection, self._rebuilt, self._registry)
        connection.commit()
        _rebuild_path(self._site).unlink(missing_ok=True)
        self._rebuild = None
        return False

    def _begin_rebuild(self) -> _Rebuild | None:
        request = _waiting_rebuild(_rebuild_path(self._site))
        if request is None:
            return None
        asked, is_replay = request
        # To the end: a reading that comes after the span may take the place of one in it.
        span = replace(asked, to_us=ReplayRange().to_us, end=ReplayRange().end)
        ends = {CURSORS[reader]: position for reader, position in self._positions.items()}
        ends[STRANGER] = self._journals.end(STRANGER)
        self._rebuilt = pl.DataFrame(schema=READING)
        return _Rebuild(span, is_replay, ends, replayed(self._site, span, ends))


def upsert(connection: psycopg.Connection, readings: pl.DataFrame, registry: Registry) -> None:
    """Put readings (one a terminal) into the table where they are newer, without committing."""
    terminals = registry.terminals()
    meters = [terminals[number].meter if number in terminals else None for number in readings["terminal"]]
    rows = readings.with_columns(meter=pl.Series(meters, dtype=pl.String)).drop_nulls("meter").select(*COLUMNS)
    for part in rows.iter_slices(UPSERT_ROWS):
        connection.execute(UPSERT, [column.to_list() for column in part.iter_columns()])

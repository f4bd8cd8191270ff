"""One sync of a source: rows of its tables → frames → the daemon → the mark of what is imported.

A batch is sent, acknowledged once it is safe on disk, and only then counts as imported. So a kill at any moment loses nothing,
and what is sent twice is the same reading. A row that came late or was corrected is found by its time of writing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from ingest_daemon.amr import alarms, conversion, state, tag_map
from ingest_daemon.amr.errors import AmrError
from ingest_daemon.amr.sender import Sender
from ingest_daemon.amr.settings import SourceSettings
from ingest_daemon.amr.state import WRITTEN, UnknownCode, UnmappedTag
from ingest_daemon.amr.tables import ALARM, READING, Mark, SourceTable, opened
from ingest_daemon.codecs import amr
from ingest_daemon.contract import locks
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.terminals.registry import Registry

BEGINNING = "1900-01-01 00:00:00"


class Imported(NamedTuple):
    """What a sync did: readings and alarm changes sent, rows refused, rows without a terminal, and since when nothing came."""

    readings: int
    alarms: int
    refused: int
    unmapped: int
    late_by: timedelta | None


Progress = Callable[[int], None]
"""Called with the readings sent so far."""


def sync(settings: Settings, source: SourceSettings, progress: Progress = lambda _: None) -> Imported:
    """Import what is new, late or corrected. Raises `AmrError`, `OSError`, `ValueError`."""
    site = settings.folder
    with taken_lock(site, source.name), Sender(site) as sender, opened(source.connection, source.name) as session:
        sync_ = _Sync(settings, source, sender, progress)
        sync_.readings(SourceTable(session, source.reading_table, READING, source.batch))
        if source.alarm_table:
            sync_.alarms(SourceTable(session, source.alarm_table, ALARM, source.batch))
        return sync_.finish()


@contextmanager
def taken_lock(site: Site, source: str) -> Iterator[None]:
    """The right to change what is known of a source. Raises `AmrError` where another process has it."""
    lock = locks.take(state.folder(site) / f"{source}.lock")
    if lock is None:
        raise AmrError(f"source {source} is being synced or purged by another process; wait for its end")
    try:
        yield
    finally:
        os.close(lock)


def zone_of(settings: Settings, source: SourceSettings) -> str:
    """The zone of the source's times without an offset."""
    return source.zone or str(settings.zone)


def registered_map(settings: Settings, source: SourceSettings) -> tag_map.TagMap:
    """The map of the source to terminals that the daemon has in force."""
    return tag_map.load(settings.folder, source.name, str(settings.zone), Registry(settings.folder).terminals())


class _Sync:
    """The parts of a sync, in the order of `sync`."""

    def __init__(self, settings: Settings, source: SourceSettings, sender: Sender, progress: Progress) -> None:
        self._site, self._source, self._sender, self._progress = settings.folder, source, sender, progress
        self._zone, self._now = zone_of(settings, source), datetime.now(UTC)
        self._tags = registered_map(settings, source)
        self._state = state.load(self._site, source.name)
        self._state.last_new_at = self._state.last_new_at or state.now_text()
        self._sent = self._changes = self._refused = 0
        self._due = [name for name, tag in self._state.tags.items() if self._tags.digest(name) not in ("", tag.tried)]
        """Tags that waited and are in the map now, or otherwise than before."""
        for name in self._due:
            self._state.tags[name] = UnmappedTag(self._state.tags[name].first_seen)

    def readings(self, table: SourceTable) -> None:
        """Send the readings."""
        mark, seen = self._state.readings, _Seen(state.load_seen(self._site, self._source.name, "readings"))
        for name in self._due:
            for page in table.of_tag(name, mark.row_id):
                self._take_readings(page)
        for page in chain(table.late(mark.row_id, self._since(mark)), table.new(mark.row_id)):
            fresh = seen.fresh(page)
            self._take_readings(fresh)
            seen.note(fresh)
            self._state.readings = _marked(self._state.readings, page)
            self._save()
        self._save()
        state.save_seen(self._site, self._source.name, "readings", seen.since(self._since(self._state.readings)))

    def alarms(self, table: SourceTable) -> None:
        """Send the alarms of each tag of which a row is new or changed."""
        before, mark = self._state.alarms, self._state.alarms
        seen = _Seen(state.load_seen(self._site, self._source.name, "alarms"))
        since = dict.fromkeys(self._due, datetime.fromtimestamp(0, UTC))
        for page in chain(table.late(mark.row_id, self._since(mark)), table.new(mark.row_id)):
            fresh = seen.fresh(page)
            found = alarms.typed(fresh, self._zone)
            begun = alarms.begun(found.rows, self._now)
            waiting = found.rows.join(begun, on="row_id", how="anti")["row_id"]
            seen.note(fresh.filter(~pl.col("row_id").cast(pl.Int64).is_in(waiting.implode())))
            self._refuse(found.refused)
            self._note_codes(begun.filter(pl.col("row_id") > before.row_id))
            for name, raised_at in begun.select("tag", "raised_at").iter_rows():
                since[name] = min(raised_at, since.get(name, raised_at))
            mark = _marked(mark, page)
        for name, first_at in since.items():
            self._take_alarms(pl.concat([pl.DataFrame(schema=alarms.ALARM_ROWS), *self._alarms_of(table, name, mark)]), first_at)
        self._state.alarms = mark
        self._save()
        state.save_seen(self._site, self._source.name, "alarms", seen.since(""))

    def finish(self) -> Imported:
        """Note which maps were tried, and what the sync did."""
        for name in self._due:
            tag = self._state.tags[name]
            tag.tried = self._tags.digest(name)
            if not tag.readings and not tag.alarms:
                del self._state.tags[name]
        self._save()
        unmapped = sum(tag.readings + tag.alarms for tag in self._state.tags.values())
        late_by = self._state.late_by(self._source, self._now)
        return Imported(self._sent, self._changes, self._refused, unmapped, late_by)

    def _save(self) -> None:
        state.save(self._site, self._source.name, self._state)

    def _since(self, mark: Mark) -> str:
        """Rows written from then on are looked at again. A time to come does not count: it would hide the others."""
        if not mark.written_at:
            return BEGINNING
        now = f"{self._now.astimezone(ZoneInfo(self._zone)):{WRITTEN}}"
        newest = datetime.strptime(min(mark.written_at, now), WRITTEN)
        return f"{max(newest - timedelta(minutes=self._source.overlap_min), datetime(1900, 1, 1)):{WRITTEN}}"

    def _take_readings(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        self._state.last_new_at = state.now_text()
        found = conversion.readings(rows, self._source, self._zone)
        self._refuse(found.refused)
        mapped = self._tags.with_terminals(found.rows, "ts")
        for (name,), part in mapped.filter(pl.col("terminal").is_null()).group_by("tag"):
            self._state.tag(str(name)).count_readings(part["row_id"])
        frames: list[bytes] = []
        for (terminal,), part in mapped.drop_nulls("terminal").group_by("terminal", maintain_order=True):
            frames += amr.readings_frames(str(terminal), part, len(frames))
            self._sent += part.height
        self._sender.send(frames)
        self._progress(self._sent)

    def _alarms_of(self, table: SourceTable, name: str, mark: Mark) -> Iterator[pl.DataFrame]:
        for page in table.of_tag(name, mark.row_id):
            yield alarms.begun(alarms.typed(page, self._zone).rows, self._now)

    def _take_alarms(self, rows: pl.DataFrame, since: datetime) -> None:
        """Send the changes of one tag's alarms (`alarms.ALARM_ROWS`) from a time on."""
        mapped = self._tags.with_terminals(rows, "raised_at")
        for (name,), part in mapped.filter(pl.col("terminal").is_null()).group_by("tag"):
            self._state.tag(str(name)).count_alarms(part["row_id"])
        frames: list[bytes] = []
        for (terminal,), part in mapped.drop_nulls("terminal").group_by("terminal", maintain_order=True):
            for event_at, active in alarms.words(part, since, self._source, self._tags):
                frames.append(amr.alarms_frame(str(terminal), event_at, active, len(frames)))
        self._changes += len(frames)
        self._sender.send(frames)

    def _refuse(self, rows: pl.DataFrame) -> None:
        self._refused += rows.height
        self._state.refuse(rows)
        for row_id, name, reason in rows.head(state.SHOWN).iter_rows():
            LOG.warning("source %s, row %d of tag %r is not used: %s", self._source.name, row_id, name, reason)

    def _note_codes(self, rows: pl.DataFrame) -> None:
        for code, text in rows.select("code", "text").iter_rows():
            if self._tags.alarm(code) == tag_map.OTHER:
                known = self._state.codes.setdefault(code, UnknownCode(state.now_text()))
                known.rows, known.text = known.rows + 1, text or known.text


def _marked(mark: Mark, page: pl.DataFrame) -> Mark:
    row_id, written_at = state.identified(page).select(pl.col("row_id", "written_at").max()).row(0)
    return Mark(max(mark.row_id, row_id or 0), max(mark.written_at, written_at or ""))


class _Seen:
    """The rows that were sent: of a page only those are taken that are new or have changed."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows, self._known = [rows], rows.select(pl.struct("row_id", "digest")).to_series()

    def fresh(self, page: pl.DataFrame) -> pl.DataFrame:
        """The rows of a page that were not seen as they are."""
        own = state.identified(page)
        is_fresh = ~own.select(is_known=pl.struct("row_id", "digest").is_in(self._known.implode())).to_series()
        return page.filter(is_fresh)

    def note(self, rows: pl.DataFrame) -> None:
        """Rows are seen as they are now."""
        self._rows.append(state.identified(rows))

    def since(self, written_at: str) -> pl.DataFrame:
        """The newest of each row that was written since a time, or has no time."""
        rows = pl.concat(self._rows).filter(pl.col("written_at").fill_null("") >= written_at)
        return rows.unique("row_id", keep="last", maintain_order=True)

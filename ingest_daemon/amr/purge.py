"""Old rows of a source's tables are deleted once they are imported for certain."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from ingest_daemon.amr import alarms, conversion, state, tag_map
from ingest_daemon.amr.errors import AmrError
from ingest_daemon.amr.importer import registered_map, taken_lock, zone_of
from ingest_daemon.amr.settings import SourceSettings
from ingest_daemon.amr.tables import ALARM, READING, SourceTable, opened
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.schema import FIELDS
from ingest_daemon.contract.settings import Settings
from ingest_daemon.journal.reader import backlog
from ingest_daemon.stores import RawStore, open_store
from ingest_daemon.stores.settings import StoreSettings


class Purged(NamedTuple):
    """Rows of readings and alarms that were deleted (or would be), and old ones that stay: they are not imported for certain."""

    readings: int
    alarms: int
    kept: int


def purge(settings: Settings, source: SourceSettings, *, dry_run: bool = False) -> Purged:
    """Delete the old rows whose readings are in the raw store, and those of alarms that are over and delivered.

    A row without a terminal, one that was refused, and one that was never imported stay, however old. Raises `AmrError`,
    `StoreAway`, `OSError`, `ValueError`.
    """
    if not source.purge_connection:
        raise AmrError(
            f"source {source.name} has no purge_connection in [amr] sources: expected the connection string of a role that "
            "may delete"
        )
    with taken_lock(settings.folder, source.name), opened(source.purge_connection, source.name, writes=not dry_run) as session:
        purge_ = _Purge(settings, source, dry_run=dry_run)
        readings, kept = purge_.readings(SourceTable(session, source.reading_table, READING, source.batch))
        over = kept_alarms = 0
        if source.alarm_table:
            over, kept_alarms = purge_.alarms(SourceTable(session, source.alarm_table, ALARM, source.batch))
    done = Purged(readings, over, kept + kept_alarms)
    verb = "would be deleted" if dry_run else "are deleted"
    LOG.info("source %s: %d readings and %d alarms %s, %d old rows stay", source.name, readings, over, verb, done.kept)
    return done


class _Purge:
    def __init__(self, settings: Settings, source: SourceSettings, *, dry_run: bool) -> None:
        self._settings, self._source, self._dry_run = settings, source, dry_run
        self._zone = zone_of(settings, source)
        self._limit = datetime.now(UTC) - timedelta(days=source.purge_days)
        self._limit_text = f"{self._limit.astimezone(ZoneInfo(self._zone)):{state.WRITTEN}}"
        self._state = state.load(settings.folder, source.name)
        self._tags: tag_map.TagMap = registered_map(settings, source)

    def readings(self, table: SourceTable) -> tuple[int, int]:
        """Rows that went, and old ones that stay."""
        store, gone, kept = open_store(self._settings.folder, self._settings[StoreSettings]), 0, 0
        for page in table.old(self._state.readings.row_id, self._limit_text):
            found = conversion.readings(page, self._source, self._zone).rows.filter(pl.col("ts") < self._limit)
            written = state.identified(page).select("row_id", "written_at")
            mapped = self._tags.with_terminals(found, "ts").drop_nulls("terminal").join(written, on="row_id")
            sure = [row_id for part in _by_day(mapped) for row_id in _stored(store, part)]
            gone += self._delete(table, sure)
            kept += page.height - len(sure)
        return gone, kept

    def alarms(self, table: SourceTable) -> tuple[int, int]:
        """Rows that went, and old ones that stay: none goes while alarms wait in the journal for PostgreSQL."""
        is_delivered = not backlog(self._settings.folder)["alarm-events"]
        sent, gone, kept = state.load_seen(self._settings.folder, self._source.name, "alarms"), 0, 0
        for page in table.old(self._state.alarms.row_id, self._limit_text):
            is_over = pl.col("cleared_at") < self._limit
            found = alarms.typed(page, self._zone).rows.filter(is_over)
            mapped = self._tags.with_terminals(found, "raised_at").drop_nulls("terminal")
            as_sent = state.identified(page).join(sent, on=["row_id", "digest"]).join(mapped, on="row_id")
            sure = as_sent["row_id"].to_list() if is_delivered else []
            gone += self._delete(table, sure)
            kept += page.height - len(sure)
        return gone, kept

    def _delete(self, table: SourceTable, row_ids: list[int]) -> int:
        return len(row_ids) if self._dry_run else table.delete(row_ids, self._limit_text)


def _by_day(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of each day apart, so that one look at the store is of one day."""
    for _, part in rows.group_by(pl.col("ts").dt.date(), maintain_order=True):
        yield part


def _stored(store: RawStore, rows: pl.DataFrame) -> list[int]:
    """The rows (of one day) whose values the raw store has.

    Of several rows of one reading the last counts: where the store has that one, the others were corrected by it. A row that was
    changed since it was imported differs, and stays until that is imported, too.
    """
    names = [field.name for field in FIELDS]
    there = store.read(
        rows["ts"].min(),  # type: ignore[arg-type]
        rows["ts"].max(),  # type: ignore[arg-type]
        columns=["terminal", "ts", *names],
        terminals=set(rows["terminal"]),
    )
    held = (
        rows.with_columns(pl.col("ts").dt.truncate("1ms"))
        .join(there.with_columns(pl.col("ts").cast(rows["ts"].dtype)), on=["terminal", "ts"], suffix="_there")
        .sort("written_at", "row_id", nulls_last=False)
    )
    is_there = pl.all_horizontal(pl.col(name).is_null() | pl.col(f"{name}_there").is_not_null() for name in names)
    is_same = pl.all_horizontal(pl.col(name).is_null() | (pl.col(name) == pl.col(f"{name}_there")) for name in names)
    is_sure = is_there & is_same.fill_null(False).last().over("terminal", "ts")
    return held.filter(is_sure)["row_id"].to_list()

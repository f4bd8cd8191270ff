"""Where the results of a group of frames go: raw store, quarantine, stream `event` of the journal, files in `state/`."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.schema import READING, Reason
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.alarm_sink import AlarmWord
from ingest_daemon.forwarding.quarantine import QuarantineEntry, add_entries
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.triage import quarantine_entry
from ingest_daemon.journal.records import EVENT_KIND, JournalBroken, Record
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.stores import RawStore, StoreAway
from ingest_daemon.stores.points import KEY, spans

WAIT_S = (0.5, 30.0)
"""First and longest pause before the store is tried again."""

T = TypeVar("T")


class Stopped(Exception):
    """The daemon stops while a call waits for the store."""


class Overtaken(Exception):
    """Alarms came while data waited for the store: they go first."""


class Sinks:
    """Each call returns when its result is durable, however long the store is away or the disk full.

    Raises `Stopped` when the daemon stops, and `Overtaken` when `gives_way` says so while the store is away.
    """

    def __init__(
        self,
        site: Site,
        settings: TimeSettings,
        store: RawStore,
        journals: Journals,
        counters: Counters,
        stopping: threading.Event,
    ) -> None:
        self.gives_way: Callable[[], bool] = lambda: False
        self.log = RateLimitedLog()
        self._budget = settings.quarantine_mb << 20
        self._site, self._store, self._journals, self._counters, self._stopping = site, store, journals, counters, stopping

    def write(self, stream: str, records: Sequence[Record], readings: pl.DataFrame) -> pl.DataFrame:
        """Store readings (columns of `READING`, and `index`: their record); quarantines and returns those that are refused."""
        refused = self.retry(partial(self._store.write, readings.select(*READING)))
        if len(refused):
            indices = readings.select(*KEY, "frame", "index").unique([*KEY, "frame"])
            rows = refused.join(indices, on=[*KEY, "frame"], how="left", nulls_equal=True, maintain_order="left")
            self.quarantine(
                [
                    quarantine_entry(Reason.STORE_REFUSED, stream, records, index, terminal, ts, detail)
                    for index, terminal, ts, detail in rows.select("index", "terminal", "ts", "detail").iter_rows()
                ]
            )
        self._counters.readings += len(readings) - len(refused)
        return refused

    def read(self, readings: pl.DataFrame) -> pl.DataFrame:
        """The stored points at the keys of the readings (at least one)."""
        keys = readings.select(KEY).unique()
        terminals = keys["terminal"].unique().to_list()
        ranges = [self.retry(partial(self._store.read, *span, terminals=terminals)) for span in spans(readings["ts"]).iter_rows()]
        return pl.concat([stored.join(keys, on=KEY, how="semi") for stored in ranges]).select(*READING)

    def quarantine(self, entries: Sequence[QuarantineEntry]) -> None:
        """Keep entries in the quarantine, count and log them."""
        if entries:
            folder = self._site.quarantine
            counts, dropped = self.retry(lambda: add_entries(folder, entries, self._budget))
            self._counters.quarantined += counts
            self._counters.quarantine_dropped += dropped
            for reason, count in dropped.items():
                text = f"{folder} has used its budget ([daemon] quarantine_mb): {count} oldest entries of {reason}.jsonl dropped"
                self.log.warn(f"quarantine {reason}", text)
            for reason, count in counts.items():
                self.log.warn(reason, f"{count} kept aside in {folder / reason}.jsonl; {entries[0].detail}")

    def emit_events(self, words: Sequence[AlarmWord]) -> None:
        """Append words to the stream `event`, where the alarm sink reads them."""

        def append() -> None:
            for word in words:
                self._journals.event.append(word.payload(), word.received_us, EVENT_KIND)
            self._journals.event.commit()

        if words:
            self.retry(append)

    def save(self, path: Path, value: Any) -> None:
        """Replace a JSON file durably."""
        self.retry(lambda: write_json(path, value, durable=True))

    def retry(self, call: Callable[[], T]) -> T:
        """The result of a call, which is repeated while the store is away or the disk full."""
        wait = WAIT_S[0]
        while True:
            try:
                result = call()
            except JournalBroken:
                raise
            except (StoreAway, OSError) as error:
                self._counters.health["store"] = str(error)
                self.log.warn("store away", f"{error}; everything stays in the journal, tried again from time to time")
                if self._stopping.wait(wait):
                    raise Stopped from None
                wait = min(wait * 2, WAIT_S[1])
                if isinstance(error, StoreAway) and self.gives_way():
                    raise Overtaken from None
            else:
                self._counters.health["store"] = "ok"
                return result

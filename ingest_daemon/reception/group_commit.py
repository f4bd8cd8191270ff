"""Group commit as the event loop sees it: records go to the journal, receipts come back once the records are safe on disk."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.journal.records import FRAME_KIND, JournalPosition
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.reception.flow_control import FlowControl

Receipt = tuple[Callable[[Any], None], Any]
"""A function, and the argument it is called with once its record is safe on disk (None instead: the record was refused)."""


class GroupCommit:
    """Journals records in one group a turn of the event loop, and calls the receipts of each committed group."""

    def __init__(self, journals: Journals, counters: Counters, log: RateLimitedLog) -> None:
        self._journals, self._counters, self._log = journals, counters, log
        self._is_scheduled = False
        self.flow_control = FlowControl(lambda: journals.pending_bytes)
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Bind to the running event loop; before any record is appended."""
        self._loop = asyncio.get_running_loop()

    def append(
        self, stream: str, payload: bytes, received_us: int, kind: int = FRAME_KIND, receipt: Receipt | None = None
    ) -> None:
        """Journal a record in one group with the other records of this turn of the event loop.

        A commit in the middle of a turn would make groups of a few frames: each costs a sync and two thread switches.
        """
        self._journals.append(stream, payload, received_us, kind, receipt)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._commit)

    def next_position(self, stream: str) -> JournalPosition:
        """A position of a stream that no record appended from now on comes before."""
        return stream, self._journals.end(stream)

    def settled(self, stream: str, count: int, receipts: list[Any], refusal: str) -> None:
        """A group is safe on disk, or refused for the reason given; called in the journal's thread."""
        self._loop.call_soon_threadsafe(self._deliver, stream, count, receipts, refusal)

    def _commit(self) -> None:
        self._is_scheduled = False
        self._journals.commit_soon()

    def _deliver(self, stream: str, count: int, receipts: Sequence[Receipt], refusal: str) -> None:
        self._counters.health["journal"] = refusal or "ok"
        if refusal:
            self._counters.refused += count
        else:
            self._counters.frames[stream] += count
            self._counters.acknowledged += len(receipts)
        for function, argument in receipts:
            self._call(function, None if refusal else argument)
        self.flow_control.committed()

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call one receipt; an error in it does not reach the other receipts."""
        try:
            function(argument)
        except Exception as error:
            self._log.warn("receipt", f"{type(error).__name__}: {error}; the frame is safe, what was to follow is not done")

"""Writing the journal: segments, group commit, disk budgets.

A stream is a folder of segments, each named by the position of its first byte; the position of a record is its byte offset
since the stream began and never changes. The last streams in `Journals` have budgets of their own, so that what strangers send
neither stops acknowledgements nor pushes out what meters sent.
"""

import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ingest_daemon.contract.files import sync_folder
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import CURSORS, read_cursor, segments
from ingest_daemon.journal.records import (
    _SUFFIX,
    ALARM,
    BAD,
    DATA,
    EVENT,
    FRAME_KIND,
    HEADER,
    MAX_PAYLOAD,
    PART,
    STRANGER,
    Gap,
    JournalBroken,
    JournalRefused,
    _parse,
    pack,
)

OWN, ASIDE = (ALARM, DATA, PART), (STRANGER, BAD)
"""Streams of what no registered terminal sent. Beyond its budget such a stream drops its oldest segments."""

DISK_SHARE = {"journal": 0.5, "aside": 0.1}
"""Largest share of the whole disk that the streams of meters together, or one of `ASIDE`, may take, whatever the settings say."""


class Journal:
    """One stream, open for appending. `append` may be called by any thread; `commit` by one at a time."""

    def __init__(self, folder: Path, segment_bytes: int, begin: int = 0) -> None:
        """Open or create the stream. A torn tail is cut off, put beside (`<position>.torn`) and listed in `repaired`.

        `begin`: positions before it are not used again, even where their segments are gone.
        """
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        self.folder = folder
        self.repaired: list[Gap] = []
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._receipts: list[Any] = []
        self.pending_bytes = 0
        known = segments(folder)
        self._start = known[-1][0] if known else begin
        self._handle = self._open(self._start)
        self.end = self._start + (self._repair(known[-1][1]) if known else 0)
        self.size = sum(path.stat().st_size for _, path in segments(folder))
        """Bytes on disk."""
        if self.end < begin:
            self.end = begin
            self._roll()

    def append(self, payload: bytes, received_us: int, kind: int = FRAME_KIND, receipt: Any = None) -> None:
        """Put a record into the next group. `receipt` comes back from the commit that held the record, unless it is None."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a record of {len(payload)} bytes; the journal takes at most {MAX_PAYLOAD}")
        record = pack(payload, received_us, kind)
        with self._lock:
            self._pending.append(record)
            self.pending_bytes += len(record)
            if receipt is not None:
                self._receipts.append(receipt)

    def take(self) -> tuple[list[bytes], list[Any]]:
        """Take the pending group (packed records, receipts); `store` writes it."""
        with self._lock:
            group = self._pending, self._receipts
            self._pending, self._receipts, self.pending_bytes = [], [], 0
        return group

    def store(self, group: list[bytes]) -> None:
        """Append the group with one write and one sync; on return all of it is safe on disk.

        Raises `JournalRefused` (nothing of it is stored) or `JournalBroken`.
        """
        data = b"".join(group)
        try:
            if self.end - self._start >= self._segment_bytes:
                self._roll()
            _write_all(self._handle, data)
        except JournalBroken:
            raise
        except OSError as error:
            self._cut(self.end - self._start)
            raise JournalRefused(error.errno, f"{self.folder}: {error.strerror}") from error
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise JournalBroken(error.errno, f"{self.folder}: sync failed: {error.strerror}") from error
        self.end += len(data)
        self.size += len(data)

    def commit(self) -> list[Any]:
        """Store the pending group; returns its receipts. Raises as `store` does, and then the group is gone."""
        group, receipts = self.take()
        if group:
            self.store(group)
        return receipts

    def oldest(self, before: int) -> Path | None:
        """The oldest segment that ended at or before a position; never the one that is being written."""
        known = segments(self.folder)
        return known[0][1] if len(known) > 1 and known[1][0] <= before else None

    def remove(self, segment: Path) -> int:
        """Delete a segment that `oldest` returned; returns its size."""
        size = segment.stat().st_size
        segment.unlink()
        self.size -= size
        return size

    def close(self) -> None:
        """Close the file; pending records are not stored."""
        os.close(self._handle)

    def _open(self, start: int) -> int:
        path = self.folder / f"{start:020d}{_SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            sync_folder(self.folder)
        except OSError as error:
            os.close(handle)
            raise JournalBroken(error.errno, f"{self.folder}: sync of the folder failed: {error.strerror}") from error
        return handle

    def _roll(self) -> None:
        handle = self._open(self.end)
        os.close(self._handle)
        self._handle, self._start = handle, self.end

    def _cut(self, length: int) -> None:
        """Cut off a half-written group, so that the next one does not follow rubbish."""
        try:
            os.ftruncate(self._handle, length)
        except OSError as error:
            raise JournalBroken(error.errno, f"{self.folder}: cannot cut off a failed write: {error.strerror}") from error

    def _repair(self, path: Path) -> int:
        """Length of the last segment up to its last valid record; the rest is put beside and cut off."""
        data = path.read_bytes()
        records, _, damaged = _parse(data, 0, whole=True)
        good = records[-1].position + HEADER.size + len(records[-1].payload) if records else 0
        self.repaired = [Gap(self._start + gap.position, gap.length) for gap in damaged]
        if good < len(data):
            torn = self.folder / f"{self._start + good:020d}.torn"
            torn.write_bytes(data[good:])
            self._cut(good)
            os.fsync(self._handle)
        return good


class Journals:
    """All streams of a site, with the one thread that commits received records.

    The next sync starts when the last ends, without a timer: a lone frame is safe after one sync, many share one.
    """

    def __init__(self, site: Site, segment_bytes: int, budget_bytes: int, aside_bytes: Mapping[str, int] | None = None) -> None:
        """Open the streams. `aside_bytes`: budgets of the streams `ASIDE`, each otherwise a quarter of `budget_bytes`.

        Raises `OSError` where the disk does not let us.
        """
        site.journal.mkdir(parents=True, exist_ok=True)
        disk_bytes = shutil.disk_usage(site.journal).total
        self._budget = _at_most(budget_bytes, DISK_SHARE["journal"], disk_bytes, "journal")
        wanted = dict.fromkeys(ASIDE, budget_bytes // 4) | dict(aside_bytes or {})
        self._aside = {stream: _at_most(wanted[stream], DISK_SHARE["aside"], disk_bytes, stream) for stream in ASIDE}
        begin = dict.fromkeys((PART, BAD), 0)
        for name, stream in CURSORS.items():
            begin[stream] = max(read_cursor(site, name), begin.get(stream, 0))

        def opened(stream: str) -> Journal:
            # An eighth, or nothing could ever be given back of a small budget.
            return Journal(site.journal / stream, min(segment_bytes, self._aside.get(stream, self._budget) // 8), begin[stream])

        self.streams = {stream: opened(stream) for stream in (*OWN, *ASIDE)}
        self._all = tuple(self.streams.values())
        self.event = opened(EVENT)
        """Events that the daemon found: written and committed by the forwarder, not by the thread here."""
        self.dropped_bytes: Counter[str] = Counter()
        """Bytes of each stream of `ASIDE` that nobody had read when they were dropped for its budget."""
        for journal in (*self._all, self.event):
            for gap in journal.repaired:
                why = "torn by a kill, or the disk is damaged; a torn tail is kept as *.torn"
                LOG.warning(
                    "journal %s: %d bytes at %d hold no valid record (%s)", journal.folder.name, gap.length, gap.position, why
                )
        self._asked = threading.Condition()
        """Notified when records are to be committed."""
        self._changed = threading.Condition()
        """Notified when records are committed."""
        self._closing = self._is_asked = False
        self._limited = RateLimitedLog()
        self._forwarded: Callable[[str], int] = lambda stream: 0
        self._settled: Callable[[str, int, list[Any], str], None] = lambda stream, count, receipts, refusal: None
        self._broken: Callable[[Exception], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(
        self,
        forwarded: Callable[[str], int],
        settled: Callable[[str, int, list[Any], str], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """Begin to commit. All three are called in the journal's thread.

        `forwarded(stream)`: position before which nobody needs the stream. `settled(stream, records, receipts, refusal)`: a
        group is safe on disk (`refusal` empty), or was refused for the reason given. `broken`: the process must end.
        """
        self._forwarded, self._settled, self._broken = forwarded, settled, broken
        self._thread.start()

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the disk."""
        alarm, data, part, stranger, bad = self._all
        return alarm.pending_bytes + data.pending_bytes + part.pending_bytes + stranger.pending_bytes + bad.pending_bytes

    def append(self, stream: str, payload: bytes, received_us: int, kind: int = FRAME_KIND, receipt: Any = None) -> None:
        """Put a record into the stream's next group; `commit_soon` has it committed."""
        self.streams[stream].append(payload, received_us, kind, receipt)

    def commit_soon(self) -> None:
        """Commit all pending records as soon as the running sync ends."""
        with self._asked:
            self._is_asked = True
            self._asked.notify()

    def end(self, stream: str) -> int:
        """Committed end of a stream."""
        return (self.event if stream == EVENT else self.streams[stream]).end

    def wait(self, positions: Mapping[str, int], timeout_s: float) -> bool:
        """Wait until one of the streams is committed beyond its position; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(self.end(stream) > position for stream, position in positions.items()), timeout_s
            )

    def fail(self, error: Exception) -> None:
        """Report that the process must end; also called by the writer of the stream `event`."""
        self._broken(error)

    def finish(self) -> None:
        """Commit all pending records and end the thread; reading goes on."""
        with self._asked:
            self._closing = True
            self._asked.notify()
        self._thread.join()

    def close(self) -> None:
        """Close the files; pending records are not stored."""
        for journal in (*self.streams.values(), self.event):
            journal.close()

    def _run(self) -> None:
        while True:
            with self._asked:
                self._asked.wait_for(lambda: self._closing or self._is_asked)
                self._is_asked = False
                if self._closing and not self.pending_bytes:
                    return
            try:
                for aside in ASIDE:  # what terminals wait for never waits for more than one sync of the others
                    self._commit_pending(*OWN, aside)
            except Exception as error:
                self._broken(error)
                return
            with self._changed:
                self._changed.notify_all()

    def _commit_pending(self, *streams: str) -> None:
        for stream in streams:
            if self.streams[stream].pending_bytes:
                self._commit(stream, self.streams[stream])

    def _commit(self, stream: str, journal: Journal) -> None:
        group, receipts = journal.take()
        size = sum(map(len, group))
        try:
            if not self._make_room(stream, size):
                raise JournalRefused(
                    f"日志已用完磁盘预算 {self._budget >> 20} MB，新数据不应答 / the journal has used its budget of "
                    f"{self._budget >> 20} MB ([daemon] journal_mb) with data that are not forwarded yet: new frames are not "
                    f"acknowledged; {self._sizes()}"
                )
            self._store(journal, group)
        except JournalRefused as error:
            self._limited.warn("journal refuses", str(error))
            self._settled(stream, len(group), receipts, str(error))
        else:
            self._settled(stream, len(group), receipts, "")

    def _store(self, journal: Journal, group: list[bytes]) -> None:
        """Store the group; on a full disk after giving back what can be spared."""
        while True:
            try:
                journal.store(group)
                return
            except JournalRefused as error:
                if error.errno != errno.ENOSPC:
                    raise
                if not self._give_back():
                    raise JournalRefused(error.errno, f"{error.strerror}; {self._sizes()}") from error

    def _make_room(self, stream: str, size: int) -> bool:
        """Whether the group fits into the budget, if need be after removing segments, oldest first."""
        if stream in ASIDE:
            while self.streams[stream].size + size > self._aside[stream] and self._drop_oldest(stream):
                pass
            return True
        total = sum(journal.size for journal in self._own().values())
        while total + size > self._budget:
            removed = self._remove_forwarded()
            if not removed:
                return False
            total -= removed
        if total + size > self._budget * 0.8:
            text = f"{(total + size) >> 20} MB of its budget of {self._budget >> 20} MB are used; {self._sizes()}"
            self._limited.warn("journal fills", text)
        return True

    def _own(self) -> dict[str, Journal]:
        """The streams that share the journal's budget."""
        return {stream: journal for stream, journal in self.streams.items() if stream not in ASIDE} | {EVENT: self.event}

    def _give_back(self) -> bool:
        """Remove one segment because the disk is full: of strangers first, then of what was forwarded long ago."""
        largest = max(ASIDE, key=lambda stream: self.streams[stream].size)
        return self._drop_oldest(largest) or any(map(self._drop_oldest, ASIDE)) or self._remove_forwarded() > 0

    def _remove_forwarded(self) -> int:
        """Remove the oldest segment that everybody has dealt with; gives its size, 0 where there is none."""
        own = self._own()
        candidates = [(stream, own[stream].oldest(self._forwarded(stream))) for stream in own]
        ages = [(path.stat().st_mtime, stream, path) for stream, path in candidates if path is not None]
        if not ages:
            return 0
        _, stream, path = min(ages)
        LOG.info("journal %s: removed %s, forwarded long ago, for the disk budget", stream, path.name)
        return own[stream].remove(path)

    def _drop_oldest(self, stream: str) -> bool:
        """Remove the oldest segment of a stream of `ASIDE`, whoever still wants it; False where only the last is left."""
        journal = self.streams[stream]
        oldest = journal.oldest(journal.end)
        if oldest is None:
            return False
        begin = int(oldest.stem)
        size = journal.remove(oldest)
        unread = min(size, max(0, begin + size - self._forwarded(stream)))
        self.dropped_bytes[stream] += unread
        if unread:
            budget = f"its budget of {self._aside[stream] >> 20} MB ([daemon] {stream}_mb)"
            self._limited.warn(f"journal {stream}", f"{journal.folder} has used {budget}: the oldest bytes are dropped")
        return True

    def _sizes(self) -> str:
        """The folders of the journal by size, the largest first."""
        sizes = sorted(((journal.size, journal.folder) for journal in (*self._all, self.event)), reverse=True)
        return ", ".join(f"{folder} {size / 2**20:.1f} MB" for size, folder in sizes if size)


def _at_most(wanted: int, share: float, disk_bytes: int, name: str) -> int:
    """The budget, cut to its share of the disk."""
    allowed = int(share * disk_bytes)
    if wanted > allowed:
        text = "[daemon] %s_mb is %d MB, but the disk has %d MB: %d MB are used at most"
        LOG.warning(text, name, wanted >> 20, disk_bytes >> 20, allowed >> 20)
    return min(wanted, allowed)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]

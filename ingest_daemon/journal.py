"""The journal: received bytes, safe on disk before anyone is told so. Segments, group commit, reading, disk budget.

A stream is a folder of segments, each named by the position of its first byte; the position of a record is its byte offset
since the stream began and never changes. Nothing here knows a protocol, a socket or the raw store.
"""

import os
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fastcrc import crc32

from ingest_daemon.site import Site
from ingest_daemon.state import LOG, Limited, read_json, sync_folder

DATA, ALARM, BAD, PART, EVENT = "data", "alarm", "bad", "part", "event"
"""The streams: frames, frames that overtake the backlog, rejected bytes, acknowledged packets of messages that are not whole yet,
and events that the daemon itself found."""

CURSORS: Mapping[str, str] = {"data": DATA, "alarm": ALARM, "alarm-events": ALARM, "events": EVENT}
"""Readers with a durable cursor (`state/forward-<name>.json`) and the stream each reads."""

FRAME_KIND, BAD_KIND, EVENT_KIND = 0, 1, 2
"""What a record's bytes are: a frame as received; reason, detail and bytes (`bad_payload`); a JSON event."""

HEADER = struct.Struct("<IIQB")
"""Length of the payload, CRC-32 of everything else in the record, receive time (µs since 1970 UTC), kind."""

MAX_PAYLOAD = 1 << 20

UNFINISHED_TRIES, UNFINISHED_S = 20, 0.05
"""How often and how long a reader beside the daemon waits for a record that is not whole yet."""

_REST = struct.Struct("<IQB")
_LOOKS_LIKE_HEADER = re.compile(rb"(?s)(?=..[\x00-\x10]\x00.{10}[\x04-\x0f]\x00[\x00-\x02])")
"""A length up to `MAX_PAYLOAD`, a time between 2005 and 2112, a known kind: where a record may start again after damage."""

_SUFFIX = ".journal"


class JournalRefused(OSError):
    """The disk or the budget takes no more: the group is not stored and must not be acknowledged; later ones may be."""


class JournalBroken(OSError):
    """A sync failed, so what is on disk is unknown: the process must end and open the journal anew."""


class Record(NamedTuple):
    """One record: where it is, when it was received (µs since 1970 UTC), what its bytes are, and the bytes."""

    position: int
    received_us: int
    kind: int
    payload: bytes


class Gap(NamedTuple):
    """Bytes of a journal that hold no valid record."""

    position: int
    length: int


class Stream(NamedTuple):
    """A stream as it lies on disk: positions of its first byte and behind its last; `first_us`, `last_us` None: no record.

    `cursors`: the position each reader of `CURSORS` has dealt with.
    """

    name: str
    segments: int
    size: int
    begin: int
    end: int
    first_us: int | None
    last_us: int | None
    cursors: dict[str, int]


class Chunk(NamedTuple):
    """Records in order, the position to read on from, and the damaged places that were passed over."""

    records: list[Record]
    next_position: int
    damaged: list[Gap]


def bad_payload(reason: str, detail: str, raw: bytes) -> bytes:
    """Rejected bytes with their reason, as one payload of the stream `bad`."""
    return f"{reason}\n{detail.replace(chr(10), ' ')}\n".encode() + raw


def split_bad(payload: bytes) -> tuple[str, str, bytes]:
    """Reason, detail and bytes of a record of the stream `bad`."""
    reason, detail, raw = payload.split(b"\n", 2)
    return reason.decode(), detail.decode(), raw


def pack(payload: bytes, received_us: int, kind: int) -> bytes:
    """A record as it lies on disk."""
    length = len(payload)
    check = crc32.iso_hdlc(payload, crc32.iso_hdlc(_REST.pack(length, received_us, kind)))
    return HEADER.pack(length, check, received_us, kind) + payload


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Start position and path of each segment of a stream, in order; none where the folder is absent."""
    if not folder.is_dir():
        return []
    return sorted((int(path.stem), path) for path in folder.iterdir() if path.suffix == _SUFFIX)


def stream_end(folder: Path) -> int:
    """Position after the last byte on disk of a stream (a record being written just now included)."""
    last = segments(folder)[-1:]
    return last[0][0] + last[0][1].stat().st_size if last else 0


def read(folder: Path, position: int, end: int, max_bytes: int) -> Chunk:
    """Records from `position` on, about `max_bytes` of them, never past `end` (what is committed).

    Damaged bytes are passed over and reported; a position inside a removed segment is such damage, too.
    """
    known = segments(folder)
    damaged: list[Gap] = []
    if known and position < known[0][0]:
        damaged.append(Gap(position, known[0][0] - position))
        position = known[0][0]
    records: list[Record] = []
    for number, (start, path) in enumerate(known):
        limit = min(end, known[number + 1][0]) if number + 1 < len(known) else end
        if position >= limit:
            continue
        if records:
            break
        with path.open("rb") as file:
            file.seek(position - start)
            wanted = min(limit - position, max(max_bytes, HEADER.size + MAX_PAYLOAD))
            data = file.read(wanted)
        whole = len(data) < wanted or position + len(data) >= limit
        records, position, found = _parse(data, position, whole=whole)
        damaged += found
        if whole and position < limit:  # the file is shorter than the journal says
            damaged.append(Gap(position, limit - position))
            position = limit
    return Chunk(records, position, damaged)


def walk(folder: Path, position: int = 0) -> Iterator[Chunk]:
    """Everything on disk from `position` on, about `HEADER.size + MAX_PAYLOAD` bytes at a time; for any process, only reading.

    Beside a running daemon, too: a last record that is being written just now is waited for a moment before it counts as
    damaged, and segments given back for the disk budget are no damage.
    """
    tries = 0
    while known := segments(folder):
        position = max(position, known[0][0])
        end = stream_end(folder)
        if position >= end:
            return
        try:
            chunk = read(folder, position, end, 1)
        except FileNotFoundError:  # given back since it was listed
            continue
        unfinished = bool(chunk.damaged) and chunk.next_position == end == sum(chunk.damaged[-1])
        if unfinished and tries < UNFINISHED_TRIES:
            tries += 1
            time.sleep(UNFINISHED_S)
            continue
        yield chunk
        position, tries = chunk.next_position, 0


def streams(site: Site) -> list[Stream]:
    """Every stream that is on disk; for any process, running daemon or not."""
    found = []
    for name in (DATA, ALARM, BAD, PART, EVENT):
        folder = site.journal / name
        if known := segments(folder):
            end = stream_end(folder)
            first = _first(folder, 0)
            last = _last(folder, [start for start, _ in known], end)
            cursors = {reader: read_cursor(site, reader) for reader, stream in CURSORS.items() if stream == name}
            times = (first and first.received_us, last and last.received_us)
            found.append(Stream(name, len(known), end - known[0][0], known[0][0], end, *times, cursors))
    return found


def waiting_since(site: Site) -> dict[str, int | None]:
    """Receive time (µs since 1970 UTC) of the oldest record that each reader has not dealt with; None: it has dealt with all."""
    found = {name: _first(site.journal / stream, read_cursor(site, name)) for name, stream in CURSORS.items()}
    return {name: record.received_us if record else None for name, record in found.items()}


def _first(folder: Path, position: int) -> Record | None:
    """The first record from a position on."""
    return next((chunk.records[0] for chunk in walk(folder, position) if chunk.records), None)


def _last(folder: Path, starts: list[int], end: int) -> Record | None:
    """The last record before `end`: found from within the last bytes, for a record can be told wherever reading begins."""
    for start in reversed(starts):
        chunk = read(folder, max(start, end - HEADER.size - MAX_PAYLOAD), end, 1)
        if chunk.records:
            return chunk.records[-1]
        end = start
    return None


def backlog(site: Site) -> dict[str, int]:
    """Bytes of the journal that each reader of `CURSORS` has not dealt with yet; for any process, running daemon or not."""
    ends = {stream: stream_end(site.journal / stream) for stream in set(CURSORS.values())}
    return {name: max(0, ends[stream] - read_cursor(site, name)) for name, stream in CURSORS.items()}


def cursor_path(site: Site, name: str) -> Path:
    """Where a reader's cursor lies."""
    return site.state / f"forward-{name}.json"


def read_cursor(site: Site, name: str) -> int:
    """The position up to which a reader has dealt with its stream; 0 where it never did."""
    value = read_json(cursor_path(site, name))
    return int(value["position"]) if value else 0


class Journal:
    """One stream, open for appending. `append` may be called by any thread; `commit` by one at a time."""

    def __init__(self, folder: Path, segment_bytes: int, begin: int = 0) -> None:
        """Open or begin the stream. A torn tail is cut off, put beside (`<position>.torn`) and said in `repaired`.

        `begin`: positions before it were used already, even where their segments are gone, and are not used again.
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
        """Take the pending group (records as they lie on disk, receipts), to be given to `store`."""
        with self._lock:
            group = self._pending, self._receipts
            self._pending, self._receipts, self.pending_bytes = [], [], 0
        return group

    def store(self, group: list[bytes]) -> None:
        """Append the group with one write and one sync: all of it is safe on disk on return.

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
        """Store the pending group; gives its receipts. Raises as `store` does, and the group is given up then."""
        group, receipts = self.take()
        if group:
            self.store(group)
        return receipts

    def oldest(self, before: int) -> Path | None:
        """The oldest segment that ended at or before a position; never the one being written."""
        known = segments(self.folder)
        return known[0][1] if len(known) > 1 and known[1][0] <= before else None

    def remove(self, segment: Path) -> int:
        """Delete a segment that `oldest` gave; gives the bytes won."""
        won = segment.stat().st_size
        segment.unlink()
        self.size -= won
        return won

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
        """Take a half-written group off again; without that the next group would follow rubbish."""
        try:
            os.ftruncate(self._handle, length)
        except OSError as error:
            raise JournalBroken(error.errno, f"{self.folder}: cannot cut off a failed write: {error.strerror}") from error

    def _repair(self, path: Path) -> int:
        """Length of the last segment up to its last valid record; what follows is put beside and cut off."""
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
    """All streams of a site, with the one thread that commits what meters send.

    The next sync starts when the last ends, without a timer: a lone frame is safe after one sync, many share one.
    """

    def __init__(self, site: Site, segment_bytes: int, budget_bytes: int) -> None:
        """Open the streams. Raises `OSError` where the disk does not let us."""
        site.journal.mkdir(parents=True, exist_ok=True)
        segment_bytes = min(segment_bytes, budget_bytes // 8)  # or nothing could ever be given back of a small budget
        begin = {BAD: 0, PART: 0}
        for name, stream in CURSORS.items():
            begin[stream] = max(read_cursor(site, name), begin.get(stream, 0))
        self.streams = {name: Journal(site.journal / name, segment_bytes, begin[name]) for name in (ALARM, DATA, PART, BAD)}
        self._all = tuple(self.streams.values())
        self.event = Journal(site.journal / EVENT, segment_bytes, begin[EVENT])
        """Events that the daemon found: written and committed by the forwarder, not by the thread here."""
        for journal in (*self.streams.values(), self.event):
            for gap in journal.repaired:
                why = "torn by a kill, or the disk is damaged; a torn tail is kept as *.torn"
                LOG.warning(
                    "journal %s: %d bytes at %d hold no valid record (%s)", journal.folder.name, gap.length, gap.position, why
                )
        self._budget = budget_bytes
        self._asked = threading.Condition()
        """Tells the thread here that something is to be committed."""
        self._changed = threading.Condition()
        """Tells readers that something is committed."""
        self._closing = self._is_asked = False
        self._limited = Limited()
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
        data, alarm, part, bad = self._all
        return data.pending_bytes + alarm.pending_bytes + part.pending_bytes + bad.pending_bytes

    def append(self, stream: str, payload: bytes, received_us: int, kind: int = FRAME_KIND, receipt: Any = None) -> None:
        """Put a record into the stream's next group; `commit_soon` has it committed."""
        self.streams[stream].append(payload, received_us, kind, receipt)

    def commit_soon(self) -> None:
        """Have all that is pending committed, as soon as the sync that runs now has ended."""
        with self._asked:
            self._is_asked = True
            self._asked.notify()

    def end(self, stream: str) -> int:
        """Committed end of a stream."""
        return (self.event if stream == EVENT else self.streams[stream]).end

    def wait(self, positions: Mapping[str, int], timeout_s: float) -> bool:
        """Wait until one of the streams is committed beyond its position; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: any(self.end(name) > at for name, at in positions.items()), timeout_s)

    def fail(self, error: Exception) -> None:
        """Say that the process must end; also for who writes the stream `event`."""
        self._broken(error)

    def finish(self) -> None:
        """Commit all that is pending and end the thread; what is committed can still be read."""
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
                for stream, journal in self.streams.items():
                    if journal.pending_bytes:
                        self._commit(stream, journal)
            except Exception as error:
                self._broken(error)
                return
            with self._changed:
                self._changed.notify_all()

    def _commit(self, stream: str, journal: Journal) -> None:
        group, receipts = journal.take()
        size = sum(map(len, group))
        try:
            if not self._make_room(size):
                megabytes = self._budget >> 20
                raise JournalRefused(
                    f"日志已用完磁盘预算 {megabytes} MB，新数据不应答 / the journal has used its budget of {megabytes} MB "
                    "([daemon] journal_mb) with data that are not forwarded yet: new frames are not acknowledged"
                )
            journal.store(group)
        except JournalRefused as error:
            self._limited.warn("journal refuses", str(error))
            self._settled(stream, len(group), receipts, str(error))
        else:
            self._settled(stream, len(group), receipts, "")

    def _make_room(self, size: int) -> bool:
        """Whether the group fits into the budget, if need be after removing forwarded segments, oldest first."""
        everything = {**self.streams, EVENT: self.event}
        total = sum(journal.size for journal in everything.values())
        while total + size > self._budget:
            olds = [(name, everything[name].oldest(self._forwarded(name))) for name in everything]
            found = [(path.stat().st_mtime, name, path) for name, path in olds if path is not None]
            if not found:
                return False
            _, name, path = min(found)
            LOG.info("journal %s: removed %s, forwarded long ago, for the disk budget", name, path.name)
            total -= everything[name].remove(path)
        if total + size > self._budget * 0.8:
            self._limited.warn("journal fills", f"{(total + size) >> 20} MB of its budget of {self._budget >> 20} MB are used")
        return True


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _parse(data: bytes, position: int, *, whole: bool) -> tuple[list[Record], int, list[Gap]]:
    """Records of a piece of a segment that lies at `position`, where it was read to, and damaged places.

    `whole`: no more follows, so an unfinished record is damage; else it is left for the next read.
    """
    records: list[Record] = []
    damaged: list[Gap] = []
    at = 0
    while at < len(data):
        record = _record(data, at, position)
        if record is not None:
            records.append(record)
            at += HEADER.size + len(record.payload)
            continue
        found = next(
            (hit.start() for hit in _LOOKS_LIKE_HEADER.finditer(data, at + 1) if _record(data, hit.start(), position)), None
        )
        if found is None and not whole and len(data) - at < HEADER.size + MAX_PAYLOAD:
            break
        found = len(data) if found is None else found
        damaged.append(Gap(position + at, found - at))
        at = found
    return records, position + at, damaged


def _record(data: bytes, at: int, position: int) -> Record | None:
    """The record at an offset of `data`, if there is a whole and valid one."""
    if at + HEADER.size > len(data):
        return None
    length, check, received_us, kind = HEADER.unpack_from(data, at)
    end = at + HEADER.size + length
    if length > MAX_PAYLOAD or end > len(data):
        return None
    payload = data[at + HEADER.size : end]
    if crc32.iso_hdlc(payload, crc32.iso_hdlc(_REST.pack(length, received_us, kind))) != check:
        return None
    return Record(position + at, received_us, kind, payload)

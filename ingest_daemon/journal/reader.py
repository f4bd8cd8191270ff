"""Reading of the journal, by the daemon's threads and beside it.

A stream is a folder of segments, each named by the position of its first byte; the position of a record is its byte offset
since the stream began and never changes.
"""

import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.contract.files import glance, rebuilt_json, write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.records import (
    _SUFFIX,
    ALARM,
    DATA,
    EVENT,
    HEADER,
    MAX_PAYLOAD,
    STRANGER,
    STREAMS,
    Chunk,
    Gap,
    Record,
    _parse,
)

CURSORS: Mapping[str, str] = {
    "data": DATA,
    "alarm": ALARM,
    "stranger": STRANGER,
    "alarm-events": ALARM,
    "events": EVENT,
    "latest-data": DATA,
    "latest-alarm": ALARM,
}
"""Readers with a durable cursor (`state/forward-<name>.json`) and the stream each reads."""


UNFINISHED_TRIES, UNFINISHED_S = 20, 0.05
"""How often and how long a reader beside the daemon waits for a record that is not whole yet."""


class Stream(NamedTuple):
    """A stream as it lies on disk: positions of its first byte and behind its last; `first_us`, `last_us` None: no record.

    `cursors`: the position up to which each reader of `CURSORS` has handled the stream.
    """

    name: str
    segments: int
    size: int
    begin: int
    end: int
    first_us: int | None
    last_us: int | None
    cursors: dict[str, int]


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
    while True:
        with suppress(FileNotFoundError):  # a segment was given back between listing and opening: list anew
            return _read(folder, position, end, max_bytes)


def _read(folder: Path, position: int, end: int, max_bytes: int) -> Chunk:
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
            chunk = _read(folder, position, end, 1)
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
    for name in STREAMS:
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
    """Receive time (µs since 1970 UTC) of the oldest record that each reader has still to handle; None: there is none."""
    found = {name: _first(site.journal / stream, read_cursor(site, name)) for name, stream in CURSORS.items()}
    return {name: record.received_us if record else None for name, record in found.items()}


def _first(folder: Path, position: int) -> Record | None:
    """The first record from a position on."""
    return next((chunk.records[0] for chunk in walk(folder, position) if chunk.records), None)


def stretch(folder: Path, from_us: int, to_us: int) -> tuple[int, int]:
    """Positions from the first to behind the last segment that may hold what was received in a time, ends excluded.

    A server whose clock was put back has later segments with earlier times: what they hold is found only where they lie between.
    """
    known = segments(folder)
    begin = bisect_right(known, from_us, key=lambda segment: _first_us(folder, segment[0])) - 1
    end = bisect_left(known, to_us, key=lambda segment: _first_us(folder, segment[0]))
    return known[max(begin, 0)][0] if known else 0, known[end][0] if end < len(known) else stream_end(folder)


def _first_us(folder: Path, position: int) -> int:
    first = _first(folder, position)
    return first.received_us if first else sys.maxsize


def _last(folder: Path, starts: list[int], end: int) -> Record | None:
    """The last record before `end`, searched in the last bytes: a record is recognised wherever reading begins."""
    for start in reversed(starts):
        chunk = read(folder, max(start, end - HEADER.size - MAX_PAYLOAD), end, 1)
        if chunk.records:
            return chunk.records[-1]
        end = start
    return None


def backlog(site: Site) -> dict[str, int]:
    """Bytes of the journal that each reader of `CURSORS` has still to handle; for any process, running daemon or not."""
    ends = {stream: stream_end(site.journal / stream) for stream in set(CURSORS.values())}
    return {name: max(0, ends[stream] - read_cursor(site, name)) for name, stream in CURSORS.items()}


def cursor_path(site: Site, name: str) -> Path:
    """The file of a reader's cursor."""
    return site.state / f"forward-{name}.json"


def read_cursor(site: Site, name: str) -> int:
    """The position up to which a reader has handled its stream; 0 before its first record, or where the cursor is damaged."""
    return glance(cursor_path(site, name), _position) or 0


def restore_cursors(site: Site) -> list[str]:
    """Let readers whose cursor is damaged begin again at the oldest record: what comes twice changes nothing; gives their names.

    While no daemon runs, or by the daemon. Raises `OSError`.
    """
    restored = []
    for name, stream in CURSORS.items():
        path = cursor_path(site, name)
        oldest = next((start for start, _ in segments(site.journal / stream)), 0)
        is_there = path.exists()
        instead = (
            f"reader {name} begins again at the oldest record of the journal ({oldest}); what is stored already stays as it is"
        )
        if is_there and rebuilt_json(path, _position, instead) is None:
            write_json(path, {"position": oldest}, durable=True)
            restored.append(name)
    return restored


def _position(value: Any) -> int:
    position = value["position"]
    if type(position) is not int or position < 0:
        raise ValueError(f"position {position!r}, expected a whole number from 0 on")
    return position

"""The journal as a person looks at it: records with their headers parsed, and the check of every CRC."""

from collections.abc import Iterator
from typing import NamedTuple

from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, parse_record
from ingest_daemon.journal.reader import walk
from ingest_daemon.journal.records import BAD_KIND, EVENT_KIND, STREAMS, Gap, Record, split_bad


class JournalEntry(NamedTuple):
    """A record with its parts, or a gap.

    `reason`, `detail`: of rejected bytes, or why a record has no header. `event`: its JSON. `gap_bytes`: length of the bytes from
    `position` on that hold no valid record; 0 for a record.
    """

    position: int
    received_us: int
    event: str = ""
    reason: str = ""
    detail: str = ""
    header: RecordHeader = RecordHeader("")
    raw: bytes = b""
    gap_bytes: int = 0


class StreamCheck(NamedTuple):
    """The number of sound records of a stream, and its damaged places."""

    stream: str
    records: int
    damaged: list[Gap]


def entries(site: Site, stream: str, position: int) -> Iterator[JournalEntry]:
    """The records of a stream from a position on, and the gaps of damaged bytes between them."""
    for chunk in walk(site.journal / stream, position):
        gaps = [JournalEntry(gap.position, 0, gap_bytes=gap.length) for gap in chunk.damaged]
        yield from sorted([*gaps, *map(_entry, chunk.records)], key=lambda entry: entry.position)


def verify(site: Site) -> Iterator[StreamCheck]:
    """The result of checking every record's CRC, a stream at a time."""
    for stream in STREAMS:
        records, damaged = 0, []
        for chunk in walk(site.journal / stream):
            records += len(chunk.records)
            damaged += chunk.damaged
        yield StreamCheck(stream, records, damaged)


def _entry(record: Record) -> JournalEntry:
    if record.kind == EVENT_KIND:
        return JournalEntry(record.position, record.received_us, event=record.payload.decode())
    reason, detail, payload = split_bad(record.payload) if record.kind == BAD_KIND else ("", "", record.payload)
    try:
        header, raw = parse_record(payload)
    except ValueError as error:
        header, raw, detail = RecordHeader(""), payload, str(error)
    return JournalEntry(record.position, record.received_us, "", reason, detail, header, raw)

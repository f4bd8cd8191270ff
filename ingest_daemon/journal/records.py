"""Records of the journal as bytes: packing, parsing, and finding the next record after damage."""

import re
import struct
from typing import NamedTuple

from fastcrc import crc32

DATA, ALARM, BAD, PART, EVENT, STRANGER = "data", "alarm", "bad", "part", "event", "stranger"
"""The streams: frames, frames that overtake the backlog, rejected bytes, acknowledged packets of messages that are not whole yet,
events that the daemon itself found, and frames of terminals that nobody registered."""

STREAMS = (DATA, ALARM, BAD, PART, EVENT, STRANGER)


FRAME_KIND, BAD_KIND, EVENT_KIND = 0, 1, 2
"""Kinds of a record's bytes: a frame as received; reason, detail and bytes (`bad_payload`); a JSON event."""


HEADER = struct.Struct("<IIQB")
"""Length of the payload, CRC-32 of everything else in the record, receive time (µs since 1970 UTC), kind."""


MAX_PAYLOAD = 1 << 20


_REST = struct.Struct("<IQB")


_LOOKS_LIKE_HEADER = re.compile(rb"(?s)(?=..[\x00-\x10]\x00.{10}[\x04-\x0f]\x00[\x00-\x02])")
"""A length up to `MAX_PAYLOAD`, a time between 2005 and 2112, a known kind: where a record may start again after damage."""


_SUFFIX = ".journal"


class JournalRefused(OSError):
    """Disk or budget are full: the group is not stored and must not be acknowledged; a later one may be."""


class JournalBroken(OSError):
    """A sync failed, so what is on disk is unknown: the process must end and open the journal anew."""


JournalPosition = tuple[str, int]
"""A stream and a position in it."""


class Record(NamedTuple):
    """One record: position, receive time (µs since 1970 UTC), kind of its bytes, and the bytes."""

    position: int
    received_us: int
    kind: int
    payload: bytes


class Gap(NamedTuple):
    """Bytes of a journal that hold no valid record."""

    position: int
    length: int


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

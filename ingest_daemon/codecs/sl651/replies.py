"""The centre's side of an exchange: the acknowledgement, and what a frame of the centre acknowledges."""

from datetime import datetime
from typing import Any

from ingest_daemon.codecs.sl651.header import (
    ACK,
    ANSWERS,
    EOT,
    ESC,
    ETB,
    ETX,
    KEEP_ALIVE,
    START,
    body_of,
    is_reply,
    packet_of,
    sealed,
    sequence_of,
)
from ingest_daemon.codecs.sl651.moments import stamp


def acknowledged_sequence(reply: bytes) -> int | None:
    """The sequence number that a frame of the centre acknowledges; None where it is no acknowledgement."""
    if not is_reply(reply) or reply[-3] not in (ACK, EOT, ESC):
        return None
    return sequence_of(reply)


def reply(frame: bytes, now: datetime, profile: Any = None) -> bytes | None:
    """The acknowledgement (mode M2): same sequence, our time; after ETX `1B` (stay on line), after ETB `06` (go on).

    None after a keep-alive, an answer to a query, a centre's own frame, any other end symbol, and a packet of a multi-packet
    message: those are not put together here, and silence makes the station keep them. Raises `ValueError` for a `now` without
    a time zone.
    """
    sequence = sequence_of(frame)
    silent = frame[10] == KEEP_ALIVE or frame[10] in ANSWERS or packet_of(frame)[0] != 1 or frame[-3] not in (ETX, ETB)
    if silent or is_reply(frame) or sequence is None:
        return None
    body = frame[13 : body_of(frame)[0]] + sequence.to_bytes(2, "big") + stamp(now)
    size = (0x8000 | len(body) - 1).to_bytes(2, "big")
    end = ACK if frame[-3] == ETB else ESC
    return sealed(START + frame[3:8] + frame[2:3] + frame[8:11] + size + body + bytes((end,)))

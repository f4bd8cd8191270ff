"""The centre's replies: the acknowledgement and the request for a lost packet; the sequence that a reply acknowledges."""

from datetime import datetime
from typing import Any

from ingest_daemon.codecs.sl651.ascii_form import spelled
from ingest_daemon.codecs.sl651.header import (
    ACK,
    ANSWERS,
    EOT,
    ESC,
    ETB,
    ETX,
    HEADER,
    KEEP_ALIVE,
    LETTERS_HEADER,
    NAK,
    SOH,
    START,
    STX,
    SYN,
    is_reply,
    packet_of,
    plain,
    sealed,
    sequence_in,
    sequence_of,
)
from ingest_daemon.codecs.sl651.packets import joined, packet, pieces
from ingest_daemon.codecs.sl651.profile import settings_of
from ingest_daemon.codecs.sl651.timestamps import stamp


def acknowledged_sequence(reply: bytes) -> int | None:
    """The sequence number that a centre's frame acknowledges; None where it is no acknowledgement."""
    if not is_reply(reply) or plain(reply)[-3] not in (ACK, EOT, ESC):
        return None
    return sequence_of(reply)


def reply(frame: bytes, now: datetime, profile: Any = None) -> bytes | None:
    """The acknowledgement: same sequence, our time; after ETX `1B` (stay on line) or `04` (may sleep), after ETB `06` (go on).

    That of a message in packets (M3) covers all of them and names the last. None for mode M1, a keep-alive, a packet alone, a
    centre's own frame, an answer to a query that ends in ETX, and any other end symbol. Raises `ValueError` for a `now` without a
    time zone.
    """
    settings = settings_of(profile)
    if is_reply(frame) or settings.reply == "none":
        return None
    lettered, numbers, whole, total = frame[:1] == SOH, b"", frame, 1
    if frame[LETTERS_HEADER - 1 if lettered else HEADER - 1] == SYN:
        try:
            whole = joined(frame)
        except ValueError:
            return None
        total = packet_of(plain(pieces(frame)[0]))[0]
        numbers = (total << 12 | total).to_bytes(3, "big")
    elif lettered:
        whole = plain(frame)
    sequence, symbol = sequence_in(whole, lettered=lettered), whole[-3]
    silent = whole[10] == KEEP_ALIVE or (whole[10] in ANSWERS and total == 1 and symbol == ETX)
    if silent or symbol not in (ETX, ETB) or sequence is None:
        return None
    end = ACK if symbol == ETB and total == 1 else EOT if settings.reply == "eot" else ESC
    return _down(whole, numbers, sequence, stamp(now, settings.utc_offset_h), end, lettered=lettered)


def ask_again(frame: bytes, number: int, now: datetime) -> bytes | None:
    """The request to repeat packet `number` of the frame's message: `15` (NAK) with total and number, our time, its sequence.

    The first packet alone has the sequence; 0 stands for that of a later one. None where the frame is no packet.
    """
    if (lost := packet(frame)) is None or lost.total is None:
        return None
    numbers = (lost.total << 12 | number).to_bytes(3, "big")
    return _down(plain(frame), numbers, sequence_of(frame) or 0, stamp(now), NAK, lettered=frame[:1] == SOH)


def _down(up: bytes, numbers: bytes, sequence: int, sent: bytes, end: int, *, lettered: bool) -> bytes:
    """A frame of the centre in answer to a plain frame."""
    body = b"%b%b%b" % (numbers, sequence.to_bytes(2, "big"), sent)
    size, begin = 0x8000 | len(body), SYN if numbers else STX
    frame = sealed(b"%b%b%b%b%b%c%b%c" % (START, up[3:8], up[2:3], up[8:11], size.to_bytes(2, "big"), begin, body, end))
    return spelled(frame) if lettered else frame

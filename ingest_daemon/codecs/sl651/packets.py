"""Messages in several packets (mode M3): a packet's place, and a joined message as its pieces or as one frame.

A joined message is the packets as received, in order. Nothing here reads its content.
"""

from ingest_daemon.codec_kit.api import Packet
from ingest_daemon.codecs.sl651.header import (
    HEADER,
    LETTERS_HEAD,
    LETTERS_HEADER,
    SOH,
    START,
    STX,
    SYN,
    body_of,
    is_reply,
    packet_of,
    plain,
    size_of_frame,
)


def packet(frame: bytes) -> Packet | None:
    """The frame's place in its message; None for a message of its own, a centre's frame, and a number beyond the total."""
    if frame[23 if frame[:1] == SOH else 13] != SYN or is_reply(frame):
        return None
    frame = plain(frame)
    total, number = packet_of(frame)
    return Packet(frame[2:11] + total.to_bytes(2, "big"), number, total) if 1 <= number <= total > 1 else None


def pieces(message: bytes) -> list[bytes]:
    """The frames of a message in order, by their declared lengths; the last is the rest."""
    frames, offset = [], 0
    while offset < len(message):
        size = size_of_frame(message, offset) if begins(message, offset) else len(message)
        frames.append(message[offset : offset + size])
        offset += size
    return frames


def messages(raw: bytes) -> list[bytes]:
    """The messages of glued frames, for example the answers of one round; the packets of one message stay together."""
    groups: list[list[bytes]] = []
    several = False
    for piece in pieces(raw):
        position = packet(piece) if begins(piece, 0) else None
        if several and position and position.number > 1:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        several = position is not None
    return [b"".join(frames) for frames in groups]


def joined(message: bytes) -> bytes:
    """The message as one plain frame of one packet, with the last packet's end. Raises `ValueError` where packets are missing."""
    found = pieces(message)
    if any(not begins(frame, 0) or len(frame) != size_of_frame(frame) for frame in found):
        raise ValueError(f"the packets have {', '.join(str(len(frame)) for frame in found)} bytes, not what they declare")
    frames = [plain(frame) for frame in found]
    total, number = packet_of(frames[0])
    if total != 1 and len(frames) == 1:
        raise ValueError(f"packet {number} of {total} alone, expected all packets of the message")
    numbers = [packet_of(frame)[1] for frame in frames]
    if numbers != list(range(1, total + 1)) or len({(frame[2:11], packet_of(frame)[0]) for frame in frames}) != 1:
        raise ValueError(f"packets {', '.join(map(str, numbers))}, expected 1 to {total} of one message in order")
    body = b"".join(frame[slice(*body_of(frame))] for frame in frames)
    return frames[0][: HEADER - 1] + bytes((STX,)) + body + frames[-1][-3:]


def begins(message: bytes, start: int) -> bool:
    """Whether a whole header begins at this offset."""
    if message[start : start + 1] == SOH:
        return LETTERS_HEAD.match(message, start, start + LETTERS_HEADER) is not None
    return message[start : start + 2] == START and len(message) >= start + HEADER

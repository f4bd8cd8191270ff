"""A message in several packets (mode M3): where a packet stands, cutting a joined message, and reading it as one frame.

A joined message is the packets as received, in order. What the message says is not looked at here.
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
    """The frames of a message, in order, as long as they declare to be; the last is what is left."""
    found, at = [], 0
    while at < len(message):
        size = size_of_frame(message, at) if begins(message, at) else len(message)
        found.append(message[at : at + size])
        at += size
    return found


def messages(raw: bytes) -> list[bytes]:
    """The messages of glued frames, as of the answers of one round: packets that follow a packet stay with it."""
    found: list[list[bytes]] = []
    several = False
    for piece in pieces(raw):
        place = packet(piece) if begins(piece, 0) else None
        if several and place and place.number > 1:
            found[-1].append(piece)
        else:
            found.append([piece])
        several = place is not None
    return [b"".join(frames) for frames in found]


def joined(message: bytes) -> bytes:
    """The message as one plain frame of one packet, with the last packet's end. Raises `ValueError` where packets lack."""
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


def begins(message: bytes, at: int) -> bool:
    """Whether a whole header begins there."""
    if message[at : at + 1] == SOH:
        return LETTERS_HEAD.match(message, at, at + LETTERS_HEADER) is not None
    return message[at : at + 2] == START and len(message) >= at + HEADER

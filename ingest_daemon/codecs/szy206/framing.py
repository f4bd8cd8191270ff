"""What a frame looks like, for the cutter of streams. What a frame says is not looked at beyond its start."""

from ingest_daemon.codec_kit.api import Decoder, Frame
from ingest_daemon.codec_kit.framer import Fault, FrameFormat, Framer
from ingest_daemon.codecs.szy206.header import END, LONGEST, OVERHEAD, SHORTEST, START, UP, crc8
from ingest_daemon.contract.schema import Reason


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(RULES)


def sniff(prefix: bytes) -> bool | None:
    """Whether stations of this family speak: a frame of theirs is in the bytes, and they begin as one.

    `68 L 68` and C of a station: M-Bus begins `68 L L 68`, CJ/T 188 has its type in the place of L, and neither has a CRC-8.
    """
    least, most = (START, SHORTEST, START, UP), (START, LONGEST, START, 0xFF)
    if not all(low <= byte <= high for low, byte, high in zip(least, prefix, most, strict=False)):
        return False
    return any(isinstance(item, Frame) for item in decoder().feed(prefix)) or None


def _size(head: bytes) -> int | None:
    if (len(head) > 1 and head[1] < SHORTEST) or (len(head) > 2 and head[2] != START):
        return 0
    return OVERHEAD + head[1] if len(head) > 2 else None


def _fault(frame: bytes) -> Fault | None:
    received, expected = frame[-2], crc8(frame[3:-2])
    crc = f"CRC is {received:02X}, expected {expected:02X}"
    if frame[-1] != END:
        detail = f"L declares {frame[1]} bytes, but {frame[-1]:02X} stands where the end 16 is expected; {crc}"
        return Reason.BAD_LENGTH, detail
    return None if received == expected else (Reason.BAD_CRC, crc)


RULES = FrameFormat(bytes((START,)), 3, _size, _fault, "the start 68 L 68")

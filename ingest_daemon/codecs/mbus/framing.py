"""The frame: its constants, the frame format for the framer, frames made, and the number of the meter. Reads no record."""

import re

import numpy as np

from ingest_daemon.codec_kit.api import Decoder, Frame
from ingest_daemon.codec_kit.checksums import sums
from ingest_daemon.codec_kit.framer import Bulk, Bytes, Fault, FrameFormat, Framer, Mask, Offsets
from ingest_daemon.contract.schema import Reason

ACK, SHORT, LONG, END = 0xE5, 0x10, 0x68, 0x16
SHORT_SIZE, OVERHEAD = 5, 6
MAX_FRAME = OVERHEAD + 255
SND_NKE, SND_UD, REQ_UD2, RSP_UD = 0x40, 0x53, 0x5B, 0x08
FCB, FROM_MASTER, FUNCTION = 0x20, 0x40, 0x0F
SELECTED = 0xFD
"""Address of the meter that was chosen by its number."""
VARIABLE, FIXED, APPLICATION_ERROR, SELECT = 0x72, 0x73, 0x70, 0x52
HEADER = 19
"""Bytes before the records of a frame with CI 72."""


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(FRAME_FORMAT)


def size_of(head: bytes | bytearray) -> int | None:
    """Bytes of the frame that begins here, by its first four: 0 where none begins, None where more bytes are needed."""
    if head[0] == SHORT:
        return None if len(head) < 2 else SHORT_SIZE if head[1] & 0xC0 == FROM_MASTER else 0
    if len(head) < 4:
        like = len(head) < 3 or head[1] == head[2]
        return None if like and (len(head) < 2 or head[1] >= 3) else 0
    return OVERHEAD + head[1] if head[1] == head[2] and head[1] >= 3 and head[3] == LONG else 0


def is_good(frame: bytes | bytearray) -> bool:
    """Whether a frame of good size ends as it should and has the right checksum."""
    return frame[-1] == END and checksum_of(frame) == frame[-2]


def fault_of(frame: bytes) -> Fault:
    """The wrong end or checksum of a frame of good size."""
    if frame[-1] != END:
        return Reason.BAD_LENGTH, f"{frame[-1]:02X} stands where the end 16 is expected"
    return Reason.BAD_CRC, f"checksum is {frame[-2]:02X}, expected {checksum_of(frame):02X}"


def checksum_of(frame: bytes | bytearray) -> int:
    """The checksum that a frame of good size must have."""
    return _sum(frame[1 if frame[0] == SHORT else 4 : -2])


def _sizes(block: Bytes) -> Offsets:
    first, length = block[:-3], block[1:-2]
    is_long = (first == LONG) & (length >= 3) & (block[2:-1] == length) & (block[3:] == LONG)
    is_short = (first == SHORT) & (length & 0xC0 == FROM_MASTER)
    return np.where(is_long, length.astype(np.int64) + OVERHEAD, np.where(is_short, SHORT_SIZE, 0))


def _good(block: Bytes, starts: Offsets, ends: Offsets) -> Mask:
    total = sums(block)
    content = starts + np.where(block[starts] == SHORT, 1, 4)
    good: Mask = block[ends - 2] == total[ends - 2] - total[content]
    return good


FRAME_FORMAT = FrameFormat(
    begins=re.compile(rb"(?=\x10(?:[\x40-\x7f]|\Z)|\x68(?:([\x03-\xff])(?:\1(?:\x68|\Z)|\Z)|\Z))", re.DOTALL),
    header=4,
    shortest=SHORT_SIZE,
    size=size_of,
    good=is_good,
    fault=fault_of,
    expected="E5, 10 and a control byte of the master, or 68 L L 68",
    end=END,
    single=bytes((ACK,)),
    bulk=Bulk(bytes((SHORT, LONG)), _sizes, _good),
)


def _sum(data: bytes | bytearray) -> int:
    return sum(data) & 0xFF


def long_frame(content: bytes) -> bytes:
    return bytes((LONG, len(content), len(content), LONG)) + content + bytes((_sum(content), END))


def short_frame(control: int, address: int) -> bytes:
    return bytes((SHORT, control, address, _sum(bytes((control, address))), END))


def terminal(frame: bytes) -> str:
    """The primary address, "1" to "250", of a frame or the first long one of a round; else the 8 digits of the meter's number."""
    first = next((piece for piece in frames_of(frame) if piece[0] == LONG), b"")
    if len(first) < OVERHEAD + 3:
        return ""
    if 1 <= first[5] <= 250:
        return str(first[5])
    return meter_number(first) if first[6] == VARIABLE and len(first) >= HEADER + 2 else ""


def meter_number(frame: bytes) -> str:
    return frame[10:6:-1].hex().upper()


def frames_of(raw: bytes) -> list[bytes]:
    return [piece.raw for piece in Framer(FRAME_FORMAT).feed(raw) if isinstance(piece, Frame)]

"""The frame format, for the framer. Nothing of a frame's content is read beyond its start."""

import re

import numpy as np

from ingest_daemon.codec_kit.api import Decoder, Frame
from ingest_daemon.codec_kit.framer import Bulk, Bytes, Fault, FrameFormat, Framer, Mask, Offsets
from ingest_daemon.codecs.szy206.header import END, LONGEST, OVERHEAD, SHORTEST, START, UP, crc8, running_crc8
from ingest_daemon.contract.schema import Reason


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(FRAME_FORMAT)


def sniff(prefix: bytes) -> bool | None:
    """Whether stations of this family send these bytes: they begin like a frame of theirs and hold a whole one.

    `68 L 68` and C of a station: M-Bus begins `68 L L 68`, CJ/T 188 has its type in the place of L, and neither has a CRC-8.
    """
    least, most = (START, SHORTEST, START, UP), (START, LONGEST, START, 0xFF)
    if not all(low <= byte <= high for low, byte, high in zip(least, prefix, most, strict=False)):
        return False
    return any(isinstance(item, Frame) for item in decoder().feed(prefix)) or None


def _size(head: bytes | bytearray) -> int | None:
    if (len(head) > 1 and head[1] < SHORTEST) or (len(head) > 2 and head[2] != START):
        return 0
    return OVERHEAD + head[1] if len(head) > 2 else None


def _is_good(frame: bytes | bytearray) -> bool:
    return frame[-1] == END and crc8(frame[3:-2]) == frame[-2]


def _fault(frame: bytes) -> Fault:
    crc = f"CRC is {frame[-2]:02X}, expected {crc8(frame[3:-2]):02X}"
    if frame[-1] != END:
        detail = f"L declares {frame[1]} bytes, but {frame[-1]:02X} stands where the end 16 is expected; {crc}"
        return Reason.BAD_LENGTH, detail
    return Reason.BAD_CRC, crc


def _sizes(block: Bytes) -> Offsets:
    length = block[1:-1]
    is_header = (block[:-2] == START) & (length >= SHORTEST) & (block[2:] == START)
    return np.where(is_header, length.astype(np.int64) + OVERHEAD, 0)


def _good(block: Bytes, starts: Offsets, ends: Offsets) -> Mask:
    running = running_crc8(block)
    good: Mask = running[starts + 3] == running[ends - 1]
    return good


FRAME_FORMAT = FrameFormat(
    begins=re.compile(rb"(?=\x68(?:[\x07-\xff](?:\x68|\Z)|\Z))"),
    header=3,
    shortest=OVERHEAD + SHORTEST,
    size=_size,
    good=_is_good,
    fault=_fault,
    expected="the start 68 L 68",
    end=END,
    bulk=Bulk(bytes((START,)), _sizes, _good),
)

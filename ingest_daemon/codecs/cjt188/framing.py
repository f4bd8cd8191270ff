"""The frame: its constants, the frame format for the framer, and the fields around the data. The data are not read here."""

import re
from typing import NamedTuple

import numpy as np

from ingest_daemon.codec_kit.api import Decoder
from ingest_daemon.codec_kit.checksums import sums
from ingest_daemon.codec_kit.framer import Bulk, Bytes, Fault, FrameFormat, Framer, Mask, Offsets
from ingest_daemon.contract.schema import Reason

START, END, WAKE = 0x68, 0x16, b"\xfe"
HEADER, OVERHEAD = 11, 13
MOST_WAKE = 16
MAX_FRAME = MOST_WAKE + OVERHEAD + 255

PRESENT, CLOCK = 0x901F, 0x907F
FREEZES = range(0xD300, 0xD500)
TIMED_FREEZE = 0xD300
READ, ANSWER, ERROR, FUNCTION = 0x01, 0x80, 0x40, 0x1F
ODD_ANSWER = 0xAA
"""Control of the answer to a write, as some meters send it instead of 84."""

TYPES = frozenset((*range(0x10, 0x1A), *range(0x20, 0x2A), *range(0x30, 0x3A), *range(0x40, 0x4A), 0xAA))
MONTHS = frozenset((*range(0xD120, 0xD12C), *range(0xD200, 0xD300)))
KNOWN = frozenset((PRESENT, CLOCK, *MONTHS, *FREEZES, *range(0x8102, 0x810B), *range(0xA010, 0xA01A)))

M3, LITRE = 0x2C, 0x29
LITRES = (LITRE, 0x2A, 0x2B)
VOLUMES = {M3: (1, "m³"), 0x2D: (10, "10 m³"), 0x2E: (100, "100 m³"), LITRE: (1, "L"), 0x2A: (10, "10 L"), 0x2B: (100, "100 L")}
FLOWS = {
    0x35: (1000, "m³/h"),
    0x36: (10_000, "10 m³/h"),
    0x37: (100_000, "100 m³/h"),
    0x32: (1, "L/h"),
    0x33: (10, "10 L/h"),
    0x34: (100, "100 L/h"),
}
"""Unit codes: how many m³ or litres (of flows: litres per hour) one is, and its name."""


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(FRAME_FORMAT)


def size_of(head: bytes | bytearray) -> int | None:
    if len(head) > 1 and head[1] not in TYPES:
        return 0
    if len(head) < HEADER:
        return None
    return OVERHEAD + head[10] if head[10] >= 2 else 0


def is_good(frame: bytes | bytearray) -> bool:
    """Whether the checksum is good. A sum over the data alone counts too: `decode`, which has the meter's profile, judges it."""
    return frame[-1] == END and frame[-2] in (sum_of(frame[:-2]), sum_of(frame[HEADER:-2]))


def fault_of(frame: bytes) -> Fault:
    if frame[-1] != END:
        return Reason.BAD_LENGTH, f"declares {frame[10]} bytes of data, but {frame[-1]:02X} follows them where 16 is expected"
    return Reason.BAD_CRC, f"checksum is {frame[-2]:02X}, expected {sum_of(frame[:-2]):02X}"


_IS_TYPE = np.isin(np.arange(256), list(TYPES))


def _sizes(block: Bytes) -> Offsets:
    last = len(block) - HEADER + 1
    count = block[HEADER - 1 :]
    is_header = (block[:last] == START) & _IS_TYPE[block[1 : last + 1]] & (count >= 2)
    return np.where(is_header, count.astype(np.int64) + OVERHEAD, 0)


def _good(block: Bytes, starts: Offsets, ends: Offsets) -> Mask:
    total = sums(block)
    received, over_data = block[ends - 2], total[ends - 2] - total[starts + HEADER]
    good: Mask = (received == total[ends - 2] - total[starts]) | (received == over_data)
    return good


FRAME_FORMAT = FrameFormat(
    begins=re.compile(rb"(?=\x68(?:[%b](?:.{8}[\x02-\xff]|.{0,8}\Z)|\Z))" % re.escape(bytes(sorted(TYPES))), re.DOTALL),
    header=HEADER,
    shortest=OVERHEAD + 2,
    size=size_of,
    good=is_good,
    fault=fault_of,
    expected="the start 68 and a whole header",
    end=END,
    lead=WAKE,
    most_lead=MOST_WAKE,
    bulk=Bulk(bytes((START,)), _sizes, _good),
)


def sum_of(data: bytes | bytearray) -> int:
    return sum(data) & 0xFF


def identifier_of(raw: bytes) -> int:
    """The data identifier from either order of its bytes; high byte first where both orders are possible."""
    high_first, low_first = int.from_bytes(raw, "big"), int.from_bytes(raw, "little")
    return low_first if low_first in KNOWN and high_first not in KNOWN else high_first


class Parts(NamedTuple):
    """The parts of a frame, without the bytes that wake the line."""

    meter_type: int
    address: str
    control: int
    identifier: int
    number: int | None
    data: bytes

    @property
    def is_answer(self) -> bool:
        return bool(self.control & ANSWER)


def apart(frame: bytes) -> Parts:
    body = frame.lstrip(WAKE)
    data = body[HEADER:-2]
    return Parts(
        body[1],
        body[8:1:-1].hex().upper(),
        body[9],
        identifier_of(data[:2]),
        data[2] if len(data) > 2 else None,
        data[3:],
    )


def terminal(frame: bytes) -> str:
    """The meter's address, 14 digits as they are printed (high byte first)."""
    return frame.lstrip(WAKE)[8:1:-1].hex().upper()

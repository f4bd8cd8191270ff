"""The fields around a frame's data: direction, packet number, FCB, type, address, function, and the CRC.

All of them stand at fixed offsets (the layout is in the package's docstring). No framing and no values here.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_daemon.codec_kit.api import Packet

START, END = 0x68, 0x16
OVERHEAD = 5
"""Bytes of a frame outside L."""
SHORTEST, LONGEST = 7, 255
"""L: at least C, A and AFN."""
MAX_FRAME = OVERHEAD + LONGEST
"""Longest frame in bytes."""

LINK, ALARM, MANUAL, VOLTAGE, NOW, HISTORY, REPORT = 0x02, 0x81, 0x82, 0x84, 0xB0, 0xB1, 0xC0
"""Functions (AFN) that are understood here."""
FLOW, ALARM_STATE, PRESSURE = 0x3, 0xD, 0xF
"""Types (low nibble of C) that have values of a meter; D carries the voltage."""
UP, IN_PACKETS, NEW = 0x80, 0x40, 0x30
"""Bits of C: direction; one of several packets; the FCB of a message that is no repetition."""


class Head(NamedTuple):
    """The fields of one frame; `number` is None for a message of one packet, `data` is D, PW and Tp."""

    control: int
    number: int | None
    address: bytes
    function: int
    data: bytes

    @property
    def is_up(self) -> bool:
        """Whether a station sent it."""
        return self.control >= UP

    @property
    def kind(self) -> int:
        """The type."""
        return self.control & 0x0F


def head_of(frame: bytes) -> Head:
    """The parts of a whole frame; a function of two bytes (FF and one more) is a number of two bytes."""
    control = frame[3]
    start = 5 if control & IN_PACKETS else 4
    after = start + (7 if frame[start + 5] == 0xFF else 6)
    function = int.from_bytes(frame[start + 5 : after], "big")
    return Head(control, frame[4] if control & IN_PACKETS else None, frame[start : start + 5], function, frame[after:-2])


def frames_of(raw: bytes) -> Iterator[bytes]:
    """The frames of a message in several packets, or of a round of answers. A frame shorter than its L is given as it is."""
    start = 0
    while start < len(raw):
        size = OVERHEAD + raw[start + 1] if start + 1 < len(raw) else OVERHEAD
        yield raw[start : start + size]
        start += size


def is_whole(frame: bytes) -> bool:
    """Whether the bytes have their declared length, and room for the fields before the data."""
    if len(frame) < OVERHEAD + SHORTEST or len(frame) != OVERHEAD + frame[1]:
        return False
    start = 5 if frame[3] & IN_PACKETS else 4
    return len(frame) - 2 >= start + (7 if frame[start + 5] == 0xFF else 6)


def terminal(frame: bytes) -> str:
    """The station's address A as 10 hex digits."""
    return head_of(frame).address.hex().upper()


def packet(frame: bytes) -> Packet | None:
    """The packet's place; the packets of a message share address, function and type, whatever their FCB.

    The numbers are 255 to 1: a packet 0 belongs to no message.
    """
    head = head_of(frame)
    if not head.number:
        return None
    return Packet(head.address + head.function.to_bytes(2, "big") + bytes((head.kind,)), head.number, None)


def sealed(body: bytes) -> bytes:
    """The frame around C to Tp. Raises `ValueError` where there are more bytes than L can count."""
    if not SHORTEST <= len(body) <= LONGEST:
        raise ValueError(f"a frame holds {SHORTEST} to {LONGEST} bytes from C to Tp, got {len(body)}")
    return bytes((START, len(body), START)) + body + bytes((crc8(body), END))


def _tables() -> list[bytes]:
    """Tables that multiply a byte by the powers of x^8 modulo the polynomial E5, from x^0 up to where they repeat."""
    step = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x1E5 if value & 0x80 else 0)
        step.append(value)
    tables = [bytes(range(256))]
    while (table := tables[-1].translate(bytes(step))) != tables[0]:
        tables.append(table)
    return tables


_TABLES = _tables()
_STEP = _TABLES[1]
_DIVIDING = np.frombuffer(b"".join([_TABLES[0], *_TABLES[:0:-1]]), np.uint8)
"""The same tables for dividing, 256 bytes a table."""


def crc8(data: bytes | bytearray) -> int:
    """CRC-8 with polynomial X7+X6+X5+X2+1 (E5), start 00, high bit first (SL/T 427-2021, frame check CS).

    A byte counts by its distance from the end: the first half is multiplied by that distance and added to the second, so that
    half of the bytes are left. Zeros before the first byte change nothing.
    """
    half = 8
    while 2 * half < len(data):
        half *= 2
    data = bytes(data).rjust(2 * half, b"\0")
    while half > 4:
        first = data[:half].translate(_TABLES[half % len(_TABLES)])
        data = (int.from_bytes(first, "big") ^ int.from_bytes(data[half:], "big")).to_bytes(half, "big")
        half //= 2
    crc = 0
    for byte in data:
        crc = _STEP[crc ^ byte]
    return crc


def running_crc8(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The CRC-8 of the bytes before each place of the block, and of all, divided by the power of x at the place.

    Two places with the same value enclose a piece that ends in its own CRC.
    """
    running = np.zeros(len(block) + 1, np.uint8)
    rows = np.resize(np.arange(len(_TABLES)) * 256, len(block))
    np.bitwise_xor.accumulate(_DIVIDING.take(rows + block), out=running[1:])
    return running

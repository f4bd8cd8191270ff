"""What the bytes around a frame's data say: direction, packet number, FCB, type, address, function, and the CRC.

All of it by fixed offsets (the layout is in the package's docstring). No cutting of streams and no values here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ingest_daemon.codec_kit.api import Packet

START, END = 0x68, 0x16
OVERHEAD = 5
"""Bytes of a frame that L does not count."""
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
    """What stands before and in the data of one frame; `number` is None for a message of one packet, `data` is D, PW and Tp."""

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
    at = 5 if control & IN_PACKETS else 4
    after = at + (7 if frame[at + 5] == 0xFF else 6)
    function = int.from_bytes(frame[at + 5 : after], "big")
    return Head(control, frame[4] if control & IN_PACKETS else None, frame[at : at + 5], function, frame[after:-2])


def frames_of(raw: bytes) -> Iterator[bytes]:
    """The frames of a message in several packets, or of a round of questions. What ends before its L says is given as it is."""
    at = 0
    while at < len(raw):
        size = OVERHEAD + raw[at + 1] if at + 1 < len(raw) else OVERHEAD
        yield raw[at : at + size]
        at += size


def is_whole(frame: bytes) -> bool:
    """Whether the bytes have the length that they declare, and room for all that stands before the data."""
    if len(frame) < OVERHEAD + SHORTEST or len(frame) != OVERHEAD + frame[1]:
        return False
    at = 5 if frame[3] & IN_PACKETS else 4
    return len(frame) - 2 >= at + (7 if frame[at + 5] == 0xFF else 6)


def terminal(frame: bytes) -> str:
    """The station's address A as 10 hex digits."""
    return head_of(frame).address.hex().upper()


def packet(frame: bytes) -> Packet | None:
    """The packet's place: the packets of a message have address, function and type in common; FCB is left out of account.

    The numbers are 255 to 1: a packet 0 is of no message.
    """
    head = head_of(frame)
    if not head.number:
        return None
    return Packet(head.address + head.function.to_bytes(2, "big") + bytes((head.kind,)), head.number, None)


def sealed(body: bytes) -> bytes:
    """The frame around C to Tp. Raises `ValueError` where L cannot say so many bytes."""
    if not SHORTEST <= len(body) <= LONGEST:
        raise ValueError(f"a frame holds {SHORTEST} to {LONGEST} bytes from C to Tp, got {len(body)}")
    return bytes((START, len(body), START)) + body + bytes((crc8(body), END))


def _crc_table() -> bytes:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x1E5 if value & 0x80 else 0)
        table.append(value)
    return bytes(table)


_TABLE = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial X7+X6+X5+X2+1 (E5), start 00, high bit first (SL/T 427-2021, frame check CS)."""
    crc = 0
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc

"""What the bytes around a frame's content say: symbols, sizes, function, addresses, length, packets, sequence, and the CRC.

All of it by fixed offsets (the layout is in the package's docstring). No cutting of streams and no elements here.
"""

from ingest_daemon.checksums import crc16_high_first

START = b"\x7e\x7e"
STX, SYN, ETX, ETB, ENQ, EOT, ACK, NAK, ESC = 0x02, 0x16, 0x03, 0x17, 0x05, 0x04, 0x06, 0x15, 0x1B
ENDS = frozenset((ETX, ETB, ENQ, EOT, ACK, NAK, ESC))

HEADER = 14
"""Bytes from the start symbol to the second start symbol (STX or SYN)."""
OVERHEAD = HEADER + 3
"""Bytes of a frame beside those that its length counts: header, end symbol, CRC."""
LONGEST = 0xFFF
"""The most bytes that a length can declare: it has 12 bits."""
MAX_FRAME = OVERHEAD + LONGEST
"""Longest frame in bytes."""

TEST, SERIES, TIMED, EVENT, KEEP_ALIVE = 0x30, 0x31, 0x32, 0x33, 0x2F
ELEMENT_FUNCTIONS = frozenset(range(0x30, 0x3B))
"""Functions whose body is made of station with type, observation times and elements."""
READING_FUNCTIONS = frozenset((SERIES, TIMED, EVENT, 0x34, 0x37, 0x38, 0x3A))
"""Of those, the ones with measurements: test report, manual text and pictures have none."""
SERIES_FUNCTIONS = frozenset((SERIES, 0x38))
ANSWERS = frozenset((*range(0x37, 0x3B), *range(0x40, 0x52)))
"""Functions with which a station answers our query (mode M4): the exchange ends with the answer, nothing is acknowledged."""


def terminal(frame: bytes) -> str:
    """The station address as 10 hex digits: five bytes, after the centre's address on the way up, before it on the way down."""
    return (frame[2:7] if is_reply(frame) else frame[3:8]).hex().upper()


def is_alarm(frame: bytes) -> bool:
    """Whether it is an event report (33H) of a station."""
    return frame[10] == EVENT and not is_reply(frame)


def is_reply(frame: bytes) -> bool:
    """Whether the frame comes from the centre (direction nibble 8)."""
    return frame[11] >> 4 == 8


def sequence_of(frame: bytes) -> int | None:
    """The message's sequence number; None where there is none (a later packet of a multi-packet message, an empty body)."""
    start, end = body_of(frame)
    if packet_of(frame)[1] > 1 or end - start < 2:
        return None
    return int.from_bytes(frame[start : start + 2], "big")


def length_of(frame: bytes, at: int = 0) -> int:
    """Bytes between the second start symbol and the end symbol, as declared."""
    return (frame[at + 11] & 0x0F) << 8 | frame[at + 12]


def body_of(frame: bytes) -> tuple[int, int]:
    """First offset of the body (after the packet numbers of M3) and the offset after its last byte."""
    return HEADER + (3 if frame[13] == SYN else 0), HEADER + length_of(frame)


def packet_of(frame: bytes) -> tuple[int, int]:
    """Total and number of the packet; (1, 1) for a frame of one packet."""
    if frame[13] != SYN:
        return 1, 1
    word = int.from_bytes(frame[HEADER : HEADER + 3], "big")
    return word >> 12, word & 0xFFF


def sealed(frame: bytes) -> bytes:
    """The frame with its CRC behind it."""
    return frame + crc16_high_first(frame)

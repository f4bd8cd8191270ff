"""The bytes around a frame's content: symbols, sizes, function, addresses, length, packets, sequence, and the CRC.

They stand at fixed offsets of the HEX form (the layout is in the package's docstring); functions that take frames of either
form turn an ASCII frame into a plain one with `plain` first. No cutting of streams and no elements here.
"""

import re

from ingest_daemon.codec_kit.checksums import crc16_high_first

START, SOH = b"\x7e\x7e", b"\x01"
_SOH = SOH[0]
STX, SYN, ETX, ETB, ENQ, EOT, ACK, NAK, ESC = 0x02, 0x16, 0x03, 0x17, 0x05, 0x04, 0x06, 0x15, 0x1B
ENDS = frozenset((ETX, ETB, ENQ, EOT, ACK, NAK, ESC))

HEADER = 14
"""Bytes from the start symbol to the second start symbol (STX or SYN)."""
OVERHEAD = HEADER + 3
"""Bytes of a frame beside those that its length counts: header, end symbol, CRC."""
LONGEST = 0xFFF
"""Largest length that can be declared: it has 12 bits, except in a packet of several (SYN) on the way up."""
LONGEST_PACKET = 0xFFFF
"""Largest length of such a packet: it has 16 bits. One of 8000 to 8FFF looks like a frame of the centre."""
MAX_FRAME = OVERHEAD + LONGEST_PACKET
"""Longest frame in bytes."""

LETTERS_HEADER = 24
"""Bytes of an ASCII frame from SOH to STX or SYN: 22 hex digits stand for 11 bytes."""
LETTERS_OVERHEAD = LETTERS_HEADER + 5
"""Bytes of an ASCII frame beside those that its length counts: header, end symbol, CRC of 4 hex digits."""
_HEX_DIGITS = re.compile(rb"[0-9A-Fa-f]+")
LETTERS_HEAD = re.compile(rb"\x01[0-9A-F]{22}[\x02\x16]")

KEEP_ALIVE, TEST, SERIES, TIMED, EVENT, HOURLY, MANUAL, PICTURE_REPORT = range(0x2F, 0x37)
NOW, HISTORY, MANUAL_STORED, CHOSEN = 0x37, 0x38, 0x39, 0x3A
BASICS, PARAMETERS, VERSION, STATE, SET_CLOCK, EVENTS, CLOCK = 0x41, 0x43, 0x45, 0x46, 0x4A, 0x50, 0x51
ELEMENT_FUNCTIONS = frozenset(range(0x30, 0x3B))
"""Functions whose body is made of station with type, observation times and elements."""
READING_FUNCTIONS = frozenset((SERIES, TIMED, EVENT, HOURLY, NOW, HISTORY, CHOSEN))
"""Those of them with measurements: test report, manual text and pictures have none."""
SERIES_FUNCTIONS = frozenset((SERIES, HISTORY))
ANSWERS = frozenset((*range(0x37, 0x3B), *range(0x40, 0x52)))
"""Functions with which a station answers our query (mode M4)."""


def plain(frame: bytes) -> bytes:
    """The frame; of an ASCII frame, header, packet numbers and CRC become bytes of the HEX form and the body stays text."""
    if frame[0] != _SOH:
        return frame
    head, begin, rest = bytes.fromhex(frame[1 : LETTERS_HEADER - 1].decode()), frame[23:24], frame[LETTERS_HEADER:]
    if begin[0] == SYN:
        begin, rest = begin + _bytes_of(rest[:6]), rest[6:]
    return START + head + begin + rest[:-4] + _bytes_of(rest[-4:])


def _bytes_of(text: bytes) -> bytes:
    """The bytes of hex digits; zeros where they are not hex."""
    return bytes.fromhex(text.decode()) if _HEX_DIGITS.fullmatch(text) and len(text) % 2 == 0 else bytes((len(text) + 1) // 2)


def terminal(frame: bytes) -> str:
    """The station address as 10 hex digits: five bytes, behind the centre's address on the way up, before it on the way down."""
    frame = plain(frame)
    return (frame[2:7] if frame[11] >> 4 == 8 else frame[3:8]).hex().upper()


def password(frame: bytes) -> str:
    """The password as 4 hex digits."""
    return plain(frame)[8:10].hex().upper()


def is_reply(frame: bytes) -> bool:
    """Whether the frame comes from the centre (direction nibble 8)."""
    return frame[11] >> 4 == 8 if frame[0] != _SOH else frame[19] == 0x38


def sequence_of(frame: bytes) -> int | None:
    """The message's sequence number; None where there is none (a later packet of a multi-packet message, an empty body)."""
    down, lettered, frame = is_reply(frame), frame[:1] == SOH, plain(frame)
    return None if packet_of(frame)[1] > 1 and not down else sequence_in(frame, lettered=lettered)


def sequence_in(frame: bytes, *, lettered: bool) -> int | None:
    """The sequence number that begins a plain frame's body, `lettered` where that is text; None where it is absent."""
    start, end = body_of(frame)
    if not lettered:
        return frame[start] << 8 | frame[start + 1] if end - start >= 2 else None
    digits = frame[start : min(end, start + 4)]
    return int(digits, 16) if len(digits) == 4 and _HEX_DIGITS.fullmatch(digits) else None


def length_of(frame: bytes | bytearray, start: int = 0) -> int:
    """Bytes between the second start symbol and the end symbol, as declared."""
    high = frame[start + 11]
    if frame[start + 13] != SYN or high >> 4 == 8:
        high &= 0x0F
    return high << 8 | frame[start + 12]


def size_of_frame(frame: bytes, start: int = 0) -> int:
    """Bytes of the frame of either form whose whole header begins at `start`, as declared."""
    if frame[start : start + 1] == SOH:
        return LETTERS_OVERHEAD + int(frame[start + 20 : start + 23], 16)
    return OVERHEAD + length_of(frame, start)


def body_of(frame: bytes) -> tuple[int, int]:
    """First offset of a whole frame's body (after the packet numbers of M3) and the offset after its last byte."""
    return HEADER + (3 if frame[13] == SYN else 0), len(frame) - 3


def packet_of(frame: bytes) -> tuple[int, int]:
    """Total and number of the packet; (1, 1) for a frame of one packet."""
    if frame[13] != SYN:
        return 1, 1
    word = int.from_bytes(frame[HEADER : HEADER + 3], "big")
    return word >> 12, word & 0xFFF


def sealed(frame: bytes) -> bytes:
    """The frame with its CRC behind it."""
    return frame + crc16_high_first(frame)

"""SMS-DELIVER PDUs as modems and gateways give them: bytes → sender, time, content, place in a longer message. Pure.

Layout (3GPP TS 23.040 9.2.2.1; alphabets and coding scheme: TS 23.038):

    length, service centre | first octet | sender: digits, type, semi-octets | PID | DCS | time (7) | UDL | user data

The first octet has the type of the message (bits 0–1; 0: DELIVER) and bit 6 for user data that begin with a header:
`length, (element, length, data)…`, whose elements 00 and 08 give message and part. Behind it septets start at the next whole one.
A user data length beyond the end is tolerated: the frame's own checksum judges the content.
"""

from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_TYPES = {1: "SMS-SUBMIT", 2: "SMS-STATUS-REPORT", 3: "reserved"}
_HAS_HEADER = 0x40
_ALPHANUMERIC, _INTERNATIONAL = 5, 1

_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
_EXTENSION = {10: "\f", 20: "^", 40: "{", 41: "}", 47: "\\", 60: "[", 61: "~", 62: "]", 64: "|", 101: "€"}
_DIGITS = "0123456789*#abc"


class BadPdu(ValueError):
    """The bytes are no SMS-DELIVER; the text names what was expected and what was there."""


class Part(NamedTuple):
    """Place in a message of several SMS: the sender's `reference` of the message, how many parts, which one (from 1)."""

    reference: int
    total: int
    number: int


class Sms(NamedTuple):
    """One delivered SMS. `content`: text, or octets where it is coded as such. `sent_at`: the centre's, not the meter's."""

    sender: str
    sent_at: datetime | None
    content: str | bytes
    part: Part | None


def read_pdu(pdu: bytes) -> Sms:
    """Decode one PDU. Raises `BadPdu`."""
    at = _Reader(pdu)
    at.take(at.octet("the length of the service centre"), "the service centre")
    first = at.octet("the first octet")
    if kind := first & 3:
        raise BadPdu(f"expected an SMS-DELIVER (type 0), there is type {kind}, {_TYPES[kind]}")
    digits = at.octet("the length of the sender")
    sender = _address(at.octet("the type of the sender"), at.take((digits + 1) // 2, "the sender"), digits)
    at.octet("the protocol identifier")
    scheme = at.octet("the data coding scheme")
    sent_at = _time(at.take(7, "the time"))
    length = at.octet("the user data length")
    data = at.rest()
    header = b""
    if first & _HAS_HEADER:
        if not data or len(data) <= data[0]:
            raise BadPdu(f"the user data header does not fit into the {len(data)} octets of user data")
        header = data[: data[0] + 1]
    return Sms(sender, sent_at, _content(_coding(scheme), data, length, len(header)), _part(header[1:]))


class _Reader:
    """Bytes taken one piece after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int, what: str) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise BadPdu(f"the PDU of {len(self._data)} octets ends inside of {what}")
        self._at += count
        return piece

    def octet(self, what: str) -> int:
        return self.take(1, what)[0]

    def rest(self) -> bytes:
        return self._data[self._at :]


def _address(kind: int, octets: bytes, digits: int) -> str:
    number_type = kind >> 4 & 7
    if number_type == _ALPHANUMERIC:
        return _septets(octets, 0, digits * 4 // 7)
    nibbles = [nibble for octet in octets for nibble in (octet & 15, octet >> 4)][:digits]
    if 15 in nibbles:
        raise BadPdu(f"the sender has {digits} digits by its length, but filling inside: {octets.hex()}")
    return "+" * (number_type == _INTERNATIONAL) + "".join(_DIGITS[nibble] for nibble in nibbles)


def _time(octets: bytes) -> datetime | None:
    """The service centre's time with its zone (quarters of an hour, bit 3: minus); None where it is none."""
    year, month, day, hour, minute, second = ((octet & 15) * 10 + (octet >> 4) for octet in octets[:6])
    quarters = (octets[6] & 7) * 10 + (octets[6] >> 4)
    zone = timedelta(minutes=-15 * quarters if octets[6] & 8 else 15 * quarters)
    try:
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=timezone(zone))
    except ValueError:
        return None


def _coding(scheme: int) -> str:
    """`septets`, `octets` or `ucs2`. Raises `BadPdu` where the content is compressed."""
    group = scheme >> 4
    if group < 8:
        if scheme & 0x20:
            raise BadPdu(f"expected plain content, the data coding scheme {scheme:02X} says compressed")
        return ("septets", "octets", "ucs2", "septets")[scheme >> 2 & 3]
    if group == 14:
        return "ucs2"
    return "octets" if group == 15 and scheme & 4 else "septets"


def _content(coding: str, data: bytes, length: int, header: int) -> str | bytes:
    """User data behind their header; `length` counts septets or octets, the header's included."""
    if coding == "septets":
        return _septets(data, -(-header * 8 // 7), length)
    octets = data[header:length]
    return octets if coding == "octets" else octets[: len(octets) // 2 * 2].decode("utf-16-be", "replace")


def _septets(octets: bytes, start: int, end: int) -> str:
    """Septets `start` up to `end` (or as many as there are) as text."""
    number = int.from_bytes(octets, "little")
    text, escaped = [], False
    for index in range(start, min(end, len(octets) * 8 // 7)):
        septet = number >> 7 * index & 0x7F
        if septet == _ESCAPE and not escaped:
            escaped = True
            continue
        text.append(_EXTENSION.get(septet, _ALPHABET[septet]) if escaped else _ALPHABET[septet])
        escaped = False
    return "".join(text)


def _part(elements: bytes) -> Part | None:
    """The place given by the header's elements; an impossible one counts as absent, by the standard. The last one counts."""
    found = None
    at = _Reader(elements)
    while len(at.rest()) >= 2:
        element, length = at.octet(""), at.octet("")
        data = at.take(length, f"element {element:02X} of the user data header")
        if (element, length) in ((0x00, 3), (0x08, 4)):
            reference, total, number = int.from_bytes(data[:-2], "big"), data[-2], data[-1]
            found = Part(reference, total, number) if 1 <= number <= total else None
    return found

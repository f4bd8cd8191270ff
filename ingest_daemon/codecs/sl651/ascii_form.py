"""The ASCII form: its messages translated into the HEX form, which the other modules read, and our frames spelled in ASCII.

The body is text: sequence (4 hex digits), send time (12 digits), then words with a space behind each, `code value`:

    0007260701081500ST 0031010001 I TT 2607010800 Q 0.025 WP1 345.60 VT 3.60 ZT 00000081

A series has its step (`DRN15`: 15 minutes; D days, H hours), codes, then the values of each time in the order of the codes; `M`
is a missing value. The four hex digits of its id name a private element, `FFA1`: the standard leaves this open.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from ingest_daemon.codec_kit.checksums import crc16_high_first
from ingest_daemon.codecs.sl651.elements import FIXED_SIZE, Meaning, element_of, head_of
from ingest_daemon.codecs.sl651.header import HEADER, READING_FUNCTIONS, SERIES_FUNCTIONS, SOH, SYN, TIMED, body_of

_STEP = re.compile(r"DR([DHN])(\d\d)")
_UNITS = {"D": timedelta(days=1), "H": timedelta(hours=1), "N": timedelta(minutes=1)}
_NUMBER = re.compile(r"(-?)(\d{1,15})(?:\.(\d{0,7}))?")
_NO_TIME = b"\xff" * 5


def spelled(frame: bytes) -> bytes:
    """A HEX frame in the ASCII form, its body in hex digits: for bodies of sequence and send time alone."""
    start, end = body_of(frame)
    return sealed_letters(frame, frame[start:end].hex().upper().encode())


def sealed_letters(frame: bytes, text: bytes) -> bytes:
    """The frame of the ASCII form with the header, packet numbers and end symbol of a HEX frame, and this body."""
    packets = frame[HEADER : HEADER + 3].hex().upper().encode() if frame[HEADER - 1] == SYN else b""
    size = (frame[11] >> 4 << 12 | len(packets + text)).to_bytes(2, "big")
    head = SOH + (frame[2:11] + size).hex().upper().encode() + frame[HEADER - 1 : HEADER]
    whole = head + packets + text + frame[-3:-2]
    return whole + crc16_high_first(whole).hex().upper().encode()


def translated(frame: bytes, meaning: Meaning) -> tuple[bytes, list[str]]:
    """A plain frame whose body is text as a frame of the HEX form, and the complaints about its unusable words.

    Raises `ValueError` where the body does not begin with sequence and send time.
    """
    start, end = body_of(frame)
    text = frame[start:end].decode("latin-1")
    if not re.match(r"[0-9A-Fa-f]{16}", text):
        raise ValueError(f"body begins with {text[:16]!r}, expected 4 hex digits of the sequence and 12 digits of the send time")
    head, fixed = frame[:10], bytes.fromhex(text[:16])
    if frame[10] not in READING_FUNCTIONS:
        return head + frame[10:HEADER] + fixed + frame[-3:], []
    body = _Body(meaning)
    body.read(text[16:].split(), frame[10] in SERIES_FUNCTIONS)
    function = TIMED if frame[10] in SERIES_FUNCTIONS else frame[10]
    return head + bytes((function,)) + frame[11:HEADER] + fixed + bytes(body.raw) + frame[-3:], body.complaints


class _Body:
    """A body of the HEX form under construction."""

    def __init__(self, meaning: Meaning) -> None:
        self.raw, self.complaints = bytearray(), list[str]()
        self._meaning = meaning
        self._time = ""

    def read(self, words: list[str], series: bool) -> None:
        rest = iter(words)
        for code in rest:
            if code == "ST":
                self._station(next(rest, ""), next(rest, ""))
            elif code == "TT":
                self._time = next(rest, "")
                self.raw += b"\xf0\xf0" + _moment(self._time)
            elif series and (step := _STEP.fullmatch(code)):
                self._series(timedelta() + _UNITS[step[1]] * int(step[2]), list(rest))
            else:
                self._element(code, next(rest, ""))

    def _station(self, number: str, kind: str) -> None:
        if not re.fullmatch(r"[0-9A-Fa-f]{10}", number):
            self.complaints.append(f"station is {number!r}, expected 10 digits")
            number = "F" * 10
        self.raw += b"\xf1\xf1" + bytes.fromhex(number) + kind.encode("latin-1")[:1].ljust(1, b"\0")

    def _element(self, code: str, word: str) -> None:
        element = element_of(code)
        if element is None:
            self.complaints.append(f"{code!r} is no code of the standard's table C.1, nor FF and two hex digits: passed over")
        elif element in self._meaning.sources or element in (self._meaning.alarm, self._meaning.seconds):
            try:
                self.raw += _value(element, word, self._meaning)
            except ValueError as error:
                self.complaints.append(f"{code} is {word!r}, expected {error}")

    def _series(self, step: timedelta, words: list[str]) -> None:
        codes = list(_leading_codes(words))
        values = words[len(codes) :]
        try:
            first = datetime.strptime(self._time, "%y%m%d%H%M")
        except ValueError:
            self.complaints.append(f"series begins at {self._time!r}, expected TT and YYMMDDhhmm before it")
            return
        if not codes or len(values) % len(codes) or not (step or len(values) == len(codes)):
            counts = f"{len(values)} values of {len(codes)} codes at a step of {step}"
            self.complaints.append(f"series has {counts}, expected as many of each code and a step that is not 0")
        for number in range(len(values) // len(codes) if codes and (step or len(values) == len(codes)) else 0):
            if number:
                self.raw += b"\xf0\xf0" + _moment((first + step * number).strftime("%y%m%d%H%M"))
            for code, word in zip(codes, values[number * len(codes) :], strict=False):
                self._element(code, word)


def _leading_codes(words: list[str]) -> Iterator[str]:
    """The codes of a series: the words before the first value."""
    for word in words:
        if word == "M" or element_of(word) is None:
            return
        yield word


def _moment(digits: str) -> bytes:
    return bytes.fromhex(digits) if re.fullmatch(r"\d{10}", digits) else _NO_TIME


def _value(element: int, word: str, meaning: Meaning) -> bytes:
    """Id, definition byte and value. Raises `ValueError` that names what was expected."""
    if element in FIXED_SIZE:
        raise ValueError("an element of one value")
    if word == "M":
        return head_of(element, 0x08) + b"\xff"
    if element in meaning.words:
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,7}", word):
            raise ValueError("2 to 14 hex digits")
        return head_of(element, len(word) // 2 << 3) + bytes.fromhex(word)
    number = _NUMBER.fullmatch(f"{Decimal(word):.2f}" if element == meaning.seconds and _NUMBER.fullmatch(word) else word)
    if not number:
        raise ValueError("a decimal number with up to 7 decimals, or M")
    decimals = number[3] or ""
    digits = number[2] + decimals
    if element == meaning.seconds:
        digits = digits.zfill(4)
    raw = b"\xff" * bool(number[1]) + bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
    return head_of(element, len(raw) << 3 | len(decimals)) + raw

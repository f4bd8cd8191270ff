"""Cuts a byte stream into frames by declared length and CRC. Nothing of a frame is read beyond its header."""

import re
from heapq import heappop, heappush
from typing import NamedTuple

from fastcrc import crc16

from ingest_daemon.codec_kit.api import Decoder, Frame, Rejected
from ingest_daemon.codec_kit.framer import PIECES
from ingest_daemon.codecs.sl651.header import (
    ENDS,
    HEADER,
    LETTERS_HEADER,
    LETTERS_OVERHEAD,
    LONGEST,
    OVERHEAD,
    SOH,
    START,
    STX,
    SYN,
    length_of,
)
from ingest_daemon.contract.schema import Reason

_LONG_AT_ONCE = 8
"""Limit of open packets longer than a plain frame: it bounds the work that one hostile byte can cause."""

_ANY_START = re.compile(rb"[\x7e\x01]")
_HEX_START = re.compile(rb"\x7e\x7e.{11}[\x02\x16]|\x7e(?:\x7e.{0,11})?\Z", re.DOTALL)
"""The header of a HEX frame, or its beginning at the end of the bytes."""

_LETTERS_START = re.compile(rb"\x01(?:[0-9A-F]{22}[\x02\x16]|[0-9A-F]{0,22}\Z)")
"""The header of an ASCII frame, or its beginning at the end of the bytes."""

_NEVER = 1 << 62
"""An offset that no stream reaches: the connection does not use that form."""


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


def sniff(prefix: bytes) -> bool | None:
    """Whether the bytes begin like a frame: 7E7E, or SOH, 22 hex digits and STX or SYN."""
    if prefix[:1] == SOH:
        is_start, needed = _LETTERS_START.match(prefix) is not None, LETTERS_HEADER
    else:
        is_start, needed = START.startswith(prefix[: len(START)]), len(START)
    return is_start and (None if len(prefix) < needed else True)


class _Mark(NamedTuple):
    """A start without a frame: its bytes and why; no detail where the bytes show it."""

    start: int
    end: int
    detail: str


class _Decoder:
    """Cuts a byte stream by declared length and CRC.

    Every start symbol with a possible header is a candidate, and of all candidates the one that ends first with a good CRC is
    the frame. So a start inside a frame's data does no harm, a frame whose length was damaged does not swallow the good one
    that follows, and the result does not depend on how the stream was cut. A connection speaks one form, HEX or ASCII: that of
    its first frame. All offsets count from the beginning of the stream, so that nothing is moved when bytes leave the buffer.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._base = 0
        self._hex, self._letters = 0, 0
        """Offset up to which the stream was searched for starts of each form."""
        self._open: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self._decided: set[int] = set()
        self._long = 0
        self._marks: list[_Mark] = []

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        if not self._held and self._is_one_frame(data):
            self._base = self._hex = self._base + len(data)
            self._letters = _NEVER
            return [Frame(data)]
        if not self._held and data and not _ANY_START.search(data):
            self._base += len(data)
            self._hex, self._letters = max(self._hex, self._base), max(self._letters, self._base)
            return [_noise(data)]
        self._held += data
        out: list[Frame | Rejected] = []
        given, until = self._base, self._base + len(self._held)
        while True:
            due = self._open[0][0] if self._open else until + OVERHEAD
            if (self._hex <= until and self._search(due)) or (self._letters <= until and self._search_letters(due)):
                continue
            if due > until:
                break
            given = self._close(given, out)
        while self._starts and self._starts[0] in self._decided:
            self._decided.discard(heappop(self._starts))
        first = min(self._hex, self._letters, self._starts[0] if self._starts else _NEVER)
        if first > self._base:
            self._refuse(given, first, out)
            del self._held[: first - self._base]
            self._base = first
        return out

    def _is_one_frame(self, data: bytes) -> bool:
        """Whether these bytes are one good frame of the HEX form without a start of another inside, as nearly always."""
        if len(data) < OVERHEAD or not data.startswith(START) or data[13] != STX or len(data) != OVERHEAD + length_of(data):
            return False
        if data[11] >> 4 not in (0, 8) or self._hex == _NEVER or (data.find(START[1], 2) >= 0 and data.find(START, 1) >= 0):
            return False
        return (self._letters == _NEVER or not _LETTERS_START.search(data)) and _fault(data) is None

    def _search(self, due: int) -> bool:
        """Consider the next start of the HEX form whose frame may end by `due`; False where there is none with a whole header."""
        held, base = self._held, self._base
        match = _HEX_START.search(held, self._hex - base)
        start = match.start() if match else len(held)
        self._hex = base + start
        if self._hex > due - OVERHEAD or start > len(held) - HEADER:
            return False
        self._hex += 1
        begin = held[start + 13]
        if begin == SYN or held[start + 11] >> 4 in (0, 8):
            self._consider(base + start, OVERHEAD + length_of(held, start))
        elif held[start + 2] != START[0]:  # a stray 7E before a start: the start is one byte later
            word = f"{held[start + 11]:02X}{held[start + 12]:02X}"
            detail = f"direction and length are {word}, expected 0nnn (up) or 8nnn (down) with at most {LONGEST} bytes"
            heappush(self._marks, _Mark(base + start, base + start + HEADER, detail))
        return True

    def _search_letters(self, due: int) -> bool:
        """The same for the ASCII form."""
        header = _LETTERS_START.search(self._held, self._letters - self._base)
        offset = header.start() if header else len(self._held)
        self._letters = self._base + offset
        if self._letters > due - LETTERS_OVERHEAD or offset > len(self._held) - LETTERS_HEADER:
            return False
        if self._held[offset + 19] in b"08":
            self._consider(self._letters, LETTERS_OVERHEAD + int(self._held[offset + 20 : offset + 23], 16))
        self._letters += 1
        return True

    def _consider(self, start: int, size: int) -> None:
        """Add a candidate, to be decided where it ends."""
        if size > OVERHEAD + LONGEST:
            if self._long >= _LONG_AT_ONCE:
                detail = f"the {_LONG_AT_ONCE} packets before it that declare more than {LONGEST} bytes have not ended yet"
                heappush(self._marks, _Mark(start, start + HEADER, detail))
                return
            self._long += 1
        heappush(self._open, (start + size, start))
        heappush(self._starts, start)

    def _close(self, given: int, out: list[Frame | Rejected]) -> int:
        """Decide the candidate that ends first. Returns the offset up to which the stream has been given out."""
        end, start = heappop(self._open)
        self._decided.add(start)
        self._long -= end - start > OVERHEAD + LONGEST
        raw = self._good(start - self._base, end - self._base)
        if not raw:
            heappush(self._marks, _Mark(start, end, ""))
            return given
        lettered = raw[:1] == SOH
        inside = "declares {} bytes, but another whole frame begins before they end"
        for later, other in self._open:
            if other < start:
                overhead = LETTERS_OVERHEAD if self._held[other - self._base] == SOH[0] else OVERHEAD
                detail = inside.format(later - other - overhead)
                heappush(self._marks, _Mark(other, later, detail))
        self._refuse(given, start, out)
        out.append(Frame(raw))
        self._hex, self._letters = (_NEVER, end) if lettered else (end, _NEVER)
        self._open.clear()
        self._starts.clear()
        self._decided.clear()
        self._marks.clear()
        self._long = 0
        return end

    def _good(self, start: int, end: int) -> bytes:
        """The candidate if it is a good frame, else None."""
        lettered = self._held[start] == SOH[0]
        if self._held[end - (5 if lettered else 3)] not in ENDS:
            return b""
        raw = bytes(self._held[start:end])
        return b"" if (_fault_of_letters(raw) if lettered else _fault(raw)) else raw

    def _refuse(self, given: int, upto: int, out: list[Frame | Rejected]) -> None:
        """Reject the stream from `given` to `upto`: one piece for each failed start, the rest as noise."""
        held, base, place, pieces = self._held, self._base, given, 0
        while self._marks and self._marks[0].start < upto:
            mark = heappop(self._marks)
            if mark.start < place:
                continue
            if mark.start > place:
                out.append(_noise(held[place - base : mark.start - base]))
            place, pieces = min(mark.end, upto), pieces + 1
            reason, detail = Reason.BAD_LENGTH, mark.detail
            if not detail:
                whole = bytes(held[mark.start - base : mark.end - base])
                fault = _fault_of_letters(whole) if whole[:1] == SOH else _fault(whole)
                assert fault
                reason, detail = fault
            if pieces == PIECES and place < upto:
                detail, place = f"{detail}; the {upto - place} bytes behind these are no frame, either", upto
            out.append(Rejected(bytes(held[mark.start - base : place - base]), reason, detail))
        if place < upto:
            out.append(_noise(held[place - base : upto - base]))


def _noise(raw: bytes | bytearray) -> Rejected:
    detail = "not part of a frame, expected the start symbol 7E7E (or 01 of the ASCII form) and a header"
    return Rejected(bytes(raw), Reason.NOISE, detail)


def _fault(raw: bytes) -> tuple[Reason, str] | None:
    """The fault of a candidate of the HEX form."""
    expected = crc16.modbus(raw[:-2])
    if raw[-3] in ENDS and expected == raw[-2] << 8 | raw[-1]:
        return None
    return _said(raw, OVERHEAD, raw[-3], raw[-2:].hex().upper(), f"{expected:04X}")


def _fault_of_letters(raw: bytes) -> tuple[Reason, str] | None:
    """The fault of a candidate of the ASCII form, whose CRC covers the characters."""
    expected, received = f"{crc16.modbus(raw[:-4]):04X}", raw[-4:].decode("ascii", "backslashreplace")
    if raw[-5] in ENDS and expected == received:
        return None
    return _said(raw, LETTERS_OVERHEAD, raw[-5], received, expected)


def _said(raw: bytes, overhead: int, symbol: int, received: str, expected: str) -> tuple[Reason, str]:
    sums = f"CRC is {received}, expected {expected}"
    if symbol in ENDS:
        return Reason.BAD_CRC, sums
    ends = "an end symbol (03, 17, 04, 05, 06, 15 or 1B)"
    return (
        Reason.BAD_LENGTH,
        f"declares {len(raw) - overhead} bytes, but {symbol:02X} follows them where {ends} is expected; {sums}",
    )

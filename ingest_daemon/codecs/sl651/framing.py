"""Cutting a byte stream into frames by declared length and CRC. What a frame says is not looked at beyond its header."""

from heapq import heappop, heappush
from typing import NamedTuple

from ingest_daemon.checksums import crc16_high_first
from ingest_daemon.codecs.sl651.header import ENDS, HEADER, LONGEST, OVERHEAD, START, STX, SYN, length_of
from ingest_daemon.frames import Decoder, Frame, Rejected
from ingest_daemon.schema import Reason


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


class _Mark(NamedTuple):
    """A start that turned out to be none: its bytes and why."""

    start: int
    end: int
    reason: Reason
    detail: str


class _Decoder:
    """Cuts a byte stream by declared length and CRC.

    Every `7E7E` with a possible header is a candidate, and of all candidates the one that ends first with a good CRC is the
    frame. So a start inside a frame's data does no harm, a frame whose length was damaged does not swallow the good one that
    follows, and the result does not depend on how the stream was cut.
    """

    def __init__(self) -> None:
        self._held = b""
        self._scan = 0
        self._open: list[tuple[int, int]] = []
        self._marks: list[_Mark] = []

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held = self._held + data
        out: list[Frame | Rejected] = []
        done = 0
        while True:
            due = self._open[0][0] if self._open else None
            reach = len(held) if due is None else min(len(held), due - OVERHEAD + len(START))
            at = held.find(START, self._scan, reach)
            if 0 <= at <= len(held) - HEADER:
                self._examine(held, at)
                self._scan = at + 1
                continue
            self._scan = at if at >= 0 else max(self._scan, reach - 1 if held[reach - 1 : reach] == START[:1] else reach)
            if due is None or due > len(held):
                break
            end, start = heappop(self._open)
            if fault := _fault(held, start, end):
                self._marks.append(fault)
                continue
            self._refuse(held, done, start, out)
            out.append(Frame(held[start:end]))
            done = self._scan = end
            self._open.clear()
            self._marks.clear()
        first = min((start for _, start in self._open), default=self._scan)
        self._held = held[first:]
        if first == 0:  # nothing leaves the buffer, so no offset moves
            return out
        self._refuse(held, done, first, out)
        self._scan -= first
        self._open = [(end - first, start - first) for end, start in self._open]
        self._marks = [
            mark._replace(start=mark.start - first, end=mark.end - first) for mark in self._marks if mark.start >= first
        ]
        return out

    def _examine(self, held: bytes, at: int) -> None:
        direction, length, begin = held[at + 11] >> 4, length_of(held, at), held[at + 13]
        if begin not in (STX, SYN):
            return
        if direction in (0, 8):
            heappush(self._open, (at + OVERHEAD + length, at))
            return
        if held[at + 2] == START[0]:  # a stray 7E before a start: the start is one byte later
            return
        word = f"{held[at + 11]:02X}{held[at + 12]:02X}"
        detail = f"direction and length are {word}, expected 0nnn (up) or 8nnn (down) with at most {LONGEST} bytes"
        self._marks.append(_Mark(at, at + HEADER, Reason.BAD_LENGTH, detail))

    def _refuse(self, held: bytes, done: int, upto: int, out: list[Frame | Rejected]) -> None:
        """Give held[done:upto] as rejected, in one piece a failed start, the rest as noise."""
        inside = "declares {} bytes, but another whole frame begins before they end"
        undecided = [
            _Mark(start, end, Reason.BAD_LENGTH, inside.format(length_of(held, start)))
            for end, start in self._open
            if start < upto
        ]
        at = done
        for mark in sorted(self._marks + undecided):
            if not at <= mark.start < upto:
                continue
            if mark.start > at:
                out.append(_noise(held[at : mark.start]))
            at = min(mark.end, upto)
            out.append(Rejected(held[mark.start : at], mark.reason, mark.detail))
        if at < upto:
            out.append(_noise(held[at:upto]))


def _noise(raw: bytes) -> Rejected:
    return Rejected(raw, Reason.NOISE, "not part of a frame, expected the start symbol 7E7E and a header")


def _fault(held: bytes, start: int, end: int) -> _Mark | None:
    expected, received, symbol = crc16_high_first(held[start : end - 2]), held[end - 2 : end], held[end - 3]
    if symbol in ENDS and expected == received:
        return None
    if symbol in ENDS:
        detail = f"CRC is {received.hex().upper()}, expected {expected.hex().upper()}"
        return _Mark(start, end, Reason.BAD_CRC, detail)
    length = length_of(held, start)
    detail = (
        f"declares {length} bytes, but {symbol:02X} follows them where an end symbol (03, 17, 04, 05, 06, 15 or 1B) is expected"
    )
    return _Mark(start, end, Reason.BAD_LENGTH, f"{detail}; CRC is {received.hex().upper()}, expected {expected.hex().upper()}")

"""Cutting a byte stream into frames that say their length and carry a checksum. No protocol's layout, no meaning of bytes.

Of all places where a frame may begin, the one whose frame ends first and is good is the frame. So a start byte inside data does
no harm, a damaged length does not swallow the good frame behind it, and the result does not depend on how the stream was cut.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ingest_daemon.codec_kit.api import Frame, Rejected
from ingest_daemon.contract.schema import Reason

Fault = tuple[Reason, str]


class FrameFormat(NamedTuple):
    """What frames of a protocol look like.

    `starts`: the bytes with which one may begin. `header`: so many bytes tell its size. `size`: of a frame from its first bytes
    (at most `header`); 0 where they begin none, None where more are needed to tell. `fault`: what is wrong with a frame of that
    size, None where it is good. `singles`: bytes that are a frame of their own, unless they came inside another. `lead`: the
    filling byte before a frame, which belongs to it, and `most_lead` how many of them. `expected`: what noise should have been.
    """

    starts: bytes
    header: int
    size: Callable[[bytes], int | None]
    fault: Callable[[bytes], Fault | None]
    expected: str
    singles: bytes = b""
    lead: bytes = b""
    most_lead: int = 0


class Framer:
    """The decoder (`frames.Decoder`) of such a protocol."""

    def __init__(self, frame_format: FrameFormat) -> None:
        self._format = frame_format
        self._start = re.compile(b"[" + re.escape(frame_format.starts + frame_format.singles) + b"]")
        self._held = b""

    @property
    def pending(self) -> int:
        """Bytes held back because the frame is not complete yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        """Take bytes as they come, glued or split anywhere; give what is complete."""
        held, done, out = self._held + data, 0, list[Frame | Rejected]()
        while found := self._next(held, done):
            start, end = found
            start = self._led(held, done, start)
            self._refuse(held, done, start, start, out)
            out.append(Frame(held[start:end]))
            done = end
        keep = self._kept_from(held, done)
        self._refuse(held, done, keep, len(held), out)
        self._held = held[keep:]
        return out

    def _begins(self, held: bytes, at: int, end: int) -> Iterator[int]:
        """The places of start bytes from `at` up to `end`."""
        return map(re.Match.start, self._start.finditer(held, at, end))

    def _size(self, held: bytes, at: int, end: int) -> int | None:
        """Size of a frame that begins at `at`, as the bytes up to `end` tell it."""
        return self._format.size(held[at : min(at + self._format.header, end)])

    def _next(self, held: bytes, done: int) -> tuple[int, int] | None:
        """Start and end of the good frame that ends first."""
        best: tuple[int, int] | None = None
        before: list[int] = []
        for at in self._begins(held, done, len(held)):
            if best and at >= best[1]:
                break
            if held[at] in self._format.singles:
                if not best and not any(self._covers(held, start, at) for start in before):
                    return at, at + 1
                continue
            before.append(at)
            size = self._size(held, at, len(held))
            if not size or at + size > len(held) or (best and at + size >= best[1]):
                continue
            if self._format.fault(held[at : at + size]) is None:
                best = at, at + size
        return best

    def _covers(self, held: bytes, start: int, at: int) -> bool:
        """Whether, when the byte at `at` came, a frame begun at `start` was still open."""
        size = self._size(held, start, at + 1)
        return size is None or start + size > at + 1

    def _kept_from(self, held: bytes, done: int) -> int:
        """Where what must be waited for begins: an incomplete frame, or filling bytes before one."""
        for at in self._begins(held, done, len(held)):
            if held[at] in self._format.singles:
                continue
            size = self._size(held, at, len(held))
            if size is None or at + size > len(held):
                return self._led(held, done, at)
        return self._led(held, done, len(held))

    def _led(self, held: bytes, done: int, at: int) -> int:
        """`at`, or where the filling before it begins."""
        first = at
        while first > done and held[first - 1 : first] == self._format.lead and at - first < self._format.most_lead:
            first -= 1
        return first

    def _refuse(self, held: bytes, done: int, upto: int, known: int, out: list[Frame | Rejected]) -> None:
        """Give held[done:upto] as rejected: in one piece what began like a frame, with its fault; the rest as noise.

        `known`: where what may belong to these pieces ends: before a good frame, or all that came.
        """
        at = done
        for start in self._begins(held, done, upto):
            if start < at or held[start] in self._format.singles or (size := self._size(held, start, known)) == 0:
                continue
            begin = self._led(held, at, start)
            if begin > at:
                out.append(self._noise(held[at:begin]))
            is_whole = size is not None and start + size <= known
            fault = self._format.fault(held[start : start + (size or 0)]) if is_whole else None
            at = upto if size is None else min(start + size, upto)
            if fault is None:
                said = "its header is not complete" if size is None else f"declares {size} bytes"
                fault = Reason.BAD_LENGTH, f"{said}, but another whole frame begins before they end"
            out.append(Rejected(held[begin:at], *fault))
        if at < upto:
            out.append(self._noise(held[at:upto]))

    def _noise(self, raw: bytes) -> Rejected:
        return Rejected(raw, Reason.NOISE, f"not part of a frame, expected {self._format.expected}")

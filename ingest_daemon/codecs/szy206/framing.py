"""Cutting a byte stream into frames by L, CRC and end. What a frame says is not looked at beyond its start."""

from collections.abc import Iterator

from ingest_daemon.codecs.szy206.header import END, LONGEST, OVERHEAD, SHORTEST, START, UP, crc8
from ingest_daemon.frames import Decoder, Frame, Rejected
from ingest_daemon.schema import Reason

_START = bytes((START,))


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


def sniff(prefix: bytes) -> bool | None:
    """Whether stations of this family speak: a frame of theirs is in the bytes, and they begin as one.

    `68 L 68` and C of a station: M-Bus begins `68 L L 68`, CJ/T 188 has its type in the place of L, and neither has a CRC-8.
    """
    least, most = (START, SHORTEST, START, UP), (START, LONGEST, START, 0xFF)
    if not all(low <= byte <= high for low, byte, high in zip(least, prefix, most, strict=False)):
        return False
    return any(isinstance(item, Frame) for item in decoder().feed(prefix)) or None


class _Decoder:
    """Every `68 L 68` is a candidate, and of all candidates the one that ends first with a good CRC and 16 is the frame.

    So a start inside a frame's data does no harm, a frame whose L was damaged does not swallow the good one that follows, and
    the result does not depend on how the stream was cut.
    """

    def __init__(self) -> None:
        self._held = b""

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held = self._held + data
        out: list[Frame | Rejected] = []
        done = 0
        while good := _first_good(held, done):
            start, end = good
            _refuse(held, done, start, out)
            out.append(Frame(held[start:end]))
            done = end
        waiting = [start for start, size in _candidates(held, done) if start + size > len(held)]
        keep = min([*waiting, _possible(held, done)])
        _refuse(held, done, keep, out)
        self._held = held[keep:]
        return out


def _candidates(held: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Offset and size of all that begins as a frame from `at` on."""
    while (at := held.find(_START, at)) >= 0:
        if at + 2 < len(held) and held[at + 2] == START and held[at + 1] >= SHORTEST:
            yield at, OVERHEAD + held[at + 1]
        at += 1


def _first_good(held: bytes, done: int) -> tuple[int, int] | None:
    """Start and end of the good frame that ends first; of two that end together the longer."""
    found: tuple[int, int] | None = None
    limit = len(held) + 1
    for start, size in _candidates(held, done):
        if start >= limit:
            break
        if start + size < limit and _is_good(held[start : start + size]):
            found, limit = (start, start + size), start + size
    return found


def _possible(held: bytes, done: int) -> int:
    """Offset of the last bytes that more bytes may make a start; the end where there are none."""
    for start in range(max(done, len(held) - 2), len(held)):
        if held[start] == START and (start + 1 == len(held) or held[start + 1] >= SHORTEST):
            return start
    return len(held)


def _is_good(frame: bytes) -> bool:
    return frame[-1] == END and crc8(frame[3:-2]) == frame[-2]


def _refuse(held: bytes, done: int, upto: int, out: list[Frame | Rejected]) -> None:
    """Give held[done:upto] as rejected: one piece for each failed start, the rest as noise."""
    at = done
    for start, size in _candidates(held[:upto], done):
        if start < at:
            continue
        if start > at:
            out.append(_noise(held[at:start]))
        at = min(start + size, upto)
        out.append(_fault(held[start:at], size))
    if at < upto:
        out.append(_noise(held[at:upto]))


def _noise(raw: bytes) -> Rejected:
    return Rejected(raw, Reason.NOISE, "not part of a frame, expected the start 68 L 68")


def _fault(raw: bytes, size: int) -> Rejected:
    if len(raw) < size:
        detail = f"L declares {size - OVERHEAD} bytes, but another whole frame begins before they end"
        return Rejected(raw, Reason.BAD_LENGTH, detail)
    expected = f"CRC is {raw[-2]:02X}, expected {crc8(raw[3:-2]):02X}"
    if raw[-1] != END:
        detail = f"L declares {size - OVERHEAD} bytes, but {raw[-1]:02X} stands where the end 16 is expected; {expected}"
        return Rejected(raw, Reason.BAD_LENGTH, detail)
    return Rejected(raw, Reason.BAD_CRC, expected)

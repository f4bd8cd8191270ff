"""Walking a body element by element, as it lies in the frame. What the elements mean is not here."""

from collections.abc import Iterator
from typing import NamedTuple

from ingest_daemon.codecs.sl651.elements import PICTURE, STATION, TEXT, TIME, size_of


class Element(NamedTuple):
    """One element of a body: id (two bytes where it begins with FF, or is a doubled guide), definition byte, offsets."""

    id: int
    definition: int
    at: int
    value: int
    end: int


class TruncatedBody(Exception):
    """The body ends inside an element."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


_GUIDES = {TIME: 5, STATION: 6}
"""Guides and the bytes behind them: observation time; station number and station type."""


def walk(frame: bytes, at: int, end: int) -> Iterator[Element]:
    """The elements of frame[at:end] in order. Raises `TruncatedBody` where the body ends inside one."""
    while at < end:
        guide = int.from_bytes(frame[at : at + 2], "big")
        if guide in (TEXT, PICTURE):
            element = Element(guide, 0, at, at + 2, end)
        elif guide in _GUIDES:
            element = Element(guide, 0, at, at + 2, at + 2 + _GUIDES[guide])
        else:
            element = element_at(frame, at, end)
        if element.end > end:
            raise TruncatedBody(
                at, f"element {element.id:02X} at byte {at} takes {element.end - at} bytes, but the body has {end - at} left"
            )
        yield element
        at = element.end


def element_at(frame: bytes, at: int, end: int) -> Element:
    """The element whose id and definition byte begin at `at`. Raises `TruncatedBody` where the body ends inside them."""
    extended = frame[at : at + 1] == b"\xff"
    value = at + (3 if extended else 2)
    if value > end:
        raise TruncatedBody(at, f"id and definition byte expected at byte {at}, but the body ends after {end - at} bytes")
    identifier = int.from_bytes(frame[at : value - 1], "big")
    definition = frame[value - 1]
    return Element(identifier, definition, at, value, value + size_of(identifier, definition))

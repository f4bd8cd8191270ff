"""The elements of a body in order, as they lie in the frame, whatever their values mean.

Makers put series of their own into a body: a doubled byte such as 7979, 7D7D or F9F9, then data of unknown length. Reading goes
on behind one only where its end is certain: where it has the length that its second byte declares as a definition byte and the
rest fits, where elements in their usual forms fill the group to its end, or where the next group begins.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ingest_daemon.codecs.sl651.elements import PICTURE, STATION, TEXT, TIME, is_in_form, size_of


class Element(NamedTuple):
    """One element of a body: id (two bytes where it begins with FF, or is a doubled guide), definition byte, offsets."""

    id: int
    definition: int
    start: int
    value: int
    end: int


class TruncatedBody(Exception):
    """The body ends inside an element."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start


_GUIDES = {TIME: 5, STATION: 6}
"""Guides and the bytes behind them: observation time; station number and station type."""
_GROUP = re.compile(
    rb"(?:\xf1\xf1.{6})?\xf0\xf0[\x00-\x09\x10-\x19\x20-\x29\x30-\x39\x40-\x49\x50-\x59\x60-\x69\x70-\x79\x80-\x89\x90-\x99]"
    rb"[\x01-\x09\x10-\x12][\x01-\x09\x10-\x19\x20-\x29\x30\x31][\x00-\x09\x10-\x19\x20-\x23]"
    rb"[\x00-\x09\x10-\x19\x20-\x29\x30-\x39\x40-\x49\x50-\x59]",
    re.DOTALL,
)
"""The certain beginning of a group: F0F0 with a time, and the station before it if there is one."""
UNREADABLE = -1
"""Id of bytes that no element fits, passed over up to the next group."""


def is_private_series(identifier: int) -> bool:
    """Whether the id is the doubled byte that begins a private series. Below 40 it is an id with a common definition byte."""
    byte = identifier & 0xFF
    return identifier == byte * 0x101 and 0x40 <= byte < 0xFF and not 0xF0 <= byte <= 0xF3


def iter_elements(frame: bytes, start: int, end: int) -> Iterator[Element]:
    """The elements of frame[start:end] in order. Raises `TruncatedBody` where the body ends inside one and no group follows."""
    while start < end:
        guide = int.from_bytes(frame[start : start + 2], "big")
        if guide in (TEXT, PICTURE):
            element = Element(guide, 0, start, start + 2, end)
        elif guide in _GUIDES:
            element = Element(guide, 0, start, start + 2, start + 2 + _GUIDES[guide])
        elif is_private_series(guide) and start + 2 <= end:
            element = Element(guide, 0, start, start + 2, _end_of_private_series(frame, start, end))
        else:
            element = element_at(frame, start, end)
        if element.end > end:
            following = _GROUP.search(frame, start + 1, end)
            if following is None:
                size, left = element.end - start, end - start
                raise TruncatedBody(
                    start, f"element {element.id:02X} at byte {start} takes {size} bytes, but the body has {left} left"
                )
            element = Element(UNREADABLE, 0, start, start, following.start())
        yield element
        start = element.end


def element_at(frame: bytes, start: int, end: int) -> Element:
    """The element whose id and definition byte begin at `start`. Raises `TruncatedBody` where the body ends inside them."""
    extended = frame[start : start + 1] == b"\xff"
    value = start + (3 if extended else 2)
    if value > end:
        raise TruncatedBody(
            start, f"id and definition byte expected at byte {start}, but the body ends after {end - start} bytes"
        )
    identifier = int.from_bytes(frame[start : value - 1], "big")
    definition = frame[value - 1]
    return Element(identifier, definition, start, value, value + size_of(identifier, definition))


def _end_of_private_series(frame: bytes, start: int, end: int) -> int:
    """The certain end of the private series that begins at `start`; `end` where nothing behind it is certain."""
    following = _GROUP.search(frame, start + 2, end)
    limit = following.start() if following else end
    fits = bytearray(limit + 1 - start)
    """1 where elements fill the rest of the group from that offset on, 2 where the first of them is in its usual form."""
    fits[limit - start] = 1
    for offset in range(limit - 2, start + 1, -1):
        extended = frame[offset] == 0xFF
        value = offset + (3 if extended else 2)
        identifier, definition = int.from_bytes(frame[offset : value - 1], "big"), frame[value - 1]
        doubled = is_private_series(identifier << 8 | definition)
        after = value + size_of(identifier, definition)
        if not value <= after <= limit or not fits[after - start]:
            continue
        if is_in_form(identifier, definition, frame[value:after]):
            fits[offset - start] = 2
        elif doubled or (extended and 1 <= definition >> 3 <= 7):
            fits[offset - start] = 1
    declared = start + 2 + size_of(frame[start], frame[start])
    if declared < limit and fits[declared - start]:
        return declared
    return next((offset for offset in range(start + 2, limit) if fits[offset - start] == 2), limit)

"""The stations that a body names beside the header's. Called for every frame, so the usual one costs next to nothing."""

from collections.abc import Iterator

from ingest_daemon.codecs.sl651.ascii_form import translated
from ingest_daemon.codecs.sl651.elements import MEANING, STATION, STEP
from ingest_daemon.codecs.sl651.header import HEADER, READING_FUNCTIONS, SERIES_FUNCTIONS, SOH, STX, body_of, is_reply
from ingest_daemon.codecs.sl651.iter_elements import TruncatedBody, iter_elements
from ingest_daemon.codecs.sl651.packets import joined, messages

_GUIDE = STATION.to_bytes(2, "big")
_FIXED = 8
"""Bytes of a body before its elements: sequence and send time."""
_FIRST = HEADER + _FIXED
_STX = bytes((STX,))


def other_stations(frame: bytes) -> tuple[str, ...]:
    """The stations of F1F1 (ASCII form: ST) that are not the header's, each once, as `decode` reads them. Never raises."""
    if frame[13:14] == _STX and frame[0] != SOH[0]:
        first = frame.find(_GUIDE, _FIRST, -3)
        if first < 0:
            return ()
        # A search for one byte is ten times as fast as for two, and BCD has no such byte.
        is_alone = frame.find(_GUIDE[:1], _FIRST + 7, -3) < 0 or frame.find(_GUIDE, _FIRST + 7, -3) < 0
        if first == _FIRST and frame[_FIRST + 2 : _FIRST + 7] == frame[3:8] and is_alone:
            return ()  # nearly all frames of nearly all fleets
    sender = b""
    others: dict[bytes, None] = {}
    for message in messages(frame):
        try:
            plain = joined(message)
            sender = sender or plain[3:8]
            others[plain[3:8]] = None
            if message[0] == SOH[0] and not is_reply(message):
                plain, _ = translated(plain, MEANING)
        except ValueError:
            continue
        others.update(dict.fromkeys(_named(plain)))
    others.pop(sender, None)
    return tuple(station.hex().upper() for station in others)


def _named(frame: bytes) -> Iterator[bytes]:
    """The stations that a frame of the HEX form names in its body."""
    if frame[10] not in READING_FUNCTIONS:
        return
    start, end = body_of(frame)
    try:
        for element in iter_elements(frame, start + _FIXED, end):
            if element.id == STATION:
                yield frame[element.value : element.value + 5]
            elif element.id == STEP and frame[10] in SERIES_FUNCTIONS:
                return  # values without ids follow
    except TruncatedBody:
        return

"""Whether a message tells of an alarm that is set. Asked of all that comes, so what has no alarm word costs next to nothing.

What the words are, and who raises and clears, is `decoding`'s and the alarm sink's.
"""

from functools import lru_cache
from typing import Any

from ingest_daemon.codec_kit.api import Arrival
from ingest_daemon.codecs.sl651.ascii_form import translated
from ingest_daemon.codecs.sl651.elements import MEANING, STEP, TIME, Meaning, code_of, head_of
from ingest_daemon.codecs.sl651.header import (
    EVENT,
    HEADER,
    OVERHEAD,
    READING_FUNCTIONS,
    SERIES_FUNCTIONS,
    SOH,
    STX,
    SYN,
    body_of,
    is_reply,
    plain,
)
from ingest_daemon.codecs.sl651.iter_elements import TruncatedBody, iter_elements
from ingest_daemon.codecs.sl651.packets import begins, joined, messages
from ingest_daemon.codecs.sl651.profile import settings_of

_STX = bytes((STX,))
_GROUP = TIME.to_bytes(2, "big")
"""Where a group begins."""
_FIXED = 8
"""Bytes of a body before its elements: sequence and send time."""


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether it is an event report (33H), or has an alarm word in which a bit with a code is set. Never raises."""
    raw, meaning = arrival.raw, MEANING if profile is None else settings_of(profile).meaning
    head = _HEAD if meaning is MEANING else _looked_for(meaning.alarm, meaning.bits)[0]
    # One byte is looked for ten times as fast as several, and of the usual id none is a digit of BCD.
    if (head[-1:] not in raw or head not in raw) and raw[13:14] == _STX and raw[10] != EVENT and not arrival.requests:
        return False  # nearly all frames of nearly all fleets
    if arrival.requests:  # the answers of one round are one record
        return any(_is_alarm(message, meaning) for message in messages(raw))
    return _is_alarm(raw, meaning)


def _is_alarm(message: bytes, meaning: Meaning) -> bool:
    if len(message) < OVERHEAD or not begins(message, 0) or is_reply(message):
        return False
    lettered = message[0] == SOH[0]
    function = plain(message)[10]
    if function == EVENT or function not in READING_FUNCTIONS:
        return function == EVENT
    if not lettered and message[13] != SYN:
        return _has_alarm(message, meaning)
    if lettered and code_of(meaning.alarm).encode() not in message.upper():
        return False
    try:  # a word may be parted between two packets
        frame = joined(message)
        return _has_alarm(translated(frame, meaning)[0] if lettered else frame, meaning)
    except ValueError:
        return False


def _has_alarm(frame: bytes, meaning: Meaning) -> bool:
    head, mask = _looked_for(meaning.alarm, meaning.bits)
    end = len(frame) - 3
    at = frame.find(head, HEADER, end)
    while at >= 0:
        value = at + len(head) + 1
        if _is_set(frame[value : value + (frame[value - 1] >> 3)], mask):
            # What looks like the id may be part of another element's value. Its group tells; failing that, the whole body.
            start, last = body_of(frame)
            near = frame.rfind(_GROUP, start, at)
            return (near >= 0 and _walked(frame, near, last, meaning.alarm, mask)) or _walked(
                frame, start + _FIXED, last, meaning.alarm, mask
            )
        at = frame.find(head, at + 1, end)
    return False


def _walked(frame: bytes, start: int, end: int, identifier: int, mask: int) -> bool:
    try:
        for element in iter_elements(frame, start, end):
            if element.id == STEP and frame[10] in SERIES_FUNCTIONS:
                return False  # values without ids follow
            if element.id == identifier and _is_set(frame[element.value : element.end], mask):
                return True
    except TruncatedBody:
        pass
    return False


def _is_set(word: bytes, mask: int) -> bool:
    """All FF is no value; a word has 1 to 7 bytes."""
    return bool(int.from_bytes(word, "big") & mask) and len(word) <= 7 and word.count(0xFF) < len(word)


@lru_cache(64)
def _looked_for(identifier: int, bits: tuple[str, ...]) -> tuple[bytes, int]:
    """Id as sent, and the bits of the word that have a code."""
    return head_of(identifier, 0)[:-1], sum(1 << bit for bit, code in enumerate(bits) if code)


_HEAD, _ = _looked_for(MEANING.alarm, MEANING.bits)

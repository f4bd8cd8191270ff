"""Detection of messages with an alarm that is set. Called for every message, so one without an alarm word costs next to nothing.

`decode` reads the alarm words; the alarm sink raises and clears alarms.
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
"""First bytes of a group."""
_FIXED = 8
"""Bytes of a body before its elements: sequence and send time."""


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether it is an event report (33H), or has an alarm word in which a bit with a code is set. Never raises."""
    raw, meaning = arrival.raw, MEANING if profile is None else settings_of(profile).meaning
    head = _HEAD if meaning is MEANING else _head_and_mask(meaning.alarm, meaning.bits)[0]
    # A search for one byte is ten times as fast as for several, and no byte of the usual id is a digit of BCD.
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
    head, mask = _head_and_mask(meaning.alarm, meaning.bits)
    end = len(frame) - 3
    offset = frame.find(head, HEADER, end)
    while offset >= 0:
        value = offset + len(head) + 1
        if _is_set(frame[value : value + (frame[value - 1] >> 3)], mask):
            # The match may lie in another element's value. Reading its group decides; failing that, reading the whole body.
            start, last = body_of(frame)
            group = frame.rfind(_GROUP, start, offset)
            return (group >= 0 and _has_alarm_element(frame, group, last, meaning.alarm, mask)) or _has_alarm_element(
                frame, start + _FIXED, last, meaning.alarm, mask
            )
        offset = frame.find(head, offset + 1, end)
    return False


def _has_alarm_element(frame: bytes, start: int, end: int, identifier: int, mask: int) -> bool:
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
    """Whether a bit of the mask is set; all FF is no value, and a word has 1 to 7 bytes."""
    return bool(int.from_bytes(word, "big") & mask) and len(word) <= 7 and word.count(0xFF) < len(word)


@lru_cache(64)
def _head_and_mask(identifier: int, bits: tuple[str, ...]) -> tuple[bytes, int]:
    """The id as sent, and the bits of the alarm word that have a code."""
    return head_of(identifier, 0)[:-1], sum(1 << bit for bit, code in enumerate(bits) if code)


_HEAD, _ = _head_and_mask(MEANING.alarm, MEANING.bits)

"""Requests to a meter, and the test whether a frame answers one."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ingest_daemon.codec_kit.api import Command, CommandType, UnsupportedCommand
from ingest_daemon.codecs.cjt188.framing import (
    CLOCK,
    END,
    ERROR,
    FUNCTION,
    ODD_ANSWER,
    PRESENT,
    READ,
    START,
    TIMED_FREEZE,
    WAKE,
    apart,
    sum_of,
)
from ingest_daemon.codecs.cjt188.profile import Profile

_KINDS = "the present reading (now), timed freezes (history) and the clock (clock)"
_FREEZE_FIELDS = ("forward_m3", "flow_m3h", "pressure_mpa")
_MOST_FREEZES = 256


def requests(ask: Command, profile: Any) -> list[bytes]:
    """Reads of 901F (now), 907F (clock), or D3nn (history: as many timed freezes as lie between start and end)."""
    settings: Profile = profile or Profile()
    address = _address(ask.address)
    number = int(ask.now.timestamp()) % 100
    match ask.kind:
        case CommandType.NOW:
            identifiers: Sequence[int] = (PRESENT,)
        case CommandType.CLOCK:
            identifiers = (CLOCK,)
        case CommandType.HISTORY:
            identifiers = _freezes(ask, settings)
        case _:
            raise UnsupportedCommand(f"{ask.kind}: a CJ/T 188 meter is asked {_KINDS}, and nothing is written to it")
    return [_request(settings, address, identifier, serial % 100) for serial, identifier in enumerate(identifiers, number)]


def _request(settings: Profile, address: bytes, identifier: int, number: int) -> bytes:
    data = identifier.to_bytes(2, "little" if settings.low_first else "big") + bytes.fromhex(f"{number:02d}")
    head = bytes((START, settings.meter_type)) + address + bytes((READ, len(data)))
    return WAKE * 3 + head + data + bytes((sum_of(data if settings.data_sum else head + data), END))


def _address(digits: str) -> bytes:
    if not digits:
        return b"\xaa" * 7
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if len(raw) != 7 or len(digits) != 14:
        raise UnsupportedCommand(
            f"address is {digits!r}, expected 14 digits, or none where the meter is the only one on its line"
        )
    return raw[::-1]


def _freezes(ask: Command, settings: Profile) -> range:
    """Identifiers of the freezes of that time, the oldest first: the meter overwrites it next."""
    if not settings.freeze_min:
        raise UnsupportedCommand(
            "history: the meter's profile says of no timed freezes (freeze_min), and months come without a time"
        )
    if ask.field not in _FREEZE_FIELDS:
        raise UnsupportedCommand(f"history: freezes have {', '.join(_FREEZE_FIELDS)}, not {ask.field}")
    if ask.start is None or ask.end is None:
        raise UnsupportedCommand("history: expected start and end")
    step = timedelta(minutes=settings.freeze_min)
    newest, oldest = max(0, (ask.now - ask.end) // step - 1), min(_MOST_FREEZES - 1, (ask.now - ask.start) // step + 1)
    if newest > oldest:
        raise UnsupportedCommand(
            f"history: a meter keeps {_MOST_FREEZES} freezes, one in {settings.freeze_min} min: none before {ask.end}"
        )
    return range(TIMED_FREEZE + oldest, TIMED_FREEZE + newest - 1, -1)


def answers(request: bytes, frame: bytes) -> bool:
    """Whether address, identifier (in either order) and request number are the request's; an error needs the address only."""
    asked, received = apart(request), apart(frame)
    if asked.address not in (received.address, "AA" * 7):
        return False
    if received.control == ODD_ANSWER or not received.is_answer or received.control & FUNCTION != asked.control & FUNCTION:
        return False
    return bool(received.control & ERROR) or (received.identifier, received.number) == (asked.identifier, asked.number)

"""Requests of the centre (mode M4) and the frames that answer them. A function outside `_FUNCTIONS` cannot be sent by any path.

Writing parameters (40, 42), erasing (47), resetting (48) and changing the password (49) are not there and never will be.
"""

from datetime import datetime, timedelta
from typing import Any

from ingest_daemon.codec_kit.api import Command, CommandType, UnsupportedCommand
from ingest_daemon.codecs.sl651.ascii_form import sealed_letters
from ingest_daemon.codecs.sl651.elements import STEP, Asked, code_of, head_of
from ingest_daemon.codecs.sl651.header import (
    ACK,
    ANSWERS,
    BASICS,
    CHOSEN,
    CLOCK,
    ENQ,
    ETB,
    EVENTS,
    HISTORY,
    NOW,
    PARAMETERS,
    SET_CLOCK,
    SOH,
    START,
    STATE,
    STX,
    SYN,
    VERSION,
    is_reply,
    plain,
    sealed,
    sequence_of,
    terminal,
)
from ingest_daemon.codecs.sl651.profile import Settings, settings_of
from ingest_daemon.codecs.sl651.timestamps import stamp

_FUNCTIONS = {
    CommandType.NOW: (NOW,),
    CommandType.HISTORY: (HISTORY,),
    CommandType.CLOCK: (CLOCK,),
    CommandType.SET_CLOCK: (SET_CLOCK,),
    CommandType.VERSION: (VERSION,),
    CommandType.STATUS: (STATE,),
    CommandType.EVENTS: (EVENTS,),
    CommandType.PARAMETERS: (BASICS, PARAMETERS),
}
_READ = {
    BASICS: (Asked(0x01, 0x20), Asked(0x02, 0x28), Asked(0x0C, 0x08), Asked(0x0D, 0x40)),
    PARAMETERS: (
        *(Asked(0x20, 0x08), Asked(0x21, 0x08), Asked(0x23, 0x10), Asked(0x24, 0x08)),
        *(Asked(0x59, 0x22), Asked(0x5A, 0x22), Asked(0x8D, 0x33), Asked(0x99, 0x33)),
    ),
}
"""Parameters to read (tables D.1 and D.4), without the password: centres, station, mode, elements; intervals of reports,
extra reports, sampling and storing; limits of pressure and flow; base value of the meter."""
_PARAMETERS = frozenset((*_READ[BASICS], *_READ[PARAMETERS]))
_VALUES = 96
"""Values of a history in one request, so that its answer is one frame."""


def requests(ask: Command, profile: Any) -> list[bytes]:
    """The frames of a command: sequence 0, our time, end symbol 05 (ENQ). The station is `address` or else `terminal`.

    A history is requested in pieces of at most 96 values (whole hours, both ends included); present values are all that the
    station has, or those of the setting `now`. Raises `UnsupportedCommand`.
    """
    settings = settings_of(profile)
    if ask.password:
        settings = settings._replace(password=ask.password.rjust(4, "0"))
    station = ask.address or ask.terminal
    if len(station) != 10 or not set(station) <= set("0123456789ABCDEF"):
        raise UnsupportedCommand(f"terminal {station!r}: expected 10 digits (0-9, A-F), the station address of SL 651")
    if ask.kind not in _FUNCTIONS:
        raise UnsupportedCommand(f"{ask.kind}: expected one of {', '.join(_FUNCTIONS)}")
    if ask.kind == CommandType.HISTORY:
        return [_framed(station, HISTORY, ask.now, settings, *body) for body in _histories(ask, settings)]
    if ask.kind == CommandType.NOW and settings.now:
        chosen = [settings.meaning.asked[field] for field in settings.now]
        return [_framed(station, CHOSEN, ask.now, settings, *_listed(chosen))]
    return [_framed(station, function, ask.now, settings, *_listed(_READ.get(function, ()))) for function in _FUNCTIONS[ask.kind]]


def answers(request: bytes, frame: bytes) -> bool:
    """Whether the frame comes from the requested station and has the request's function."""
    asked = is_reply(request) and not is_reply(frame) and terminal(request) == terminal(frame)
    return asked and plain(request)[10] == plain(frame)[10]


def follow_up(request: bytes, frame: bytes) -> bytes | None:
    """The acknowledgement `06` of an answer that ends with 17 (ETB), on which the station sends the rest; else None."""
    first = plain(frame)
    if first[-3] != ETB or first[13] == SYN or first[10] not in ANSWERS:
        return None
    asked = plain(request)
    sent = bytes.fromhex(asked[18:30].decode()) if request[:1] == SOH else asked[16:22]
    body = (sequence_of(frame) or 0).to_bytes(2, "big") + sent
    return _down(asked[:11], body, body.hex().upper().encode(), ACK, lettered=request[:1] == SOH)


def _framed(station: str, function: int, now: datetime, settings: Settings, body: bytes, words: str) -> bytes:
    """A request with a body in the HEX form and the same in the words of the ASCII form."""
    head = START + bytes.fromhex(station) + bytes((settings.centre,)) + bytes.fromhex(settings.password) + bytes((function,))
    fixed = bytes(2) + stamp(now, settings.utc_offset_h)
    text = (fixed.hex().upper() + words).encode()
    return _down(head, fixed + body, text, ENQ, lettered=settings.form == "ascii")


def _down(head: bytes, body: bytes, text: bytes, end: int, *, lettered: bool) -> bytes:
    frame = sealed(head + (0x8000 | len(body)).to_bytes(2, "big") + bytes((STX,)) + body + bytes((end,)))
    return sealed_letters(frame, text) if lettered else frame


def _listed(elements: tuple[Asked, ...] | list[Asked]) -> tuple[bytes, str]:
    """Ids with definition bytes, and the codes of the ASCII form; a parameter's code is the two digits of its id."""
    codes = (f"{element.id:02X}" if element in _PARAMETERS else code_of(element.id) for element in elements)
    return b"".join(head_of(*element) for element in elements), "".join(f"{code} " for code in codes)


def _histories(ask: Command, settings: Settings) -> list[tuple[bytes, str]]:
    """Start and end YYMMDDhh, step and element of each request of up to 96 values."""
    if ask.field not in settings.meaning.asked:
        raise UnsupportedCommand(f"history of {ask.field}: expected one of {', '.join(settings.meaning.asked)}")
    if ask.start is None or ask.end is None or ask.start.tzinfo is None or ask.end.tzinfo is None or ask.start > ask.end:
        raise UnsupportedCommand(f"history from {ask.start} to {ask.end}: expected two times with a zone, the earlier first")
    element, step = settings.meaning.asked[ask.field], timedelta(minutes=settings.step_min)
    days, hours, minutes = settings.step_min // 1440, settings.step_min // 60 % 24, settings.step_min % 60
    units = [f"DR{unit}{count:02}" for unit, count in (("D", days), ("H", hours), ("N", minutes)) if count]
    if settings.form == "ascii" and len(units) > 1:
        raise UnsupportedCommand(f"history at a step of {settings.step_min} min: the ASCII form has whole days, hours or minutes")
    start = ask.start.replace(minute=0, second=0, microsecond=0)
    end = ask.end.replace(minute=0, second=0, microsecond=0)
    end += timedelta(hours=1) if end < ask.end else timedelta()
    bodies: list[tuple[bytes, str]] = []
    while start < end or not bodies:
        upto = min(end, start + max(timedelta(hours=1), _VALUES * step // timedelta(hours=1) * timedelta(hours=1)))
        times = [stamp(moment, settings.utc_offset_h)[:4] for moment in (start, upto)]
        raw = b"".join(times) + head_of(STEP, 0x18) + bytes.fromhex(f"{days:02}{hours:02}{minutes:02}") + head_of(*element)
        bodies.append((raw, f"{times[0].hex()} {times[1].hex()} {units[0]} {code_of(element.id)} "))
        start = upto
    return bodies

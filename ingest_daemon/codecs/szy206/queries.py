"""The centre's side: acknowledgements, questions and whether a frame answers one. Nothing that sets, resets or erases is here."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ingest_daemon.codec_kit.api import Command, CommandType, UnsupportedCommand
from ingest_daemon.codecs.szy206.header import (
    ALARM,
    HISTORY,
    LINK,
    LONGEST,
    MANUAL,
    NEW,
    NOW,
    REPORT,
    SHORTEST,
    UP,
    VOLTAGE,
    frames_of,
    head_of,
    sealed,
)
from ingest_daemon.codecs.szy206.layout import PRESSURE_CODE, RECORDS, SPAN, TOTAL_CODE
from ingest_daemon.codecs.szy206.profile import DEFAULT, Station
from ingest_daemon.codecs.szy206.timestamps import hour, tag

_ACKNOWLEDGED = frozenset((REPORT, ALARM, MANUAL, VOLTAGE))
_COMPATIBLE = b"\x00"
"""Working mode in our acknowledgement: this byte switches the station's mode, and 00 leaves it free to report and to answer."""
_STORED = {"forward_m3": TOTAL_CODE, "pressure_mpa": PRESSURE_CODE}
_FIRST_METER = 1
_HOUR = timedelta(hours=1)


def reply(frame: bytes, now: datetime, profile: Station | None) -> bytes | None:
    """The acknowledgement (SL/T 427-2021 table 52): FCB, packet number, address and function echoed, mode 00, by profile Tp.

    A link test (02H) gets its own data back. None after answers to our requests and for a centre's own frame. The last
    packet of a message is acknowledged. Raises `ValueError` for a `now` without a time zone.
    """
    station = profile or DEFAULT
    *_, last = frames_of(frame)
    head = head_of(last)
    if not head.is_up or head.function not in (*_ACKNOWLEDGED, LINK):
        return None
    kind = head.kind if station.ack_type == "copy" else 0
    number = b"" if head.number is None else bytes((head.number,))
    data = head.data[:1] if head.function == LINK else _COMPATIBLE + (tag(now, 7) if station.ack_time else b"")
    control = head.control & ~UP & 0xF0 | kind
    return sealed(bytes((control,)) + number + head.address + bytes((head.function,)) + data)


def requests(ask: Command, profile: Station | None) -> list[bytes]:
    """B0 for each type of the profile's `now`; B1 for the stored values of a field, as many hours a frame as one answer holds.

    Raises `UnsupportedCommand` for anything else: the family's other requests are not in use here.
    """
    station = profile or DEFAULT
    address = _address(ask.terminal)
    if ask.kind == CommandType.NOW:
        return [sealed(bytes((NEW | kind,)) + address + bytes((NOW,))) for kind in station.now]
    if ask.kind != CommandType.HISTORY:
        hint = (
            "" if ask.kind != CommandType.SET_CLOCK else "; a station of SL/T 427-2021 takes its clock from our acknowledgements"
        )
        raise UnsupportedCommand(
            f"{ask.kind}: stations of this protocol are asked for {CommandType.NOW} and {CommandType.HISTORY} only{hint}"
        )
    if ask.field not in _STORED or ask.start is None or ask.end is None:
        raise UnsupportedCommand(
            f"history of {ask.field} from {ask.start} to {ask.end}: expected both times and {' or '.join(_STORED)}"
        )
    code = _STORED[ask.field]
    head = bytes((NEW | code,)) + address + bytes((HISTORY, code << 4 | _FIRST_METER))
    fits = (LONGEST - SHORTEST - SPAN) // RECORDS[code].size * station.step_min // 60
    return [sealed(head + hour(first) + hour(last)) for first, last in _spans(ask.start, ask.end, max(1, fits))]


def _spans(start: datetime, end: datetime, hours: int) -> Iterator[tuple[datetime, datetime]]:
    """First and last hour of each request, without an hour that begins at `end`. Zones of whole hours."""
    first, final = _whole_hour(start), _whole_hour(end - timedelta(microseconds=1))
    while first <= final:
        yield first, min(first + (hours - 1) * _HOUR, final)
        first += hours * _HOUR


def _whole_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def answers(request: bytes, frame: bytes) -> bool:
    """Whether station and function are the request's, and the type (B0) or the hours (B1), whatever the FCB."""
    asked, head = head_of(request), head_of(next(frames_of(frame)))
    if not head.is_up or (head.address, head.function) != (asked.address, asked.function):
        return False
    return head.kind == asked.kind if head.function == NOW else head.data[:SPAN] == asked.data


def _address(terminal: str) -> bytes:
    if len(terminal) != 10 or not set(terminal) <= set("0123456789ABCDEF"):
        raise UnsupportedCommand(f"terminal {terminal!r}: expected 10 digits (0-9, A-F), the address A of this protocol")
    return bytes.fromhex(terminal)

"""SL 651-2014 (hydrological telemetry), HEX/BCD form: the default protocol, both the centre's side and the terminal's.

Layouts: the standard's tables 15-40 and annex C. Elements `FF A1`-`FF A7` are our own, in the range that the standard leaves
to extensions (6.6.3.2): forward, reverse and net total, alarm word, flow in m³/h, seconds of the observation, signal.
The ASCII form and the putting together of multi-packet messages (M3) are not here.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon import bcd
from ingest_daemon.bcd import Block, Mask, Whole
from ingest_daemon.checksums import crc16_high_first
from ingest_daemon.frames import Decoded, Decoder, Frame, Part, Rejected
from ingest_daemon.schema import ALARMS, BEIJING, FIELDS, TIMESTAMP, Reason

START = b"\x7e\x7e"
STX, SYN, ETX, ETB, ENQ, EOT, ACK, NAK, ESC = 0x02, 0x16, 0x03, 0x17, 0x05, 0x04, 0x06, 0x15, 0x1B
ENDS = frozenset((ETX, ETB, ENQ, EOT, ACK, NAK, ESC))

HEADER = 14
"""Bytes from the start symbol to the second start symbol (STX or SYN)."""
OVERHEAD = HEADER + 3
"""Bytes of a frame beside those that its length counts: header, end symbol, CRC."""
LONGEST = 0xFFF
MAX_FRAME = OVERHEAD + LONGEST

TEST, SERIES, TIMED, EVENT, KEEP_ALIVE = 0x30, 0x31, 0x32, 0x33, 0x2F
_ELEMENT_FUNCTIONS = frozenset(range(0x30, 0x3B))
"""Functions whose body is made of station with type, observation times and elements."""
_READING_FUNCTIONS = frozenset((SERIES, TIMED, EVENT, 0x34, 0x37, 0x38, 0x3A))
"""Of those, the ones with measurements: test report, manual text and pictures have none."""
_SERIES_FUNCTIONS = frozenset((SERIES, 0x38))
_ANSWERS = frozenset((*range(0x37, 0x3B), *range(0x40, 0x52)))
"""Functions with which a station answers our query (mode M4): the exchange ends with the answer, nothing is acknowledged."""

TIME, STATION, TEXT, PICTURE = 0xF0F0, 0xF1F1, 0xF2F2, 0xF3F3
STEP = 0x04
FORWARD, REVERSE, NET, ALARM, FLOW, SECONDS, SIGNAL = 0xFFA1, 0xFFA2, 0xFFA3, 0xFFA4, 0xFFA5, 0xFFA6, 0xFFA7
FLOW_M3S, VOLTAGE, STATUS, PRESSURE = 0x27, 0x38, 0x45, 0x58

ALARM_BITS = (
    *("P_HI", "P_LO", "P_JUMP", "P_JUMP", "Q_HI", "Q_LO", "Q_REV"),
    *("MAG", "BATT", "EMPTY", "SENSOR", "DOOR", "MAINS", "CLOCK"),
)
"""Codes of the alarm word's bits, bit 0 first; 2 (jump) and 3 (drop) are one code."""


class _Source(NamedTuple):
    """Where an element's value goes: field of a reading, and how wire units become the field's (× factor ÷ 10**shift)."""

    field: str
    factor: int = 1
    shift: int = 0


_SOURCES = {
    FLOW_M3S: _Source("flow_m3h", factor=3600),
    FORWARD: _Source("forward_m3"),
    REVERSE: _Source("reverse_m3"),
    FLOW: _Source("flow_m3h"),
    PRESSURE: _Source("pressure_mpa", shift=3),
    VOLTAGE: _Source("battery_v"),
    SIGNAL: _Source("signal"),
    STATUS: _Source("status"),
}
"""Elements that make readings, lowest rank first: where a group has both flows, the finer FFA5 wins."""

_RANK = {identifier: rank for rank, identifier in enumerate(_SOURCES)}
_USED = frozenset((*_SOURCES, ALARM))
_COLUMN = {field.name: number for number, field in enumerate(FIELDS)}
_HEX = frozenset((STATUS, ALARM))
"""Elements whose value is a word of bits, not BCD."""

_MINUTE = 60_000_000
_BEIJING = 8 * 60 * _MINUTE
_FIXED_SIZE = {0xF4: 12} | dict.fromkeys(range(0xF5, 0xFD), 24)
"""Elements whose length does not follow from the definition byte (seen as 60, C0 and 5C)."""


# --- framing ------------------------------------------------------------------------------------------------------------


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


class _Mark(NamedTuple):
    """A start that turned out to be none: its bytes and why."""

    start: int
    end: int
    reason: Reason
    detail: str


class _Decoder:
    """Cuts a byte stream by declared length and CRC.

    Every `7E7E` with a possible header is a candidate, and of all candidates the one that ends first with a good CRC is the
    frame. So a start inside a frame's data does no harm, a frame whose length was damaged does not swallow the good one that
    follows, and the result does not depend on how the stream was cut.
    """

    def __init__(self) -> None:
        self._held = b""
        self._scan = 0
        self._open: list[tuple[int, int]] = []
        self._marks: list[_Mark] = []

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held = self._held + data
        out: list[Frame | Rejected] = []
        done = 0
        while True:
            due = self._open[0][0] if self._open else None
            reach = len(held) if due is None else min(len(held), due - OVERHEAD + len(START))
            at = held.find(START, self._scan, reach)
            if 0 <= at <= len(held) - HEADER:
                self._examine(held, at)
                self._scan = at + 1
                continue
            self._scan = at if at >= 0 else max(self._scan, reach - 1 if held[reach - 1 : reach] == START[:1] else reach)
            if due is None or due > len(held):
                break
            end, start = heappop(self._open)
            if fault := _fault(held, start, end):
                self._marks.append(fault)
                continue
            self._refuse(held, done, start, out)
            out.append(Frame(held[start:end]))
            done = self._scan = end
            self._open.clear()
            self._marks.clear()
        first = min((start for _, start in self._open), default=self._scan)
        self._held = held[first:]
        if first == 0:  # nothing leaves the buffer, so no offset moves
            return out
        self._refuse(held, done, first, out)
        self._scan -= first
        self._open = [(end - first, start - first) for end, start in self._open]
        self._marks = [
            mark._replace(start=mark.start - first, end=mark.end - first) for mark in self._marks if mark.start >= first
        ]
        return out

    def _examine(self, held: bytes, at: int) -> None:
        direction, length, begin = held[at + 11] >> 4, _length(held, at), held[at + 13]
        if begin not in (STX, SYN):
            return
        if direction in (0, 8):
            heappush(self._open, (at + OVERHEAD + length, at))
            return
        if held[at + 2] == START[0]:  # a stray 7E before a start: the start is one byte later
            return
        word = f"{held[at + 11]:02X}{held[at + 12]:02X}"
        detail = f"direction and length are {word}, expected 0nnn (up) or 8nnn (down) with at most {LONGEST} bytes"
        self._marks.append(_Mark(at, at + HEADER, Reason.BAD_LENGTH, detail))

    def _refuse(self, held: bytes, done: int, upto: int, out: list[Frame | Rejected]) -> None:
        """Give held[done:upto] as rejected, in one piece a failed start, the rest as noise."""
        inside = "declares {} bytes, but another whole frame begins before they end"
        undecided = [
            _Mark(start, end, Reason.BAD_LENGTH, inside.format(_length(held, start))) for end, start in self._open if start < upto
        ]
        at = done
        for mark in sorted(self._marks + undecided):
            if not at <= mark.start < upto:
                continue
            if mark.start > at:
                out.append(_noise(held[at : mark.start]))
            at = min(mark.end, upto)
            out.append(Rejected(held[mark.start : at], mark.reason, mark.detail))
        if at < upto:
            out.append(_noise(held[at:upto]))


def _noise(raw: bytes) -> Rejected:
    return Rejected(raw, Reason.NOISE, "not part of a frame, expected the start symbol 7E7E and a header")


def _length(frame: bytes, at: int = 0) -> int:
    """Bytes between the second start symbol and the end symbol, as declared."""
    return (frame[at + 11] & 0x0F) << 8 | frame[at + 12]


def _fault(held: bytes, start: int, end: int) -> _Mark | None:
    expected, received, symbol = crc16_high_first(held[start : end - 2]), held[end - 2 : end], held[end - 3]
    if symbol in ENDS and expected == received:
        return None
    if symbol in ENDS:
        detail = f"CRC is {received.hex().upper()}, expected {expected.hex().upper()}"
        return _Mark(start, end, Reason.BAD_CRC, detail)
    length = _length(held, start)
    detail = (
        f"declares {length} bytes, but {symbol:02X} follows them where an end symbol (03, 17, 04, 05, 06, 15 or 1B) is expected"
    )
    return _Mark(start, end, Reason.BAD_LENGTH, f"{detail}; CRC is {received.hex().upper()}, expected {expected.hex().upper()}")


# --- header -------------------------------------------------------------------------------------------------------------


def terminal(frame: bytes) -> str:
    """The station address as 10 hex digits: five bytes, after the centre's address on the way up, before it on the way down."""
    return (frame[2:7] if is_reply(frame) else frame[3:8]).hex().upper()


def is_alarm(frame: bytes) -> bool:
    """Whether it is an event report (33H) of a station."""
    return frame[10] == EVENT and not is_reply(frame)


def is_reply(frame: bytes) -> bool:
    """Whether the frame comes from the centre (direction nibble 8)."""
    return frame[11] >> 4 == 8


def sequence_of(frame: bytes) -> int | None:
    """The message's sequence number; None where there is none (a later packet of a multi-packet message, an empty body)."""
    start, end = _body(frame)
    if _packet(frame)[1] > 1 or end - start < 2:
        return None
    return int.from_bytes(frame[start : start + 2], "big")


def acknowledged_sequence(reply: bytes) -> int | None:
    """The sequence number that a frame of the centre acknowledges; None where it is no acknowledgement."""
    if not is_reply(reply) or reply[-3] not in (ACK, EOT, ESC):
        return None
    return sequence_of(reply)


def reply(frame: bytes, now: datetime) -> bytes | None:
    """The acknowledgement (mode M2): same sequence, our time; after ETX `1B` (stay on line), after ETB `06` (go on).

    None after a keep-alive, an answer to a query, a centre's own frame, any other end symbol, and a packet of a multi-packet
    message: those are not put together here, and silence makes the station keep them. Raises `ValueError` for a `now` without
    a time zone.
    """
    sequence = sequence_of(frame)
    silent = frame[10] == KEEP_ALIVE or frame[10] in _ANSWERS or _packet(frame)[0] != 1 or frame[-3] not in (ETX, ETB)
    if silent or is_reply(frame) or sequence is None:
        return None
    body = frame[13 : _body(frame)[0]] + sequence.to_bytes(2, "big") + _stamp(now)
    size = (0x8000 | len(body) - 1).to_bytes(2, "big")
    end = ACK if frame[-3] == ETB else ESC
    return _sealed(START + frame[3:8] + frame[2:3] + frame[8:11] + size + body + bytes((end,)))


def _body(frame: bytes) -> tuple[int, int]:
    """First offset of the body (after the packet numbers of M3) and the offset after its last byte."""
    return HEADER + (3 if frame[13] == SYN else 0), HEADER + _length(frame)


def _packet(frame: bytes) -> tuple[int, int]:
    """Total and number of the packet; (1, 1) for a frame of one packet."""
    if frame[13] != SYN:
        return 1, 1
    word = int.from_bytes(frame[HEADER : HEADER + 3], "big")
    return word >> 12, word & 0xFFF


def _stamp(moment: datetime) -> bytes:
    if moment.tzinfo is None:
        raise ValueError(f"time {moment.isoformat()} has no zone, expected an aware datetime")
    return bytes.fromhex(moment.astimezone(BEIJING).strftime("%y%m%d%H%M%S"))


def _sealed(frame: bytes) -> bytes:
    return frame + crc16_high_first(frame)


# --- body: walking the elements -------------------------------------------------------------------------------------------


class _Element(NamedTuple):
    """One element of a body: id (two bytes where it begins with FF, or is a doubled guide), definition byte, offsets."""

    id: int
    definition: int
    at: int
    value: int
    end: int


class _Torn(Exception):
    """The body ends inside an element."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


_GUIDES = {TIME: 5, STATION: 6}
"""Guides and the bytes behind them: observation time; station number and station type."""


def _elements(frame: bytes, at: int, end: int) -> Iterator[_Element]:
    """The elements of frame[at:end] in order. Raises `_Torn` where the body ends inside one."""
    while at < end:
        guide = int.from_bytes(frame[at : at + 2], "big")
        if guide in (TEXT, PICTURE):
            element = _Element(guide, 0, at, at + 2, end)
        elif guide in _GUIDES:
            element = _Element(guide, 0, at, at + 2, at + 2 + _GUIDES[guide])
        else:
            element = _headed(frame, at, end)
        if element.end > end:
            raise _Torn(
                at, f"element {element.id:02X} at byte {at} takes {element.end - at} bytes, but the body has {end - at} left"
            )
        yield element
        at = element.end


def _headed(frame: bytes, at: int, end: int) -> _Element:
    """The element whose id and definition byte begin at `at`. Raises `_Torn` where the body ends inside them."""
    extended = frame[at] == 0xFF
    value = at + (3 if extended else 2)
    if value > end:
        raise _Torn(at, f"id and definition byte expected at byte {at}, but the body ends after {end - at} bytes")
    identifier = int.from_bytes(frame[at : value - 1], "big")
    definition = frame[value - 1]
    return _Element(identifier, definition, at, value, value + _FIXED_SIZE.get(identifier, definition >> 3))


# --- decoding in columns --------------------------------------------------------------------------------------------------

_Skeleton = tuple[tuple[int, int], ...]
"""Ids and definition bytes of a group's elements, in order: they fix every offset."""


class _Batch(NamedTuple):
    """Groups of the same elements, whichever frames they came in; all arrays have one entry a group."""

    frame: Whole
    station: Whole
    at: Whole
    ts: Whole
    sound: Mask
    columns: list[tuple[int, int, Block]]


class _Groups:
    """Rows of one width that wait to become a `_Batch`: what the rows mean is in their key."""

    def __init__(self) -> None:
        self.frame: list[int] = []
        self.station: list[int] = []
        self.at: list[int] = []
        self.rows: list[bytes] = []
        self.counts: list[int] = []

    def add(self, frame: int, station: int, at: int, rows: bytes, count: int = 1) -> None:
        self.frame.append(frame)
        self.station.append(station)
        self.at.append(at)
        self.rows.append(rows)
        self.counts.append(count)

    def block(self) -> Block:
        """All rows, one a group."""
        joined = b"".join(self.rows)
        return np.frombuffer(joined, np.uint8).reshape(sum(self.counts), -1)

    def repeated(self, stride: int) -> tuple[Whole, Whole, Whole, Whole]:
        """Frame, station, offset and number within the frame, one a row; rows of a frame lie `stride` bytes apart."""
        counts = np.array(self.counts)
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        frame, station, at = (np.repeat(np.array(values, np.int64), counts) for values in (self.frame, self.station, self.at))
        return frame, station, at + number * stride, number


class _Collector:
    """What a group of frames holds, sorted by likeness; `batches` then decodes each kind at once."""

    def __init__(self, regular: bool) -> None:
        self._regular = regular
        self.stations: dict[bytes, int] = {}
        self.refused: list[tuple[int, Reason, str]] = []
        self._uniform: dict[_Skeleton, _Groups] = {}
        self._single: dict[tuple[bool, _Skeleton], _Groups] = {}
        self._series: dict[tuple[bool, int, int, int], _Groups] = {}
        self._series_heads: dict[tuple[bool, int, int, int], list[bytes]] = {}

    def take(self, number: int, frame: bytes) -> None:
        """Sort the groups of one frame in; what cannot be used goes to `refused`."""
        start, end = _body(frame)
        start += 8
        skeleton = self._skeleton(frame, start, end) if self._regular and frame[10] not in _SERIES_FUNCTIONS else None
        if skeleton is None:
            self._walk(number, frame, start, end)
        else:
            count = (end - start - 8) // _stride(skeleton)
            self._uniform.setdefault(skeleton, _Groups()).add(
                number, self._station(frame[start + 2 : start + 7]), start + 8, frame[start + 8 : end], count
            )

    def batches(self, frames: Sequence[bytes]) -> Iterator[_Batch]:
        """Every group of every frame, a batch a kind."""
        for skeleton, groups in self._uniform.items():
            yield from self._uniform_batch(skeleton, groups, frames)
        for (seconds, elements), groups in self._single.items():
            block = groups.block()
            offset = 7 if seconds else 5
            ts, sound = _moments(block[:, :5], block[:, 5:7] if seconds else None)
            columns = []
            for identifier, definition in elements:
                columns.append((identifier, definition, block[:, offset : (offset := offset + _size(identifier, definition))]))
            frame, station, at, _ = groups.repeated(0)
            yield _Batch(frame, station, at, ts, sound, columns)
        for key, groups in self._series.items():
            yield self._series_batch(key, groups)

    def _skeleton(self, frame: bytes, start: int, end: int) -> _Skeleton | None:
        """Elements of the first group, if the body may be that group over and over; whether it is, the columns tell."""
        if frame[start : start + 2] != b"\xf1\xf1" or frame[start + 8 : start + 10] != b"\xf0\xf0":
            return None
        elements: list[tuple[int, int]] = []
        try:
            for element in _elements(frame, start + 15, end):
                if element.id == TIME:
                    break
                if element.id in (STATION, TEXT, PICTURE) or (element.id == SECONDS and (elements or element.definition != 0x12)):
                    return None
                elements.append((element.id, element.definition))
        except _Torn:
            return None
        skeleton = tuple(elements)
        return None if (end - start - 8) % _stride(skeleton) else skeleton

    def _uniform_batch(self, skeleton: _Skeleton, groups: _Groups, frames: Sequence[bytes]) -> Iterator[_Batch]:
        block = groups.block()
        frame, station, at, _ = groups.repeated(block.shape[1])
        same = (block[:, 0] == 0xF0) & (block[:, 1] == 0xF0)
        offset, seconds, columns = 7, None, []
        for identifier, definition in skeleton:
            for byte in _head(identifier, definition):
                same &= block[:, offset] == byte
                offset += 1
            value = block[:, offset : (offset := offset + _size(identifier, definition))]
            if identifier == SECONDS:
                seconds = value
            elif identifier in _USED:
                columns.append((identifier, definition, value))
        odd = set(np.unique(frame[~same]).tolist())
        for number in odd:
            start, end = _body(frames[number])
            self._walk(number, frames[number], start + 8, end)
        if not columns:
            return
        ts, sound = _moments(block[:, 2:7], seconds)
        batch = _Batch(frame, station, at, ts, sound, columns)
        yield _kept(batch, ~np.isin(frame, list(odd))) if odd else batch

    def _walk(self, number: int, frame: bytes, start: int, end: int) -> None:
        """Sort the groups in one by one: any order of elements, several stations, a torn end."""
        station = self._station(frame[3:8])
        group = _Open(0, b"", b"")
        try:
            for element in _elements(frame, start, end):
                value = frame[element.value : element.end]
                if element.id == STATION:
                    self._close(number, station, group)
                    group, station = _Open(element.at, b"", b""), self._station(value[:5])
                elif element.id == TIME:
                    self._close(number, station, group)
                    group = _Open(element.at, value, b"")
                elif element.id == SECONDS:
                    self._close(number, station, group)
                    group = _Open(element.at if group.values else group.at, group.time, frame[element.at : element.end])
                elif element.id == STEP and frame[10] in _SERIES_FUNCTIONS:
                    self._close(number, station, group)
                    self._take_series(number, station, frame, group, element, end)
                    return
                elif element.id in _USED:
                    group.elements.append((element.id, element.definition))
                    group.values.append(value)
        except _Torn as torn:
            self.refused.append((number, Reason.BAD_BODY, str(torn)))
        self._close(number, station, group)

    def _close(self, number: int, station: int, group: "_Open") -> None:
        if not group.elements:
            return
        if not group.time:
            detail = f"group at byte {group.at} has no observation time, expected F0F0 YYMMDDhhmm before its elements"
            self.refused.append((number, Reason.BAD_TIME, detail))
            return
        key = bool(group.seconds), tuple(group.elements)
        row = b"".join((group.time, _seconds(group.seconds), *group.values))
        self._single.setdefault(key, _Groups()).add(number, station, group.at, row)

    def _take_series(self, number: int, station: int, frame: bytes, group: "_Open", step: _Element, end: int) -> None:
        """One element at equal steps (31H and the answer to 38H)."""
        element = _headed(frame, step.end, end)
        size = element.end - element.value
        if element.id not in _SOURCES:
            return
        count, left = divmod(end - element.value, size) if size else (0, end - element.value)
        if left:
            detail = f"series of {element.id:02X} at byte {element.value} ends with {left} bytes of a value that has {size}"
            self.refused.append((number, Reason.BAD_BODY, detail))
        if not group.time or step.end - step.value != 3:
            detail = f"series at byte {step.at}: expected F0F0 YYMMDDhhmm and 0418 with a step of 3 bytes before the values"
            self.refused.append((number, Reason.BAD_BODY, detail))
        elif count:
            key = bool(group.seconds), element.id, element.definition, size
            head = group.time + frame[step.value : step.end] + _seconds(group.seconds)
            self._series_heads.setdefault(key, []).append(head)
            rows = frame[element.value : element.value + count * size]
            self._series.setdefault(key, _Groups()).add(number, station, element.value, rows, count)

    def _series_batch(self, key: tuple[bool, int, int, int], groups: _Groups) -> _Batch:
        seconds, identifier, definition, size = key
        heads = np.frombuffer(b"".join(self._series_heads[key]), np.uint8).reshape(len(groups.counts), -1)
        first, sound = _moments(heads[:, :5], heads[:, 8:10] if seconds else None)
        step, bad = bcd.pairs(heads[:, 5:8])
        minutes = (step[:, 0] * 24 + step[:, 1]) * 60 + step[:, 2]
        unusable = bad | (minutes == 0) & (np.array(groups.counts) > 1)
        for number in np.flatnonzero(unusable):
            detail = (
                f"step {heads[number, 5:8].tobytes().hex().upper()} of the series, expected days, hours and minutes in BCD, not 0"
            )
            self.refused.append((groups.frame[number], Reason.BAD_BODY, detail))
        frame, station, at, place = groups.repeated(size)
        ts = np.repeat(first, groups.counts) + place * np.repeat(minutes, groups.counts) * _MINUTE
        batch = _Batch(frame, station, at, ts, np.repeat(sound, groups.counts), [(identifier, definition, groups.block())])
        return _kept(batch, ~np.repeat(unusable, groups.counts))

    def _station(self, number: bytes) -> int:
        return self.stations.setdefault(number, len(self.stations))


class _Open:
    """A group that is being walked."""

    def __init__(self, at: int, time: bytes, seconds: bytes) -> None:
        self.at, self.time, self.seconds = at, time, seconds
        self.elements: list[tuple[int, int]] = []
        self.values: list[bytes] = []


def decode(frames: Sequence[bytes]) -> Decoded:
    """Decode a group of frames at once, in columns (see `Decoded`). Never raises: unusable content is `rejected`.

    One reading a station and observation time that has at least one value; one row of alarms an alarm word (FFA4). Test reports
    and functions that carry no measurements give neither. An alarm whose observation time is unreadable takes the send time.
    """
    return _decode(frames, regular=True)


def _decode(frames: Sequence[bytes], *, regular: bool) -> Decoded:
    """`regular=False` walks every group, as for irregular bodies; the result is the same."""
    collector = _Collector(regular)
    refused = collector.refused
    clocks: list[int] = []
    for number, frame in enumerate(frames):
        if fault := _unusable(frame):
            refused.append((number, *fault))
            continue
        if _packet(frame)[0] == 1:
            clocks.append(number)
            if frame[10] in _READING_FUNCTIONS:
                collector.take(number, frame)
    sent, sent_sound = _sent(frames, clocks, refused)
    sent_at = dict(zip((clocks[i] for i in np.flatnonzero(sent_sound)), sent[sent_sound].tolist(), strict=True))
    batches = [_valued(batch, refused, sent_at) for batch in collector.batches(frames)]
    stations = pl.Series([station.hex().upper() for station in collector.stations], dtype=pl.String)
    clock_frames = pl.Series("frame", np.array(clocks, np.int64)[sent_sound], dtype=pl.Int64)
    return Decoded(
        _frame_of([readings for readings, _ in batches], stations, "ts"),
        _with_codes(_frame_of([alarms for _, alarms in batches], stations, "event_at")),
        pl.DataFrame(
            {
                "frame": clock_frames,
                "terminal": pl.Series([terminal(frames[number]) for number in clock_frames], dtype=pl.String),
                "sent_at": _timestamps(sent[sent_sound]),
            }
        ),
        pl.DataFrame(
            sorted(((number, str(reason), detail) for number, reason, detail in refused), key=lambda row: row[0]),
            schema={"frame": pl.Int64, "reason": pl.String, "detail": pl.String},
            orient="row",
        ),
    )


def _unusable(frame: bytes) -> tuple[Reason, str] | None:
    """Why nothing of the frame can be used, if so."""
    if len(frame) < OVERHEAD or len(frame) != OVERHEAD + _length(frame):
        expected = OVERHEAD + _length(frame) if len(frame) >= OVERHEAD else OVERHEAD
        return Reason.BAD_LENGTH, f"frame has {len(frame)} bytes, expected {expected}"
    if is_reply(frame):
        return Reason.BAD_BODY, "direction is down: a frame of a centre, expected one of a station"
    start, end = _body(frame)
    total, number = _packet(frame)
    if total != 1:
        if frame[10] not in _READING_FUNCTIONS:
            return None
        return (
            Reason.BAD_BODY,
            f"packet {number} of {total}: multi-packet messages are not put together, expected frames of one packet",
        )
    if end - start < 8:
        return Reason.BAD_BODY, f"body has {end - start} bytes, expected at least 8: sequence and send time"
    return None


def _sent(frames: Sequence[bytes], clocks: list[int], refused: list[tuple[int, Reason, str]]) -> tuple[Whole, Mask]:
    """Send times of the frames numbered in `clocks`, µs UTC, and whether each can be read; those that cannot are refused."""
    starts = [_body(frames[number])[0] for number in clocks]
    stamps = b"".join(frames[number][start + 2 : start + 8] for number, start in zip(clocks, starts, strict=True))
    block = np.frombuffer(stamps, np.uint8).reshape(-1, 6)
    sent, sound = _times(block)
    for place in np.flatnonzero(~sound):
        detail = f"send time {block[place].tobytes().hex().upper()}, expected YYMMDDhhmmss later than 2000-01-01"
        refused.append((clocks[place], Reason.BAD_TIME, detail))
    return sent, sound


class _Rows(NamedTuple):
    """Rows on their way to a data frame: `fields` is (rows, fields) with NaN for null, `word` the alarm word."""

    frame: Whole
    station: Whole
    at: Whole
    ts: Whole
    fields: NDArray[np.float64]
    word: Whole

    def only(self, mask: Mask) -> "_Rows":
        return _Rows(self.frame[mask], self.station[mask], self.at[mask], self.ts[mask], self.fields[mask], self.word[mask])


def _valued(batch: _Batch, refused: list[tuple[int, Reason, str]], sent_at: dict[int, int]) -> tuple[_Rows, _Rows]:
    """Readings and alarms of a batch."""
    count = len(batch.frame)
    fields = np.full((count, len(FIELDS)), np.nan)
    word, alarmed = np.zeros(count, np.int64), np.zeros(count, bool)
    for identifier, definition, block in sorted(batch.columns, key=lambda column: _RANK.get(column[0], 0)):
        number = _words(block) if identifier in _HEX else bcd.read(block)
        for place in np.flatnonzero(number.bad):
            raw, kind = block[place].tobytes().hex().upper(), "1 to 7 bytes" if identifier in _HEX else "BCD digits or all FF"
            detail = f"element {identifier:02X} of the group at byte {batch.at[place]} is {raw or 'empty'}, expected {kind}"
            refused.append((int(batch.frame[place]), Reason.BAD_BODY, detail))
        present = ~(number.missing | number.bad)
        if identifier == ALARM:
            word[present], alarmed = number.value[present], alarmed | present
            continue
        source = _SOURCES[identifier]
        decimals = 0 if identifier in _HEX else definition & 7
        value = number.value.astype(np.float64) * source.factor / 10.0 ** (decimals + source.shift)
        fields[present, _COLUMN[source.field]] = value[present]
    for place in np.flatnonzero(~batch.sound):
        detail = (
            f"observation time of the group at byte {batch.at[place]} cannot be read, expected YYMMDDhhmm later than 2000-01-01"
        )
        refused.append((int(batch.frame[place]), Reason.BAD_TIME, detail))
    event_at = batch.ts.copy()
    for place in np.flatnonzero(~batch.sound & alarmed):
        event_at[place] = sent_at.get(int(batch.frame[place]), -1)
    alarmed &= batch.sound | (event_at >= 0)
    reading = batch.sound & ~np.isnan(fields).all(axis=1)
    rows = _Rows(batch.frame, batch.station, batch.at, batch.ts, fields, word)
    return rows.only(reading), rows._replace(ts=event_at).only(alarmed)


def _words(block: Block) -> bcd.Numbers:
    """Words of bits, high byte first; all FF is no value."""
    count, size = block.shape
    missing = (block == 0xFF).all(axis=1) & (size > 0)
    value = np.zeros(count, np.int64)
    if not 1 <= size <= 7:
        return bcd.Numbers(value, missing, ~missing)
    for column in range(size):
        value = value << 8 | block[:, column]
    return bcd.Numbers(value, missing, np.zeros(count, bool))


def _frame_of(parts: list[_Rows], stations: pl.Series, moment: str) -> pl.DataFrame:
    empty = np.zeros(0, np.int64)
    parts = parts or [_Rows(empty, empty, empty, empty, np.zeros((0, len(FIELDS))), empty)]
    rows = _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    order = np.lexsort((rows.at, rows.frame))
    values = rows.fields[order]
    return pl.DataFrame(
        {
            "frame": pl.Series(rows.frame[order], dtype=pl.Int64),
            "terminal": stations.gather(rows.station[order]),
            moment: _timestamps(rows.ts[order]),
            **{
                field.name: pl.Series(np.ascontiguousarray(values[:, number]), nan_to_null=True).cast(field.dtype)
                for number, field in enumerate(FIELDS)
            },
            "word": pl.Series(rows.word[order], dtype=pl.Int64),
        }
    ).drop("word" if moment == "ts" else [])


def _with_codes(alarms: pl.DataFrame) -> pl.DataFrame:
    """The alarm word as a list of codes, beside the time of the event."""
    words = alarms["word"].unique(maintain_order=True)
    codes = pl.Series([_codes(word) for word in words], dtype=pl.List(pl.String))
    active = codes.gather(alarms["word"].replace_strict(words, pl.Series(range(len(words)), dtype=pl.Int64)))
    return alarms.drop("word").insert_column(3, active.alias("active"))


def _codes(word: int) -> list[str]:
    return list(dict.fromkeys(code for bit, code in enumerate(ALARM_BITS) if word >> bit & 1))


def _timestamps(microseconds: Whole) -> pl.Series:
    return pl.Series(microseconds, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP)


def _times(block: Block) -> tuple[Whole, Mask]:
    """YYMMDDhhmm[ss] of Beijing as µs UTC, and whether it can be a time; 2000-01-01 is a clock that was reset, so it cannot."""
    pairs, bad = bcd.pairs(block)
    year, month, day, hour, minute = pairs[:, :5].T
    second = pairs[:, 5] if pairs.shape[1] > 5 else np.zeros_like(hour)
    months = ((year + 30) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    sound = ~bad & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)
    sound &= (hour < 24) & (minute < 60) & (second < 60) & ~((year == 0) & (month == 1) & (day == 1))
    total = ((days.astype(np.int64) * 24 + hour) * 60 + minute) * 60 + second
    return np.where(sound, total * 1_000_000 - _BEIJING, 0), sound


def _moments(minutes: Block, seconds: Block | None) -> tuple[Whole, Mask]:
    """Observation times of groups, with the seconds of FFA6 (two bytes, 00.00 to 59.99) where they have them."""
    ts, sound = _times(minutes)
    if seconds is None:
        return ts, sound
    pairs, bad = bcd.pairs(seconds)
    sound = sound & ~bad & (pairs[:, 0] < 60)
    return np.where(sound, ts + pairs[:, 0] * 1_000_000 + pairs[:, 1] * 10_000, 0), sound


def _seconds(element: bytes) -> bytes:
    """The two value bytes of a FFA6 element; two bytes that are no BCD, so no time, where it is not defined as `12`."""
    return element[3:] if not element or element[2] == 0x12 else b"\xff\xff"


def _kept(batch: _Batch, mask: Mask) -> _Batch:
    columns = [(identifier, definition, block[mask]) for identifier, definition, block in batch.columns]
    return _Batch(batch.frame[mask], batch.station[mask], batch.at[mask], batch.ts[mask], batch.sound[mask], columns)


def _size(identifier: int, definition: int) -> int:
    return _FIXED_SIZE.get(identifier, definition >> 3)


def _head(identifier: int, definition: int) -> bytes:
    """Id and definition byte as sent."""
    return identifier.to_bytes(2 if identifier > 0xFF else 1, "big") + bytes((definition,))


def _stride(skeleton: _Skeleton) -> int:
    """Bytes of a group with its F0F0 and time."""
    return 7 + sum(len(_head(*element)) + _size(*element) for element in skeleton)


# --- explaining -----------------------------------------------------------------------------------------------------------

_FUNCTIONS = {
    0x2F: ("链路维持报", "keep-alive"),
    0x30: ("测试报", "test report"),
    0x31: ("均匀时段报", "uniform series"),
    0x32: ("定时报", "timed report"),
    0x33: ("加报", "event report"),
    0x34: ("小时报", "hourly report"),
    0x35: ("人工置数报", "manual text"),
    0x36: ("图片报", "picture"),
    0x37: ("查询实时数据", "query of present values"),
    0x38: ("查询时段数据", "query of stored values"),
    0x39: ("查询人工置数", "query of manual text"),
    0x3A: ("查询指定要素", "query of chosen elements"),
    0x40: ("修改基本配置", "write basic configuration"),
    0x41: ("读取基本配置", "read basic configuration"),
    0x42: ("修改运行参数", "write running parameters"),
    0x43: ("读取运行参数", "read running parameters"),
    0x45: ("查询软件版本", "software version"),
    0x46: ("查询状态和报警", "status and alarms"),
    0x47: ("初始化固态存储", "erase storage"),
    0x48: ("恢复出厂设置", "factory reset"),
    0x49: ("修改密码", "change password"),
    0x4A: ("设置时钟", "set clock"),
    0x50: ("查询事件记录", "event records"),
    0x51: ("查询时钟", "read clock"),
}

_SYMBOLS = {
    STX: ("正文起始", "start of text (STX)"),
    SYN: ("多包正文起始", "start of a packet (SYN)"),
    ETX: ("正文结束", "end of text (ETX)"),
    ETB: ("正文结束，后续有报文", "end of block, more follows (ETB)"),
    ENQ: ("询问", "query (ENQ)"),
    EOT: ("传输结束，可退出", "end of transmission (EOT)"),
    ACK: ("肯定确认，继续发送", "acknowledged, go on (ACK)"),
    NAK: ("否定应答，重发", "not acknowledged, repeat (NAK)"),
    ESC: ("传输结束，保持在线", "acknowledged, stay on line (ESC)"),
}

_NAMES: dict[int, tuple[str, str, str]] = {
    0x02: ("瞬时气温", "air temperature", "°C"),
    0x03: ("瞬时水温", "water temperature", "°C"),
    STEP: ("时间步长码", "time step", "ddhhmm"),
    0x06: ("日蒸发量", "evaporation of the day", "mm"),
    0x07: ("当前蒸发", "present evaporation", "mm"),
    0x08: ("气压", "air pressure", "hPa"),
    0x0E: ("地下水埋深", "groundwater depth", "m"),
    **{
        0x10 + n: (f"{depth} cm 土壤含水量", f"soil moisture at {depth} cm", "%")
        for n, depth in enumerate((10, 20, 30, 40, 50, 60, 80, 100))
    },
    0x18: ("湿度", "humidity", "%"),
    0x1A: ("1 小时降水量", "rain of 1 h", "mm"),
    0x1F: ("日降水量", "rain of the day", "mm"),
    0x20: ("当前降水量", "present rain", "mm"),
    0x22: ("5 分钟降水量", "rain of 5 min", "mm"),
    0x26: ("降水量累计值", "rain total", "mm"),
    FLOW_M3S: ("瞬时流量", "flow", "m³/s"),
    **{0x28 + n: (f"取水口 {n + 1} 流量", f"flow of intake {n + 1}", "m³/s") for n in range(8)},
    0x36: ("断面平均流速", "mean velocity", "m/s"),
    0x37: ("当前瞬时流速", "velocity", "m/s"),
    VOLTAGE: ("电源电压", "supply voltage", "V"),
    0x39: ("瞬时水位", "water level", "m"),
    0x3A: ("库下水位", "level below the dam", "m"),
    0x3B: ("库上水位", "level above the dam", "m"),
    **{0x3C + n: (f"取水口 {n + 1} 水位", f"level of intake {n + 1}", "m") for n in range(8)},
    STATUS: ("遥测站状态及报警", "status and alarms", ""),
    0x46: ("pH 值", "pH", ""),
    0x47: ("溶解氧", "dissolved oxygen", "mg/L"),
    0x48: ("电导率", "conductivity", "µS/cm"),
    0x49: ("浊度", "turbidity", ""),
    0x4A: ("高锰酸盐指数", "permanganate index", "mg/L"),
    **{0x58 + n: (f"水压 {n + 1}", f"pressure {n + 1}", "kPa") for n in range(8)},
    **{0x60 + n: (f"水表 {n + 1} 剩余水量", f"remaining volume of meter {n + 1}", "m³") for n in range(8)},
    **{0x68 + n: (f"水表 {n + 1} 每小时水量", f"volume of the hour of meter {n + 1}", "m³") for n in range(8)},
    0xF4: ("1 小时内每 5 分钟降水量", "rain of every 5 min of an hour", "mm"),
    **{0xF5 + n: (f"1 小时内每 5 分钟水位 {n + 1}", f"level {n + 1} of every 5 min of an hour", "m") for n in range(8)},
    FORWARD: ("正向累计流量", "forward total", "m³"),
    REVERSE: ("反向累计流量", "reverse total", "m³"),
    NET: ("净累计流量", "net total", "m³"),
    ALARM: ("水表报警字", "meter alarm word", ""),
    FLOW: ("瞬时流量", "flow", "m³/h"),
    SECONDS: ("观测时间的秒", "seconds of the observation", "s"),
    SIGNAL: ("信号强度", "signal", ""),
}
"""Elements by id: Chinese, English, unit on the wire."""

_PRIVATE = ("自定义要素", "private element", "")

_STATUS_BITS = (
    ("市电中断", "mains lost"),
    ("电池电压低", "battery low"),
    ("水位越限", "level limit"),
    ("流量越限", "flow limit"),
    ("水质越限", "quality limit"),
    ("流量仪表故障", "flow meter fault"),
    ("水位仪表故障", "level meter fault"),
    ("箱门关闭", "door closed"),
    ("存储器异常", "storage fault"),
    ("IC 卡有效", "IC card"),
    ("水泵停止", "pump stopped"),
    ("剩余水量低", "remaining water low"),
)
"""Bits of element 45H, bit 0 first; the door's bit is the one that is set when all is well."""


class _Explainer:
    """Takes a frame's bytes from the left into parts."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.at = frame, 0
        self.parts: list[Part] = []

    def take(self, upto: int, zh: str, en: str, value: str = "", unit: str = "") -> bytes:
        """The bytes up to that offset as one part, as far as there are any; without a value their hex is shown."""
        raw = self.frame[self.at : upto]
        if raw:
            self.parts.append(Part(self.at, raw, zh, en, value or raw.hex().upper(), unit))
            self.at += len(raw)
        return raw


def explain(frame: bytes) -> list[Part]:
    """Every byte of the frame explained, in order; also of a frame that is torn or whose checksum is wrong. Never raises."""
    book = _Explainer(frame)
    if len(frame) < HEADER or not frame.startswith(START) or frame[13] not in (STX, SYN):
        detail = "应为 7E7E 起始的完整报头 / expected a whole header that begins with 7E7E"
        book.take(len(frame), "不是 SL 651 报文", "no frame of SL 651", detail)
        return book.parts
    down = is_reply(frame)
    book.take(2, "帧起始符", "start symbol")
    if down:
        book.take(7, "遥测站地址", "station address")
        book.take(8, "中心站地址", "centre address", str(frame[7]))
    else:
        book.take(3, "中心站地址", "centre address", str(frame[2]))
        book.take(8, "遥测站地址", "station address")
    book.take(10, "密码", "password")
    zh, en = _FUNCTIONS.get(frame[10], ("厂家自定义", "private or unknown"))
    book.take(11, "功能码", "function", f"{frame[10]:02X}H {zh} / {en}")
    there = len(frame) - OVERHEAD
    short = "" if there >= _length(frame) else f"，实有 {max(there, 0)} / but only {max(there, 0)} are there"
    book.take(
        13, "方向与长度", "direction and length", f"{'下行 / down' if down else '上行 / up'}, {_length(frame)}{short}", "byte"
    )
    book.take(14, *_SYMBOLS[frame[13]])
    end = min(HEADER + _length(frame), len(frame))
    _explain_body(book, end)
    book.take(end, "正文", "content")
    if book.at < len(frame):
        book.take(end + 1, *_SYMBOLS.get(frame[end], ("不是结束符", "no end symbol")))
    expected = crc16_high_first(frame[: book.at]).hex().upper()
    received = frame[book.at : book.at + 2].hex().upper()
    verdict = "正确 / good" if received == expected else f"错误，应为 {expected} / wrong, expected {expected}"
    book.take(book.at + 2, "校验码", "CRC", f"{received} {verdict}")
    book.take(len(frame), "报文之后的字节", "bytes after the frame")
    return book.parts


def _explain_body(book: _Explainer, end: int) -> None:
    """Parts of the body as far as its layout is known; the rest is left to the caller."""
    frame = book.frame
    if frame[13] == SYN:
        total, number = _packet(frame)
        book.take(min(17, end), "包总数与序号", "packets and number", f"{number} / {total}")
        if number != 1:
            return
    if end - book.at < 8:
        return
    start = book.at
    book.take(start + 2, "流水号", "sequence number", str(int.from_bytes(frame[start : start + 2], "big")))
    book.take(start + 8, "发报时间", "send time", _clock_text(frame[start + 2 : start + 8]))
    if is_reply(frame):
        return
    if frame[10] not in _ELEMENT_FUNCTIONS and frame[book.at : book.at + 2] == b"\xf1\xf1":
        book.take(min(book.at + 7, end), "遥测站地址", "station address", frame[book.at + 2 : book.at + 7].hex().upper())
        return
    try:
        for element in _elements(frame, book.at, end):
            _explain_element(book, element)
            if element.id == STEP and frame[10] in _SERIES_FUNCTIONS:
                _explain_series(book, end)
                return
    except _Torn as torn:
        book.take(end, "残缺", "torn", str(torn))


def _explain_element(book: _Explainer, element: _Element) -> None:
    value = book.frame[element.value : element.end]
    if element.id == TIME:
        book.take(element.end, "观测时间", "observation time", _clock_text(value))
    elif element.id == STATION:
        text = f"{value[:5].hex().upper()}, {value[5]:02X}H"
        book.take(element.end, "测站编码与类别", "station number and type", text)
    elif element.id == TEXT:
        book.take(element.end, "人工置数", "manual text", value.decode("gb18030", "replace"))
    elif element.id == PICTURE:
        book.take(element.end, "图片数据", "picture data", str(len(value)), "byte")
    else:
        zh, en, unit = _NAMES.get(element.id, _PRIVATE)
        name = f"{element.id:02X}"
        book.take(element.end, f"{name} {zh}", f"{name} {en}", _value_text(element.id, element.definition, value), unit)


def _explain_series(book: _Explainer, end: int) -> None:
    element = _headed(book.frame, book.at, end)
    zh, en, unit = _NAMES.get(element.id, _PRIVATE)
    name, size = f"{element.id:02X}", element.end - element.value
    book.take(element.value, f"{name} {zh}：要素标识", f"{name} {en}: element of the series", f"{size} × n")
    number = 0
    while size and book.at + size <= end:
        number += 1
        text = _value_text(element.id, element.definition, book.frame[book.at : book.at + size])
        book.take(book.at + size, f"{name} {zh} 第 {number} 个", f"{name} {en}, value {number}", text, unit)


def _clock_text(digits: bytes) -> str:
    """Beijing time of YYMMDDhhmm[ss] in ISO 8601, or the digits and what was expected."""
    moment, sound = _times(np.frombuffer(digits, np.uint8).reshape(1, -1))
    if not sound[0]:
        return f"{digits.hex().upper()} 无效 / no time"
    return datetime.fromtimestamp(int(moment[0]) // 1_000_000, UTC).astimezone(BEIJING).isoformat()


def _value_text(identifier: int, definition: int, raw: bytes) -> str:
    """An element's value as people read it: exactly the digits that were sent."""
    if raw and not raw.strip(b"\xff"):
        return "无数据 / no data"
    if identifier in _HEX:
        return _word_text(identifier, raw)
    if identifier == STEP:
        return raw.hex()
    if identifier == 0xF4:
        return " ".join(_tenths(byte, 0xFF, 1) for byte in raw)
    if identifier in _FIXED_SIZE:
        return " ".join(_tenths(int.from_bytes(raw[i : i + 2], "big"), 0xFFFF, 2) for i in range(0, len(raw), 2))
    negative = raw[:1] == b"\xff"
    digits = raw[1 if negative else 0 :].hex()
    if not digits.isdecimal():
        return f"{raw.hex().upper()} 不是 BCD / not BCD"
    number = Decimal(digits).scaleb(-(definition & 7))
    return f"{-number if negative else number:f}"


def _tenths(value: int, missing: int, decimals: int) -> str:
    return "—" if value == missing else f"{Decimal(value).scaleb(-decimals):f}"


def _word_text(identifier: int, raw: bytes) -> str:
    word, names = int.from_bytes(raw, "big"), []
    if identifier == ALARM:
        names = [f"{code} {ALARMS[code].zh} / {ALARMS[code].en}" for code in _codes(word)]
    else:
        names = [f"{zh} / {en}" for bit, (zh, en) in enumerate(_STATUS_BITS) if word >> bit & 1]
    return f"{raw.hex().upper()}: " + ("; ".join(names) or "—")


# --- the terminal's side --------------------------------------------------------------------------------------------------

_CENTRE, _PASSWORD, _INTAKE = b"\x01", b"\x00\x00", 0x49


class _Wire(NamedTuple):
    """How a field is sent: element, least bytes and decimals on the wire, decimals that the field has more than the wire."""

    field: str
    id: int
    size: int
    decimals: int
    shift: int = 0


_WIRES = (
    _Wire("forward_m3", FORWARD, 5, 3),
    _Wire("reverse_m3", REVERSE, 5, 3),
    _Wire("flow_m3h", FLOW, 4, 3),
    _Wire("pressure_mpa", PRESSURE, 3, 2, shift=3),
    _Wire("battery_v", VOLTAGE, 2, 2),
    _Wire("signal", SIGNAL, 1, 0),
    _Wire("status", STATUS, 4, 0),
)


def keep_alive(terminal: str, sequence: int, sent_at: datetime) -> bytes:
    """The keep-alive frame (2FH); `sequence` is that of the last report. Raises `ValueError` as `reports` does."""
    return _up(terminal, KEEP_ALIVE, _sequence(sequence) + _stamp(sent_at))


def reports(
    terminal: str,
    readings: pl.DataFrame,
    *,
    sent_at: datetime,
    sequence: int,
    function: int = TIMED,
    active: Sequence[str] | None = None,
    max_body: int = 3000,
) -> list[bytes]:
    """Frames that a terminal sends for its readings, in their order, numbered from `sequence` (after 65535 comes 1).

    `readings` has `ts` (UTC; whole hundredths of a second) and any columns of `schema.FIELDS`. One observation group a reading,
    the same elements in all: a null is sent as all FF, a column of nulls not at all, values exactly and with as few decimals
    as that takes, seconds (FFA6) where any reading has them. `function` is 30H, 32H or 33H; `active` (33H only) adds the alarm
    word to the last reading of every frame, an empty list says that all is clear. `max_body` bounds the declared length.

    Raises `ValueError` for a terminal that is not 10 hex digits, a value that needs more than 7 decimals or is not finite, a
    time outside 2000-01-02 to 2099, and a `max_body` that holds no reading or is over 4095.
    """
    if function not in (TEST, TIMED, EVENT):
        raise ValueError(f"function {function:02X}H is not made of observation groups, expected 30H, 32H or 33H")
    word = b"" if active is None else _alarm_word(active)
    if word and (function != EVENT or readings.is_empty()):
        raise ValueError(
            f"an alarm word needs function 33H and a reading with its time, got {function:02X}H and {readings.height}"
        )
    if readings.is_empty():
        return []
    times, seconds = _observed(readings["ts"])
    pieces = [_constant(b"\xf0\xf0", len(times)), times]
    if seconds.any():
        pieces += [_constant(_head(SECONDS, 0x12), len(times)), seconds]
    before = sum(piece.shape[1] for piece in pieces)
    for wire in _WIRES:
        if wire.field in readings.columns and readings[wire.field].null_count() < readings.height:
            definition, block = _encoded(wire, readings[wire.field])
            pieces += [_constant(_head(wire.id, definition), len(times)), block]
    rows = np.concatenate(pieces, axis=1)
    prefix = _stamp(sent_at) + b"\xf1\xf1" + _station(terminal) + bytes((_INTAKE,))
    fit = (max_body - 2 - len(prefix) - len(word)) // rows.shape[1]
    if fit < 1 or max_body > LONGEST:
        least = 2 + len(prefix) + len(word) + rows.shape[1]
        raise ValueError(f"max_body is {max_body}, expected {least} (one reading) to {LONGEST}")
    frames = []
    for number, first in enumerate(range(0, len(rows), fit)):
        groups = rows[first : first + fit]
        last = groups[-1].tobytes()
        body = groups[:-1].tobytes() + last[:before] + word + last[before:]
        wrapped = (sequence - 1 + number) % 0xFFFF + 1 if number else sequence
        frames.append(_up(terminal, function, _sequence(wrapped) + prefix + body))
    return frames


def _up(terminal: str, function: int, body: bytes) -> bytes:
    head = START + _CENTRE + _station(terminal) + _PASSWORD + bytes((function,))
    return _sealed(head + len(body).to_bytes(2, "big") + bytes((STX,)) + body + bytes((ETX,)))


def _station(terminal: str) -> bytes:
    if len(terminal) != 10 or not set(terminal) <= set("0123456789ABCDEF"):
        raise ValueError(f"terminal {terminal!r}: expected 10 digits (0-9, A-F), the station address of SL 651")
    return bytes.fromhex(terminal)


def _sequence(number: int) -> bytes:
    if not 1 <= number <= 0xFFFF:
        raise ValueError(f"sequence {number}: expected 1 to 65535")
    return number.to_bytes(2, "big")


def _alarm_word(active: Sequence[str]) -> bytes:
    for code in active:
        if code not in ALARM_BITS:
            raise ValueError(f"alarm {code!r} has no bit in the alarm word; allowed: {', '.join(dict.fromkeys(ALARM_BITS))}")
    return _head(ALARM, 0x20) + sum(1 << ALARM_BITS.index(code) for code in set(active)).to_bytes(4, "big")


def _constant(raw: bytes, count: int) -> Block:
    return np.broadcast_to(np.frombuffer(raw, np.uint8), (count, len(raw)))


def _observed(ts: pl.Series) -> tuple[Block, Block]:
    """YYMMDDhhmm of Beijing (rows, 5) and the seconds in hundredths (rows, 2)."""
    if ts.null_count():
        raise ValueError(f"ts is null in {ts.null_count()} of {len(ts)} readings, expected a time in each")
    local = ts.dt.epoch("us").to_numpy() + _BEIJING
    if (local % 10_000).any():
        raise ValueError("a ts is finer than a hundredth of a second, which is the finest that FFA6 carries: round it first")
    months = (local // (1440 * _MINUTE)).astype("datetime64[D]").astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    day = local // (1440 * _MINUTE) - months.astype("datetime64[D]").astype(np.int64) + 1
    minute = local // _MINUTE % 1440
    hundredths = local % _MINUTE // 10_000
    if (year < 30).any() or (year > 129).any() or ((year == 30) & (month == 0) & (day == 1)).any():
        raise ValueError("a ts is outside 2000-01-02 to 2099-12-31 (Beijing time), which is all that two digits of a year carry")
    none = np.zeros(len(local), bool)
    parts = (year - 30, month + 1, day, minute // 60, minute % 60)
    times = np.concatenate([bcd.write(part, none, 1) for part in parts], axis=1)
    return times, bcd.write(hundredths, none, 2)


def _encoded(wire: _Wire, column: pl.Series) -> tuple[int, Block]:
    """Definition byte and values of a column: the fewest decimals that carry every value exactly, the bytes that this takes."""
    missing = column.is_null().to_numpy()
    if wire.id in _HEX:
        words = column.fill_null(0).cast(pl.Int64).to_numpy()
        if (words < 0).any() or (words >= 0xFFFF_FFFF).any():
            raise ValueError(f"{wire.field}: a word of bits is 0 to FFFFFFFE, got {words.min()} to {words.max()}")
        block = words.astype(">u4").view(np.uint8).reshape(-1, 4).copy()
        block[missing] = 0xFF
        return wire.size << 3, block
    values = column.fill_null(0).cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        raise ValueError(f"{wire.field} holds a value that is not finite; what was not measured is null")
    for decimals in range(wire.decimals, 8):
        scale = 10.0 ** (decimals + wire.shift)
        scaled = np.rint(values * scale)
        inexact = scaled / scale != values
        if not inexact.any() and (np.abs(scaled) < bcd.LIMIT).all():
            whole = scaled.astype(np.int64)
            size = max(wire.size, bcd.width(whole))
            return size << 3 | decimals, bcd.write(whole, missing, size)
    worst = values[inexact | (np.abs(scaled) >= bcd.LIMIT)][0]
    raise ValueError(
        f"{wire.field} {worst!r} is not carried exactly by {7 + wire.shift} decimals: round it to the meter's resolution"
    )

"""Sorts the observation groups of many frames by their elements, so that each kind is one array of bytes: a `Batch`.

A body that repeats one group (what meters send) costs no step a group; any other is read element by element. No value is read.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block, Mask, Whole
from ingest_daemon.codecs.sl651.elements import MEANING, PICTURE, STATION, STEP, TEXT, TIME, Meaning, head_of, size_of
from ingest_daemon.codecs.sl651.header import SERIES_FUNCTIONS, body_of
from ingest_daemon.codecs.sl651.iter_elements import (
    UNREADABLE,
    Element,
    TruncatedBody,
    element_at,
    is_private_series,
    iter_elements,
)
from ingest_daemon.codecs.sl651.timestamps import MINUTE, read_moments
from ingest_daemon.contract.schema import Reason

_KINDS = 4
"""Kinds of groups with which a frame's are compared before they are read element by element."""

_SHOWN = 64
"""Bytes of a private series that a complaint quotes."""

Skeleton = tuple[tuple[int, int], ...]
"""Ids and definition bytes of a group's elements, in order: they fix every offset."""


class Batch(NamedTuple):
    """Groups of the same elements from any frames; all arrays have one entry a group."""

    frame: Whole
    station: Whole
    start: Whole
    ts: Whole
    sound: Mask
    columns: list[tuple[int, int, Block]]


class _Groups:
    """Rows of one width that wait to become a `Batch`; their key gives their meaning."""

    def __init__(self) -> None:
        self.frame: list[int] = []
        self.station: list[int] = []
        self.start: list[int] = []
        self.rows: list[bytes] = []
        self.counts: list[int] = []

    def add(self, frame: int, station: int, start: int, rows: bytes, count: int = 1) -> None:
        self.frame.append(frame)
        self.station.append(station)
        self.start.append(start)
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
        frame, station, starts = (
            np.repeat(np.array(values, np.int64), counts) for values in (self.frame, self.station, self.start)
        )
        return frame, station, starts + number * stride, number


class _Open:
    """A group that is being read element by element."""

    def __init__(self, start: int, time: bytes, seconds: bytes) -> None:
        self.start, self.time, self.seconds = start, time, seconds
        self.elements: list[tuple[int, int]] = []
        self.values: list[bytes] = []


class Batcher:
    """Sorts the groups of many frames by kind; `batches` then yields each kind at once."""

    def __init__(self, regular: bool, meaning: Meaning = MEANING) -> None:
        self._regular = regular
        self._sources, self._seconds = meaning.sources, meaning.seconds
        self._used = frozenset((*meaning.sources, meaning.alarm))
        self.stations: dict[bytes, int] = {}
        self.refused: list[tuple[int, Reason, str]] = []
        self._uniform: dict[Skeleton, _Groups] = {}
        self._heads: dict[Skeleton, tuple[int, list[tuple[int, bytes]]]] = {}
        self._single: dict[tuple[bool, Skeleton], _Groups] = {}
        self._series: dict[tuple[bool, int, int, int], _Groups] = {}
        self._series_heads: dict[tuple[bool, int, int, int], list[bytes]] = {}

    def take(self, number: int, frame: bytes) -> None:
        """Add the groups of one frame; unusable ones go to `refused`."""
        start, end = body_of(frame)
        start += 8
        skeleton = self._skeleton(frame, start, end) if self._regular and frame[10] not in SERIES_FUNCTIONS else None
        if skeleton is None:
            self._walk(number, frame, start, end)
        else:
            count = (end - start - 8) // _stride(skeleton)
            self._uniform.setdefault(skeleton, _Groups()).add(
                number, self._station(frame[start + 2 : start + 7]), start + 8, frame[start + 8 : end], count
            )

    def batches(self, frames: Sequence[bytes]) -> Iterator[Batch]:
        """All groups of all frames, one batch a kind."""
        for skeleton, groups in self._uniform.items():
            yield from self._uniform_batch(skeleton, groups, frames)
        for (seconds, elements), groups in self._single.items():
            block = groups.block()
            offset = 7 if seconds else 5
            ts, sound = read_moments(block[:, :5], block[:, 5:7] if seconds else None)
            columns = []
            for identifier, definition in elements:
                columns.append((identifier, definition, block[:, offset : (offset := offset + size_of(identifier, definition))]))
            frame, station, starts, _ = groups.repeated(0)
            yield Batch(frame, station, starts, ts, sound, columns)
        for key, groups in self._series.items():
            yield self._series_batch(key, groups)

    def _skeleton(self, frame: bytes, start: int, end: int) -> Skeleton | None:
        """Elements of the first group, if the body may repeat just that group; the comparison of columns decides."""
        if end < start + 15 or frame[start : start + 2] != b"\xf1\xf1" or frame[start + 8 : start + 10] != b"\xf0\xf0":
            return None
        for skeleton in islice(self._uniform, _KINDS):  # most frames are like an earlier one
            if self._begins_alike(frame, start + 8, end, skeleton):
                return skeleton
        elements: list[tuple[int, int]] = []
        try:
            for element in iter_elements(frame, start + 15, end):
                if element.id == TIME:
                    break
                if (
                    element.id in (STATION, TEXT, PICTURE, UNREADABLE)
                    or is_private_series(element.id)
                    or (element.id == self._seconds and (elements or element.definition != 0x12))
                ):
                    return None
                elements.append((element.id, element.definition))
        except TruncatedBody:
            return None
        skeleton = tuple(elements)
        return None if (end - start - 8) % _stride(skeleton) else skeleton

    def _begins_alike(self, frame: bytes, start: int, end: int, skeleton: Skeleton) -> bool:
        """Whether the first group at `start` has just these elements; the comparison of columns covers the others."""
        heads = self._heads.get(skeleton)
        if heads is None:
            offset, marks = 7, []
            for identifier, definition in skeleton:
                head = head_of(identifier, definition)
                marks.append((offset, head))
                offset += len(head) + size_of(identifier, definition)
            heads = self._heads[skeleton] = offset, marks
        stride, marks = heads
        if (end - start) % stride or not (end == start + stride or frame.startswith(b"\xf0\xf0", start + stride)):
            return False
        return all(frame.startswith(head, start + offset) for offset, head in marks)

    def _uniform_batch(self, skeleton: Skeleton, groups: _Groups, frames: Sequence[bytes]) -> Iterator[Batch]:
        block = groups.block()
        frame, station, starts, _ = groups.repeated(block.shape[1])
        same = (block[:, 0] == 0xF0) & (block[:, 1] == 0xF0)
        offset, seconds, columns = 7, None, []
        for identifier, definition in skeleton:
            for byte in head_of(identifier, definition):
                same &= block[:, offset] == byte
                offset += 1
            value = block[:, offset : (offset := offset + size_of(identifier, definition))]
            if identifier == self._seconds:
                seconds = value
            elif identifier in self._used:
                columns.append((identifier, definition, value))
        odd = set(np.unique(frame[~same]).tolist())
        for number in odd:
            start, end = body_of(frames[number])
            self._walk(number, frames[number], start + 8, end)
        if not columns:
            return
        ts, sound = read_moments(block[:, 2:7], seconds)
        batch = Batch(frame, station, starts, ts, sound, columns)
        yield _kept(batch, ~np.isin(frame, list(odd))) if odd else batch

    def _walk(self, number: int, frame: bytes, start: int, end: int) -> None:
        """Add the groups one by one: any order of elements, several stations, a torn end."""
        station = self._station(frame[3:8])
        group = _Open(0, b"", b"")
        try:
            for element in iter_elements(frame, start, end):
                value = frame[element.value : element.end]
                if element.id == STATION:
                    self._close(number, station, group)
                    group, station = _Open(element.start, b"", b""), self._station(value[:5])
                elif element.id == TIME:
                    self._close(number, station, group)
                    group = _Open(element.start, value, b"")
                elif element.id == self._seconds:
                    self._close(number, station, group)
                    group = _Open(element.start if group.values else group.start, group.time, frame[element.start : element.end])
                elif element.id == STEP and frame[10] in SERIES_FUNCTIONS:
                    self._close(number, station, group)
                    self._take_series(number, station, frame, group, element, end)
                    return
                elif element.id in self._used:
                    group.elements.append((element.id, element.definition))
                    group.values.append(value)
                elif element.id == UNREADABLE or is_private_series(element.id):
                    self.refused.append((number, Reason.BAD_BODY, _unread(frame, element)))
        except TruncatedBody as torn:
            self.refused.append((number, Reason.BAD_BODY, str(torn)))
        self._close(number, station, group)

    def _close(self, number: int, station: int, group: _Open) -> None:
        if not group.elements:
            return
        if not group.time:
            detail = f"group at byte {group.start} has no observation time, expected F0F0 YYMMDDhhmm before its elements"
            self.refused.append((number, Reason.BAD_TIME, detail))
            return
        key = bool(group.seconds), tuple(group.elements)
        row = b"".join((group.time, _seconds(group.seconds), *group.values))
        self._single.setdefault(key, _Groups()).add(number, station, group.start, row)

    def _take_series(self, number: int, station: int, frame: bytes, group: _Open, step: Element, end: int) -> None:
        """One element at equal steps (31H and the answer to 38H)."""
        element = element_at(frame, step.end, end)
        size = element.end - element.value
        if is_private_series(element.id << 8 | element.definition):
            unread = end - element.start
            detail = f"series of the private element {element.id:02X} at byte {element.start}: its {unread} bytes are not read"
            self.refused.append((number, Reason.BAD_BODY, detail))
        if element.id not in self._sources:
            return
        count, left = divmod(end - element.value, size) if size else (0, end - element.value)
        if left:
            detail = f"series of {element.id:02X} at byte {element.value} ends with {left} bytes of a value that has {size}"
            self.refused.append((number, Reason.BAD_BODY, detail))
        if not group.time or step.end - step.value != 3:
            detail = f"series at byte {step.start}: expected F0F0 YYMMDDhhmm and 0418 with a step of 3 bytes before the values"
            self.refused.append((number, Reason.BAD_BODY, detail))
        elif count:
            key = bool(group.seconds), element.id, element.definition, size
            head = group.time + frame[step.value : step.end] + _seconds(group.seconds)
            self._series_heads.setdefault(key, []).append(head)
            rows = frame[element.value : element.value + count * size]
            self._series.setdefault(key, _Groups()).add(number, station, element.value, rows, count)

    def _series_batch(self, key: tuple[bool, int, int, int], groups: _Groups) -> Batch:
        seconds, identifier, definition, size = key
        heads = np.frombuffer(b"".join(self._series_heads[key]), np.uint8).reshape(len(groups.counts), -1)
        first, sound = read_moments(heads[:, :5], heads[:, 8:10] if seconds else None)
        step, bad = bcd.pairs(heads[:, 5:8])
        minutes = (step[:, 0] * 24 + step[:, 1]) * 60 + step[:, 2]
        unusable = bad | (minutes == 0) & (np.array(groups.counts) > 1)
        for number in np.flatnonzero(unusable):
            detail = (
                f"step {heads[number, 5:8].tobytes().hex().upper()} of the series, expected days, hours and minutes in BCD, not 0"
            )
            self.refused.append((groups.frame[number], Reason.BAD_BODY, detail))
        frame, station, starts, place = groups.repeated(size)
        ts = np.repeat(first, groups.counts) + place * np.repeat(minutes, groups.counts) * MINUTE
        batch = Batch(frame, station, starts, ts, np.repeat(sound, groups.counts), [(identifier, definition, groups.block())])
        return _kept(batch, ~np.repeat(unusable, groups.counts))

    def _station(self, number: bytes) -> int:
        return self.stations.setdefault(number, len(self.stations))


def _unread(frame: bytes, element: Element) -> str:
    """The complaint about bytes that are passed over."""
    raw = frame[element.start : element.end]
    what = f"private series {raw[:2].hex().upper()}" if is_private_series(element.id) else "no element"
    shown = raw.hex().upper() if len(raw) <= _SHOWN else f"{raw[:_SHOWN].hex().upper()}…"
    return (
        f"{what} at byte {element.start}: {len(raw)} bytes of unknown layout are not read ({shown}), the elements around them are"
    )


def _seconds(element: bytes) -> bytes:
    """The two value bytes of an FFA6 element; bytes that are no BCD, hence no time, where its definition byte is not `12`."""
    return element[3:] if not element or element[2] == 0x12 else b"\xff\xff"


def _kept(batch: Batch, mask: Mask) -> Batch:
    columns = [(identifier, definition, block[mask]) for identifier, definition, block in batch.columns]
    return Batch(batch.frame[mask], batch.station[mask], batch.start[mask], batch.ts[mask], batch.sound[mask], columns)


def _stride(skeleton: Skeleton) -> int:
    """Bytes of a group with its F0F0 and time."""
    return 7 + sum(len(head_of(*element)) + size_of(*element) for element in skeleton)

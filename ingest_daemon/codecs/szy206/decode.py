"""Decodes a group of frames into the columns of `Decoded`: joins messages, groups them by layout, reads each layout at once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.codec_kit.api import NOTHING, Arrival, Decoded, rejections
from ingest_daemon.codec_kit.bcd import Block, Mask, Whole
from ingest_daemon.codec_kit.columns import value_rows
from ingest_daemon.codecs.szy206.header import (
    ALARM,
    HISTORY,
    LINK,
    MANUAL,
    NOW,
    OVERHEAD,
    REPORT,
    VOLTAGE,
    Head,
    frames_of,
    head_of,
    is_whole,
)
from ingest_daemon.codecs.szy206.layout import LAID_OUT, RECORDS, SPAN, WORD, layout_of, read, read_words
from ingest_daemon.codecs.szy206.profile import DEFAULT, Station
from ingest_daemon.codecs.szy206.timestamps import MINUTE, read_hours, read_tags
from ingest_daemon.contract.schema import FIELDS, Reason

_COLUMN = {field.name: number for number, field in enumerate(FIELDS)}
_STATUS = _COLUMN["status"]
_SILENT = frozenset((LINK, MANUAL, *range(0x10, 0x66), *range(0x90, 0x97), *range(0xA0, 0xA3)))
"""Functions that carry no measurements: link test, manual text, answers to settings and queries of settings."""


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group of frames at once, in columns (see `Decoded`). Never raises: unusable content is `rejected`.

    One reading for each station and time; a row of alarms for a frame with an alarm word. A message in several packets and a
    round of answers are one arrival: its frames in a row. An answer to B0 has no time and takes its time of receipt, as does an
    alarm report (81H) whose own time is unreadable. The values of a B1 answer are `step_min` apart, from the first hour on.
    """
    collector = _Collector(profiles)
    for number, arrival in enumerate(arrivals):
        collector.take(number, arrival)
    parts = [
        _stored(key, group, collector.refused) if key.function == HISTORY else _reported(key, group, collector.refused)
        for key, group in collector.groups.items()
    ]
    readings = _frame_of([rows for rows, _ in parts], collector.terminals, "ts")
    alarms = _alarms(_frame_of([alarmed for _, alarmed in parts], collector.terminals, "event_at"), collector.stations)
    if collector.rounds:
        keys = {"ts": readings, "event_at": alarms}
        readings, alarms = (_merged(table, ["frame", "terminal", moment]) for moment, table in keys.items())
    return Decoded(
        readings.drop("terminal_index"),
        alarms.drop("terminal_index"),
        NOTHING.clocks,
        rejections(collector.refused),
    )


class _Key(NamedTuple):
    """The common features of frames of equal layout."""

    station: Station
    function: int
    kind: int
    size: int


class _Group(NamedTuple):
    """Frames of equal layout, a row each: number in the arrivals, index of the terminal, receive time, data."""

    frame: list[int]
    terminal: list[int]
    received: list[int]
    data: list[bytes]

    def block(self, size: int) -> Block:
        return np.frombuffer(b"".join(self.data), np.uint8).reshape(len(self.data), size)


Refused = list[tuple[int, Reason, str]]


class _Collector:
    """Sorts messages by layout."""

    def __init__(self, profiles: Mapping[str, Any]) -> None:
        self.groups: dict[_Key, _Group] = {}
        self.refused: Refused = []
        self.terminals: list[str] = []
        self.stations: list[Station] = []
        self.rounds = False
        """Whether an arrival holds several messages."""
        self._profiles = profiles
        self._indexes: dict[bytes, int] = {}

    def take(self, number: int, arrival: Arrival) -> None:
        raw = arrival.raw
        if len(raw) >= OVERHEAD and len(raw) == OVERHEAD + raw[1]:
            self._take_message(number, arrival.received_us, [raw])
            return
        messages = list(messages_of(raw))
        self.rounds |= len(messages) > 1
        for frames in messages:
            self._take_message(number, arrival.received_us, frames)

    def _take_message(self, number: int, received_us: int, frames: list[bytes]) -> None:
        torn = next((frame for frame in frames if not is_whole(frame)), None)
        if torn is not None:
            expected = f"{OVERHEAD + torn[1]}" if len(torn) > 1 else "at least 12"
            self.refused.append((number, Reason.BAD_LENGTH, f"frame has {len(torn)} bytes, expected {expected}"))
            return
        heads = [head_of(frame) for frame in frames]
        head = heads[-1]
        if not all(frame_head.is_up for frame_head in heads):
            detail = "direction is down: a frame of a centre, expected one of a station"
            self.refused.append((number, Reason.BAD_BODY, detail))
            return
        if head.function in _SILENT:
            return
        if head.function not in LAID_OUT and head.function != HISTORY:
            detail = (
                f"function {head.function:02X}H is not read, expected "
                f"{REPORT:02X}, {ALARM:02X}, {VOLTAGE:02X}, {NOW:02X} or {HISTORY:02X}"
            )
            self.refused.append((number, Reason.BAD_BODY, detail))
            return
        if head.number not in (None, 1):
            self.refused.append((number, Reason.BAD_BODY, f"packet {head.number} of a message whose packet 1 is not there"))
            return
        terminal = self._terminal(head.address)
        station = self.stations[terminal]
        data = data_of(heads, station.time_tag if head.function not in (NOW, HISTORY) else 0)
        group = self.groups.setdefault(_Key(station, head.function, head.kind, len(data)), _Group([], [], [], []))
        group.frame.append(number)
        group.terminal.append(terminal)
        group.received.append(received_us)
        group.data.append(data)

    def _terminal(self, address: bytes) -> int:
        if (index := self._indexes.get(address)) is None:
            index = self._indexes[address] = len(self.terminals)
            self.terminals.append(name := address.hex().upper())
            self.stations.append(self._profiles.get(name) or DEFAULT)
        return index


def messages_of(raw: bytes) -> Iterator[list[bytes]]:
    """The frames of an arrival, those of a message in several packets together."""
    message: list[bytes] = []
    for frame in frames_of(raw):
        message.append(frame)
        if not is_whole(frame) or head_of(frame).number in (None, 1):
            yield message
            message = []
    if message:
        yield message


def data_of(heads: list[Head], tag: int) -> bytes:
    """The data of all packets. The standard leaves open whether each repeats Tp: a packet that ends like the last one has it."""
    last = heads[-1].data
    end = last[len(last) - tag :] if tag else b""
    return b"".join([*(head.data.removesuffix(end) for head in heads[:-1]), last])


class _Rows(NamedTuple):
    """Rows on their way to a data frame: `fields` is (rows, fields) with NaN for null, `word` the alarm word."""

    frame: Whole
    terminal: Whole
    ts: Whole
    fields: NDArray[np.float64]
    word: Whole

    def only(self, mask: Mask) -> "_Rows":
        return _Rows(self.frame[mask], self.terminal[mask], self.ts[mask], self.fields[mask], self.word[mask])


def _nothing() -> _Rows:
    empty = np.zeros(0, np.int64)
    return _Rows(empty, empty, empty, np.zeros((0, len(FIELDS))), empty)


def _reported(key: _Key, group: _Group, refused: Refused) -> tuple[_Rows, _Rows]:
    """Readings and alarms of frames laid out as values, alarm word, state word, Tp."""
    layout = layout_of(*key)
    if layout.fault:
        refused.extend((number, Reason.BAD_BODY, layout.fault) for number in group.frame)
    block, count = group.block(key.size), len(group.frame)
    received = np.array(group.received, np.int64)
    fields, word = np.full((count, len(FIELDS)), np.nan), np.zeros(count, np.int64)
    for value in layout.values:
        raw = block[:, value.at : value.at + value.size]
        column = read(raw, value, key.station.flow_unit)
        for row in np.flatnonzero(column.bad):
            digits = raw[row].tobytes().hex().upper()
            detail = f"{value.field} at byte {value.at} of the data is {digits}, expected BCD, low byte first"
            refused.append((group.frame[row], Reason.BAD_BODY, detail))
        fields[:, _COLUMN[value.field]] = column.value
    if layout.alarm_at is not None:
        word = read_words(block[:, layout.alarm_at : layout.alarm_at + WORD])
        if layout.state_at is not None:
            fields[:, _STATUS] = word | read_words(block[:, layout.state_at : layout.state_at + WORD]) << 16
    ts, sound = received, np.ones(count, bool)
    if layout.tag_at is not None:
        tag = block[:, layout.tag_at :]
        ts, sound = read_tags(tag, received)
        for row in np.flatnonzero(~sound):
            form = "ss mm hh DD MM YY" if tag.shape[1] > 5 else "ss mm hh DD"
            detail = f"Tp is {tag[row].tobytes().hex().upper()}, expected a time {form} (profile: time_tag)"
            refused.append((group.frame[row], Reason.BAD_TIME, detail))
    rows = _Rows(np.array(group.frame, np.int64), np.array(group.terminal, np.int64), ts, fields, word)
    reading = sound & ~np.isnan(fields).all(axis=1) & (not layout.fault)
    alarmed = np.full(count, layout.alarm_at is not None) & (sound | (key.function == ALARM))
    return rows.only(reading), rows._replace(ts=np.where(sound, ts, received)).only(alarmed)


def _stored(key: _Key, group: _Group, refused: Refused) -> tuple[_Rows, _Rows]:
    """Readings of B1 answers: first and last hour, then records of one size without times."""
    station = key.station
    if key.size < SPAN:
        detail = f"B1 answer has {key.size} bytes of data, expected at least {SPAN}: data code, first hour, last hour"
        refused.extend((number, Reason.BAD_BODY, detail) for number in group.frame)
        return _nothing(), _nothing()
    block = group.block(key.size)
    start, sound = read_hours(block[:, 1:5])
    end, real = read_hours(block[:, 5:9])
    usable = sound & real & (start <= end)
    hours = np.where(usable, (end - start) // (60 * MINUTE) + 1, 0)
    codes = block[:, 0] >> 4
    parts = [_nothing()]
    for code, record in RECORDS.items():
        records, left = divmod(key.size - SPAN, record.size)
        mine = codes == code
        fits = mine & usable & (left == 0) & (records * station.step_min <= hours * 60)
        for row in np.flatnonzero(mine & ~fits):
            head = block[row, :SPAN].tobytes().hex().upper()
            detail = (
                f"B1 answer {head} has {key.size - SPAN} bytes of values, expected hours that are times and at most one value of "
                f"{record.size} bytes every {station.step_min} minutes of them (profile: step_min)"
            )
            refused.append((group.frame[row], Reason.BAD_BODY, detail))
        places = np.flatnonzero(fits)
        if not records or not len(places):
            continue
        column = read(block[places, SPAN:].reshape(-1, record.size), record, station.flow_unit)
        repeated = np.repeat(places, records)
        for row in np.flatnonzero(column.bad):
            detail = f"value {row % records + 1} of a B1 answer is no BCD, low byte first"
            refused.append((group.frame[repeated[row]], Reason.BAD_BODY, detail))
        fields = np.full((len(repeated), len(FIELDS)), np.nan)
        fields[:, _COLUMN[record.field]] = column.value
        step = np.tile(np.arange(records), len(places)) * station.step_min * MINUTE
        frame, terminal = np.array(group.frame, np.int64)[repeated], np.array(group.terminal, np.int64)[repeated]
        rows = _Rows(frame, terminal, start[repeated] + step, fields, np.zeros(len(repeated), np.int64))
        parts.append(rows.only(~np.isnan(column.value)))
    for row in np.flatnonzero(~np.isin(codes, list(RECORDS))):
        detail = f"B1 answer has data code {codes[row]}, expected one of {', '.join(map(str, RECORDS))}"
        refused.append((group.frame[row], Reason.BAD_BODY, detail))
    return _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True))), _nothing()


def _frame_of(parts: list[_Rows], terminals: list[str], moment: str) -> pl.DataFrame:
    rows = _Rows(*(np.concatenate(columns) for columns in zip(_nothing(), *parts, strict=True)))
    order = np.lexsort((rows.ts, rows.frame))
    index = pl.Series(rows.terminal[order], dtype=pl.Int64)
    terminal = pl.Series(terminals, dtype=pl.String).gather(index)
    table = value_rows(rows.frame[order], terminal, moment, rows.ts[order], rows.fields[order])
    if moment != "ts":
        table = table.with_columns(word=pl.Series(rows.word[order], dtype=pl.Int64))
    return table.with_columns(terminal_index=index)


def _alarms(alarms: pl.DataFrame, stations: list[Station]) -> pl.DataFrame:
    """The alarm words as lists of codes, beside the time of the event."""
    words = alarms.select("terminal_index", "word").unique(maintain_order=True)
    codes = [stations[terminal].active(word) for terminal, word in words.iter_rows()]
    named = words.with_columns(active=pl.Series(codes, dtype=pl.List(pl.String)))
    joined = alarms.join(named, on=["terminal_index", "word"], how="left", maintain_order="left").drop("word")
    return joined.select("frame", "terminal", "event_at", "active", *(field.name for field in FIELDS), "terminal_index")


def _merged(table: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The answers of one round of questions as one row a moment: of each field the first that is there."""
    return table.group_by(key, maintain_order=True).agg(pl.exclude(key).drop_nulls().first()).select(table.columns)

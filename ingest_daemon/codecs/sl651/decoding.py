"""Decoding a group of frames into the columns of `Decoded`: which frames count, the values, the data frames."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon import bcd
from ingest_daemon.bcd import Block, Mask, Whole
from ingest_daemon.codecs.sl651.elements import ALARM, SOURCES, WORDS, codes_of
from ingest_daemon.codecs.sl651.grouping import Batch, Collector
from ingest_daemon.codecs.sl651.header import OVERHEAD, READING_FUNCTIONS, body_of, is_reply, length_of, packet_of, terminal
from ingest_daemon.codecs.sl651.moments import read_times
from ingest_daemon.frames import Arrival, Decoded
from ingest_daemon.schema import FIELDS, TIMESTAMP, Reason

_RANK = {identifier: rank for rank, identifier in enumerate(SOURCES)}
_COLUMN = {field.name: number for number, field in enumerate(FIELDS)}


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group of frames at once, in columns (see `Decoded`). Never raises: unusable content is `rejected`.

    One reading a station and observation time that has at least one value; one row of alarms an alarm word (FFA4). Test reports
    and functions that carry no measurements give neither. An alarm whose observation time is unreadable takes the send time.
    """
    return _decode([arrival.raw for arrival in arrivals], regular=True)


def _decode(frames: Sequence[bytes], *, regular: bool) -> Decoded:
    """`regular=False` walks every group, as for irregular bodies; the result is the same."""
    collector = Collector(regular)
    refused = collector.refused
    clocks: list[int] = []
    for number, frame in enumerate(frames):
        if fault := _unusable(frame):
            refused.append((number, *fault))
            continue
        if packet_of(frame)[0] == 1:
            clocks.append(number)
            if frame[10] in READING_FUNCTIONS:
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
    if len(frame) < OVERHEAD or len(frame) != OVERHEAD + length_of(frame):
        expected = OVERHEAD + length_of(frame) if len(frame) >= OVERHEAD else OVERHEAD
        return Reason.BAD_LENGTH, f"frame has {len(frame)} bytes, expected {expected}"
    if is_reply(frame):
        return Reason.BAD_BODY, "direction is down: a frame of a centre, expected one of a station"
    start, end = body_of(frame)
    total, number = packet_of(frame)
    if total != 1:
        if frame[10] not in READING_FUNCTIONS:
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
    starts = [body_of(frames[number])[0] for number in clocks]
    stamps = b"".join(frames[number][start + 2 : start + 8] for number, start in zip(clocks, starts, strict=True))
    block = np.frombuffer(stamps, np.uint8).reshape(-1, 6)
    sent, sound = read_times(block)
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


def _valued(batch: Batch, refused: list[tuple[int, Reason, str]], sent_at: dict[int, int]) -> tuple[_Rows, _Rows]:
    """Readings and alarms of a batch."""
    count = len(batch.frame)
    fields = np.full((count, len(FIELDS)), np.nan)
    word, alarmed = np.zeros(count, np.int64), np.zeros(count, bool)
    for identifier, definition, block in sorted(batch.columns, key=lambda column: _RANK.get(column[0], 0)):
        number = _words(block) if identifier in WORDS else bcd.read(block)
        for place in np.flatnonzero(number.bad):
            raw, kind = (
                block[place].tobytes().hex().upper(),
                "1 to 7 bytes" if identifier in WORDS else "BCD digits or all FF",
            )
            detail = f"element {identifier:02X} of the group at byte {batch.at[place]} is {raw or 'empty'}, expected {kind}"
            refused.append((int(batch.frame[place]), Reason.BAD_BODY, detail))
        present = ~(number.missing | number.bad)
        if identifier == ALARM:
            word[present], alarmed = number.value[present], alarmed | present
            continue
        source = SOURCES[identifier]
        decimals = 0 if identifier in WORDS else definition & 7
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
    codes = pl.Series([codes_of(word) for word in words], dtype=pl.List(pl.String))
    active = codes.gather(alarms["word"].replace_strict(words, pl.Series(range(len(words)), dtype=pl.Int64)))
    return alarms.drop("word").insert_column(3, active.alias("active"))


def _timestamps(microseconds: Whole) -> pl.Series:
    return pl.Series(microseconds, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP)

"""Decodes a group of frames into the columns of `Decoded`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.api import Arrival, Decoded, rejections, renumbered, together
from ingest_daemon.codec_kit.bcd import Block, Mask, Whole
from ingest_daemon.codec_kit.columns import timestamps, value_rows
from ingest_daemon.codecs.sl651.ascii_form import translated
from ingest_daemon.codecs.sl651.batcher import Batch, Batcher
from ingest_daemon.codecs.sl651.elements import MEANING, Meaning, codes_of
from ingest_daemon.codecs.sl651.header import (
    HEADER,
    MANUAL,
    OVERHEAD,
    PICTURE_REPORT,
    READING_FUNCTIONS,
    SOH,
    SYN,
    TEST,
    body_of,
    is_reply,
    length_of,
    terminal,
)
from ingest_daemon.codecs.sl651.packets import begins, joined, messages
from ingest_daemon.codecs.sl651.profile import Settings, settings_of
from ingest_daemon.codecs.sl651.timestamps import read_times
from ingest_daemon.contract.schema import FIELDS, Reason

_COLUMN = {field.name: number for number, field in enumerate(FIELDS)}
_BEIJING_H = 8
_ASIDE = {
    TEST: "test report (30H): its values are never data",
    MANUAL: "manual text (35H): no readings",
    PICTURE_REPORT: "picture (36H): no readings",
}
"""Reports that are acknowledged, so that the station does not repeat them for ever, and kept aside as received."""


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group of frames at once, in columns (see `Decoded`). Never raises: unusable content is `rejected`.

    A reading for each station and observation time with at least one value; a row of alarms for each alarm word. Test reports,
    manual texts and pictures are kept aside; functions without measurements give neither. An alarm whose observation time is
    unreadable takes the send time.
    """
    frames = [arrival.raw for arrival in arrivals]
    if any(arrival.requests for arrival in arrivals):  # the answers of one round are one record
        rounds = [messages(frame) or [frame] for frame in frames]
        answers = decode([Arrival(message) for answers in rounds for message in answers], profiles)
        return _placed(answers, np.repeat(np.arange(len(frames)), [len(answers) for answers in rounds]), _BEIJING_H)
    special = {number: profile for number, profile in profiles.items() if isinstance(profile, Settings) and profile.is_special}
    if not special:
        return _decode(frames, regular=True)
    numbers: dict[int, list[int]] = {}
    settings = {}
    for number, frame in enumerate(frames):
        profile = settings_of(special.get(terminal(frame) if begins(frame, 0) else ""))
        settings[id(profile)] = profile
        numbers.setdefault(id(profile), []).append(number)
    parts = []
    for key, mine in numbers.items():
        part = _decode([frames[number] for number in mine], regular=True, meaning=settings[key].meaning)
        parts.append(_placed(part, np.array(mine, np.int64), settings[key].utc_offset_h))
    return together(parts)


def _placed(part: Decoded, numbers: Whole, utc_offset_h: int) -> Decoded:
    """The part with `frame` counted in the whole group, and its times corrected for a clock that is not set to Beijing time."""
    late = pl.duration(hours=_BEIJING_H - utc_offset_h)
    readings, alarms, clocks, rejected = renumbered(part, numbers)
    return Decoded(
        readings.with_columns(pl.col("ts") + late),
        alarms.with_columns(pl.col("event_at") + late),
        clocks.with_columns(pl.col("sent_at") + late),
        rejected,
    )


def _decode(frames: Sequence[bytes], *, regular: bool, meaning: Meaning = MEANING) -> Decoded:
    """Decode frames of one meaning. `regular=False` reads every body element by element; the result is the same."""
    frames = list(frames)
    collector = Batcher(regular, meaning)
    refused = collector.refused
    clocks: list[int] = []
    for number, frame in enumerate(frames):
        if frame[:1] == SOH or frame[HEADER - 1 : HEADER] == _SYN:
            try:
                frame, complaints = _one_frame(frame, meaning)
            except ValueError as error:
                refused.append((number, Reason.BAD_BODY, str(error)))
                continue
            frames[number] = frame
            refused.extend((number, Reason.BAD_BODY, complaint) for complaint in complaints)
        elif len(frame) < OVERHEAD or len(frame) != OVERHEAD + length_of(frame):
            expected = OVERHEAD + length_of(frame) if len(frame) >= OVERHEAD else OVERHEAD
            refused.append((number, Reason.BAD_LENGTH, f"frame has {len(frame)} bytes, expected {expected}"))
            continue
        if fault := _unusable(frame):
            refused.append((number, Reason.BAD_BODY, fault))
            continue
        clocks.append(number)
        if frame[10] in READING_FUNCTIONS:
            collector.take(number, frame)
        elif frame[10] in _ASIDE:
            refused.append((number, Reason.BAD_BODY, f"{_ASIDE[frame[10]]}, kept as it came"))
    sent, sent_sound = _sent(frames, clocks, refused)
    sent_at = dict(zip((clocks[i] for i in np.flatnonzero(sent_sound)), sent[sent_sound].tolist(), strict=True))
    batches = [_valued(batch, refused, sent_at, meaning) for batch in collector.batches(frames)]
    stations = pl.Series([station.hex().upper() for station in collector.stations], dtype=pl.String)
    clock_frames = pl.Series("frame", np.array(clocks, np.int64)[sent_sound], dtype=pl.Int64)
    return Decoded(
        _frame_of([readings for readings, _ in batches], stations, "ts"),
        _with_codes(_frame_of([alarms for _, alarms in batches], stations, "event_at"), meaning),
        pl.DataFrame(
            {
                "frame": clock_frames,
                "terminal": pl.Series([terminal(frames[number]) for number in clock_frames], dtype=pl.String),
                "sent_at": timestamps(sent[sent_sound]),
            }
        ),
        rejections(refused),
    )


_SYN = bytes((SYN,))


def _one_frame(message: bytes, meaning: Meaning) -> tuple[bytes, list[str]]:
    """A message in packets or of the ASCII form as one frame of the HEX form, with complaints. Raises `ValueError`."""
    frame = joined(message)
    return translated(frame, meaning) if message[:1] == SOH and not is_reply(frame) else (frame, [])


def _unusable(frame: bytes) -> str | None:
    """The reason for which nothing of a whole frame can be used; None where there is none."""
    if is_reply(frame):
        return "direction is down: a frame of a centre, expected one of a station"
    start, end = body_of(frame)
    if end - start < 8:
        return f"body has {end - start} bytes, expected at least 8: sequence and send time"
    return None


def _sent(frames: Sequence[bytes], clocks: list[int], refused: list[tuple[int, Reason, str]]) -> tuple[Whole, Mask]:
    """Send times of the frames numbered in `clocks`, µs UTC, and whether each is readable; unreadable ones are refused."""
    starts = [body_of(frames[number])[0] for number in clocks]
    stamps = b"".join(frames[number][start + 2 : start + 8] for number, start in zip(clocks, starts, strict=True))
    block = np.frombuffer(stamps, np.uint8).reshape(-1, 6)
    sent, sound = read_times(block)
    for row in np.flatnonzero(~sound):
        detail = f"send time {block[row].tobytes().hex().upper()}, expected YYMMDDhhmmss later than 2000-01-01"
        refused.append((clocks[row], Reason.BAD_TIME, detail))
    return sent, sound


class _Rows(NamedTuple):
    """Rows on their way to a data frame: `fields` is (rows, fields) with NaN for null, `word` the alarm word."""

    frame: Whole
    station: Whole
    start: Whole
    ts: Whole
    fields: NDArray[np.float64]
    word: Whole

    def only(self, mask: Mask) -> "_Rows":
        return self if mask.all() else self.picked(mask)

    def picked(self, index: Mask | Whole) -> "_Rows":
        columns = self.frame[index], self.station[index], self.start[index], self.ts[index]
        return _Rows(*columns, self.fields[index], self.word[index])


def _valued(
    batch: Batch, refused: list[tuple[int, Reason, str]], sent_at: dict[int, int], meaning: Meaning
) -> tuple[_Rows, _Rows]:
    """Readings and alarms of a batch."""
    count = len(batch.frame)
    fields = np.full((count, len(FIELDS)), np.nan)
    word, alarmed, valued = np.zeros(count, np.int64), np.zeros(count, bool), np.zeros(count, bool)
    rank = {identifier: row for row, identifier in enumerate(meaning.sources)}
    for identifier, definition, block in sorted(batch.columns, key=lambda column: rank.get(column[0], 0)):
        number = _words(block) if identifier in meaning.words else bcd.read(block)
        for row in np.flatnonzero(number.bad):
            raw, kind = (
                block[row].tobytes().hex().upper(),
                "1 to 7 bytes" if identifier in meaning.words else "BCD digits or all FF",
            )
            detail = f"element {identifier:02X} of the group at byte {batch.start[row]} is {raw or 'empty'}, expected {kind}"
            refused.append((int(batch.frame[row]), Reason.BAD_BODY, detail))
        present = ~(number.missing | number.bad)
        if identifier == meaning.alarm:
            word[present], alarmed = number.value[present], alarmed | present
            continue
        source = meaning.sources[identifier]
        decimals = 0 if identifier in meaning.words else definition & 7
        value = number.value * source.factor / 10.0 ** (decimals + source.shift)
        np.copyto(fields[:, _COLUMN[source.field]], value, where=present)
        valued |= present
    for row in np.flatnonzero(~batch.sound):
        detail = (
            f"observation time of the group at byte {batch.start[row]} cannot be read, expected YYMMDDhhmm later than 2000-01-01"
        )
        refused.append((int(batch.frame[row]), Reason.BAD_TIME, detail))
    event_at = batch.ts.copy()
    for row in np.flatnonzero(~batch.sound & alarmed):
        event_at[row] = sent_at.get(int(batch.frame[row]), -1)
    alarmed &= batch.sound | (event_at >= 0)
    reading = batch.sound & valued
    rows = _Rows(batch.frame, batch.station, batch.start, batch.ts, fields, word)
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
    if len(parts) > 1:  # one batch is in order
        rows = rows.picked(np.lexsort((rows.start, rows.frame)))
    table = value_rows(rows.frame, stations.gather(rows.station), moment, rows.ts, rows.fields)
    return table if moment == "ts" else table.with_columns(word=pl.Series(rows.word, dtype=pl.Int64))


def _with_codes(alarms: pl.DataFrame, meaning: Meaning) -> pl.DataFrame:
    """The alarms with their alarm word as the list `active` of codes."""
    words = alarms["word"].unique(maintain_order=True)
    codes = pl.Series([codes_of(word, meaning.bits) for word in words], dtype=pl.List(pl.String))
    active = codes.gather(alarms["word"].replace_strict(words, pl.Series(range(len(words)), dtype=pl.Int64)))
    return alarms.drop("word").insert_column(3, active.alias("active"))

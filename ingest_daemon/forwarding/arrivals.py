"""Every arrival of a terminal's readings, and its answers to commands, decoded from the journal. Nothing is stored."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import ExplainedField
from ingest_daemon.commands.queue import QueuedCommand
from ingest_daemon.contract.schema import TIMESTAMP
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.comparison import with_verdicts
from ingest_daemon.forwarding.decoding import decode
from ingest_daemon.forwarding.replay import ReplayRange, replayed
from ingest_daemon.forwarding.triage import stamp
from ingest_daemon.journal.envelope import parse_record
from ingest_daemon.journal.reader import stretch, walk
from ingest_daemon.journal.records import ALARM, DATA, STRANGER, Record
from ingest_daemon.journal.share import share_of
from ingest_daemon.terminals.registry import Registry

GROUP = 5000
"""Frames decoded at a time."""
AHEAD = timedelta(days=1)
"""A device's clock may be ahead: frames are read from this long before a reading's time."""


class Arrivals(NamedTuple):
    """Arrivals of a terminal's readings in the journal.

    `arrivals`, by reading time and arrival: `ts`, `received_at` (UTC), `channel`, `stream`, `frame` (journal position) and
    `verdict`: `first` of its time; `addition`, a field that was missing; `duplicate`; `contradiction`, another value for a field.
    `refused`: number of frames without readings, by reason.
    """

    arrivals: pl.DataFrame
    refused: Mapping[str, int]


def arrivals(site: Site, terminal: str, start: datetime, end: datetime, until: datetime | None = None) -> Arrivals:
    """Every arrival of the terminal's readings with start <= ts < end, as far as the journal is kept.

    `until`: only those received before it, which are found much sooner.
    """
    profiles, share = Registry(site).current.profiles, share_of(site)
    refused: Counter[str] = Counter()
    parts = []
    from_us = int((start - AHEAD).timestamp() * 1e6)
    to_us = int(until.timestamp() * 1e6) if until else sys.maxsize
    for stream in (DATA, ALARM, STRANGER):
        begin, behind = stretch(site.journal / stream, from_us, to_us)
        span = ReplayRange(streams=(stream,), from_us=from_us, to_us=to_us, begin=begin, terminal=terminal)
        records = (record for _, record in replayed(site, span, {stream: behind}))
        while group := list(islice(records, GROUP)):
            decoded = decode(group, profiles)
            refused.update(decoded.rejected["reason"])
            readings = stamp(stream, decoded.readings, group, share).filter(
                (pl.col("terminal") == terminal) & pl.col("ts").is_between(start, end, closed="left")
            )
            parts.append(readings)
    return Arrivals(_judged(parts), refused)


def answers(site: Site, command: QueuedCommand) -> Iterator[pl.DataFrame | list[ExplainedField]]:
    """The terminal's answers to a command: readings, or the explained frame where it holds no reading."""
    profiles = Registry(site).current.profiles
    since_us, until_us = (int(time.timestamp() * 1e6) if time else 0 for time in (command.sent_at, command.finished_at))
    if command.frame is None:
        return
    for record in _records(site.journal / command.stream, command.frame):
        if not since_us <= record.received_us <= until_us:
            continue
        header, raw = parse_record(record.payload)
        if header.terminal != command.terminal or not header.requests:
            continue
        readings = decode([record], profiles).readings.drop("frame")
        yield codecs.load(header.protocol).explain(raw) if readings.is_empty() else readings


def _records(folder: Path, position: int) -> Iterator[Record]:
    for chunk in walk(folder, position):
        yield from chunk.records


def _judged(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    columns = ["ts", "received_at", "channel", "stream", "frame", "verdict"]
    if not parts:
        kinds = (TIMESTAMP, TIMESTAMP, pl.String(), pl.String(), pl.Int64(), pl.String())
        return pl.DataFrame(schema=dict(zip(columns, kinds, strict=True)))
    return (
        with_verdicts(pl.concat(parts).sort("ts", "received_at", "stream", "frame"))
        .with_columns(
            verdict=pl.when(~pl.col("again"))
            .then(pl.lit("first"))
            .when("differs")
            .then(pl.lit("contradiction"))
            .when("adds")
            .then(pl.lit("addition"))
            .otherwise(pl.lit("duplicate"))
        )
        .select(columns)
    )

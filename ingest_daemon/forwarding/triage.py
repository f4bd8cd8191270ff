"""A group of journal records → readings to store, what the quarantine keeps with its reason, alarm words and clock offsets.

No journal, store or database is touched here.
"""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.contract.schema import READING, TIMESTAMP, Reason
from ingest_daemon.forwarding.alarm_sink import AlarmWord, alarm_words
from ingest_daemon.forwarding.attribution import attribute
from ingest_daemon.forwarding.decoding import channels_of, decode, senders
from ingest_daemon.forwarding.quarantine import QuarantineEntry
from ingest_daemon.journal.records import Record


class Group(NamedTuple):
    """What a group of frames says about registered terminals, and what of it is kept aside.

    `readings`: columns of `READING` and `index`, the frame's place in the group. `offsets`: see `clock_offsets`.
    """

    readings: pl.DataFrame
    kept: list[QuarantineEntry]
    alarm_words: list[AlarmWord]
    offsets: pl.DataFrame


def stamp(stream: str, readings: pl.DataFrame, records: Sequence[Record]) -> pl.DataFrame:
    """`Decoded.readings` with all columns of `READING`, and `index`; `ts` in whole milliseconds as stores keep it."""
    index = readings["frame"].to_numpy()
    received = np.array([record.received_us for record in records], dtype=np.int64)
    positions = np.array([record.position for record in records], dtype=np.int64)
    channels = pl.Series(channels_of(records), dtype=pl.String)
    return readings.with_columns(
        pl.col("ts").dt.truncate("1ms"),
        index=pl.col("frame"),
        received_at=pl.Series(received[index], dtype=pl.Int64).cast(TIMESTAMP),
        channel=channels.gather(pl.Series(index)),
        stream=pl.lit(stream),
        frame=pl.Series(positions[index], dtype=pl.Int64),
    ).select(*READING, "index")


def triage(
    stream: str, records: Sequence[Record], terminals: Container[str], profiles: Mapping[str, Any], future: timedelta
) -> Group:
    """Decode, and take out what the raw store must not see.

    That is: frames that are unusable or doubted, terminals nobody registered, times of the future.
    """
    decoded, unattributed = attribute(decode(records, profiles), records, terminals)
    kept = [
        quarantine_entry(reason, stream, records, index, None, None, detail)
        for index, reason, detail in decoded.rejected.select("frame", "reason", "detail").iter_rows()
    ]
    kept += [
        quarantine_entry(reason, stream, records, index, terminal, None, detail)
        for index, reason, terminal, detail in unattributed
    ]
    readings = stamp(stream, decoded.readings, records)

    ahead = pl.col("ts") - pl.col("received_at")
    for index, terminal, ts, by in readings.filter(ahead > future).select("index", "terminal", "ts", by=ahead).iter_rows():
        detail = f"device time is {by.total_seconds():.0f} s ahead of the server's; allowed: {future.total_seconds():.0f} s"
        kept.append(quarantine_entry(Reason.FUTURE_TIME, stream, records, index, terminal, ts, detail))

    return Group(
        readings.filter(ahead <= future),
        kept,
        alarm_words(decoded.alarms, records),
        clock_offsets(decoded.clocks, records),
    )


def quarantine_entry(
    reason: str, stream: str, records: Sequence[Record], place: int, terminal: str | None, ts: datetime | None, detail: str
) -> QuarantineEntry:
    """`terminal`: None for the one that the frame says."""
    record = records[place]
    ((speaker, way, raw),) = senders(records, [place])
    return QuarantineEntry(str(reason), stream, record.position, record.received_us, terminal or speaker, ts, detail, way, raw)


def clock_offsets(clocks: pl.DataFrame, records: Sequence[Record]) -> pl.DataFrame:
    """Receive time minus device clock, a row a frame in order: `terminal`, `offset_s`, `index` (its place in the group)."""
    received = pl.Series([record.received_us for record in records], dtype=pl.Int64)
    offset_s = (received.gather(clocks["frame"]) - clocks["sent_at"].dt.epoch("us")) / 1e6
    return clocks.select("terminal", offset_s=offset_s, index="frame").drop_nulls("offset_s").sort("index")

"""A group of journal records → readings to store, what the quarantine keeps with its reason, alarm words and clock offsets.

No journal, store or database is touched here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.contract.schema import BEIJING, READING, TIMESTAMP, Reason
from ingest_daemon.forwarding.alarm_sink import AlarmWord, alarm_words
from ingest_daemon.forwarding.attribution import attribute
from ingest_daemon.forwarding.decoding import channels_of, decode, senders
from ingest_daemon.forwarding.quarantine import QuarantineEntry
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.journal.records import Record
from ingest_daemon.journal.share import shared_stream
from ingest_daemon.stores.points import KEY
from ingest_daemon.terminals.table import Terminal


class Group(NamedTuple):
    """What a group of frames gives for registered terminals, and what of it goes to quarantine.

    `readings`: columns of `READING` and `index`, the frame's place in the group. `offsets`: see `clock_offsets`.
    """

    readings: pl.DataFrame
    kept: list[QuarantineEntry]
    alarm_words: list[AlarmWord]
    offsets: pl.DataFrame


def stamp(stream: str, readings: pl.DataFrame, records: Sequence[Record], share: str = "") -> pl.DataFrame:
    """`Decoded.readings` with all columns of `READING`, and `index`; `ts` in whole milliseconds as stores keep it.

    `share`: of `journal.share`.
    """
    index = readings["frame"].to_numpy()
    received = np.array([record.received_us for record in records], dtype=np.int64)
    positions = np.array([record.position for record in records], dtype=np.int64)
    channels = pl.Series(channels_of(records), dtype=pl.String)
    return readings.with_columns(
        pl.col("ts").dt.truncate("1ms"),
        index=pl.col("frame"),
        received_at=pl.Series(received[index], dtype=pl.Int64).cast(TIMESTAMP),
        channel=channels.gather(pl.Series(index)),
        stream=pl.lit(shared_stream(share, stream)),
        frame=pl.Series(positions[index], dtype=pl.Int64),
    ).select(*READING, "index")


class TimeLimits(NamedTuple):
    """How far a reading's time may be ahead of the moment at which it came, and how far before it.

    `now`: for frames that came earlier. The server's clock may have been wrong then, so the later of both moments bounds the
    future, and the earlier one the past. None: they come just now.
    """

    future: timedelta
    past: timedelta
    now: datetime | None = None

    @classmethod
    def of(cls, settings: TimeSettings, now: datetime | None = None) -> "TimeLimits":
        """The limits of the settings."""
        return cls(timedelta(seconds=settings.future_s), timedelta(days=settings.past_days), now)


def triage(
    stream: str,
    records: Sequence[Record],
    terminals: Mapping[str, Terminal],
    profiles: Mapping[str, Any],
    limits: TimeLimits,
    share: str = "",
) -> Group:
    """Decode the frames, and take out what the raw store must not get.

    That is: frames that are unusable or doubted, rows of stations that are not registered or were not judged, times that a
    terminal cannot have sent. `share`: of `journal.share`.
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
    readings = stamp(stream, decoded.readings, records, share)

    misdated = _misdated(readings, terminals, limits)
    kept += [
        quarantine_entry(reason, stream, records, index, terminal, ts, detail)
        for index, terminal, ts, reason, detail in misdated.iter_rows()
    ]
    return Group(
        readings.join(misdated, on=["index", *KEY], how="anti", maintain_order="left") if len(misdated) else readings,
        kept,
        alarm_words(decoded.alarms, records, pl.col("active").list.len() > 0 if share else None),
        clock_offsets(decoded.clocks, records),
    )


def _misdated(readings: pl.DataFrame, terminals: Mapping[str, Terminal], limits: TimeLimits) -> pl.DataFrame:
    """Readings at times that their terminals cannot have: `index`, `terminal`, `ts`, `reason`, `detail`."""
    received = pl.col("received_at")
    latest = received if limits.now is None else pl.max_horizontal(received, pl.lit(limits.now, TIMESTAMP))
    earliest = received if limits.now is None else pl.min_horizontal(received, pl.lit(limits.now, TIMESTAMP))
    ahead, behind = pl.col("ts") - latest, earliest - pl.col("ts")
    days = _service_days(readings["terminal"].unique(), terminals)
    ts = pl.col("ts")
    is_misdated = (ahead > limits.future) | (behind > limits.past)
    for bound, is_outside in ((days["begin"].max(), ts.lt), (days["end"].min(), ts.gt)):
        if bound is not None:
            is_misdated |= is_outside(pl.lit(bound, TIMESTAMP))
    suspects = readings.filter(is_misdated.fill_null(False))  # nearly always none
    seconds_ahead = pl.format(
        f"device time is {{}} s ahead of the server's; allowed: {limits.future.total_seconds():.0f} s", ahead.dt.total_seconds()
    )
    days_behind = pl.format(
        f"device time is {{}} days before the server's; allowed: {limits.past.days} ([daemon] past_days)", behind.dt.total_days()
    )
    return (
        suspects.join(days, on="terminal", how="left", maintain_order="left")
        .with_columns(
            reason=pl.when(ahead > limits.future)
            .then(pl.lit(Reason.FUTURE_TIME.value))
            .when(behind > limits.past)
            .then(pl.lit(Reason.OLD_TIME.value))
            .when(ts < pl.col("begin"))
            .then(pl.lit(Reason.NOT_INSTALLED.value))
            .when(ts > pl.col("end"))
            .then(pl.lit(Reason.REMOVED.value)),
        )
        .filter(pl.col("reason").is_not_null())
        .with_columns(
            detail=pl.when(reason=Reason.FUTURE_TIME.value)
            .then(seconds_ahead)
            .when(reason=Reason.OLD_TIME.value)
            .then(days_behind)
            .when(reason=Reason.NOT_INSTALLED.value)
            .then(pl.format("device time is before installed_on {} in registry/terminals.csv", "installed_on"))
            .otherwise(pl.format("device time is after removed_on {} in registry/terminals.csv", "removed_on"))
        )
        .select("index", "terminal", "ts", "reason", "detail")
    )


_DAYS = {"terminal": pl.String(), "installed_on": pl.Date(), "removed_on": pl.Date(), "begin": TIMESTAMP, "end": TIMESTAMP}


def _service_days(names: Iterable[str], terminals: Mapping[str, Terminal]) -> pl.DataFrame:
    """First and last day (Beijing's) of those terminals that have one, and the moments at which they begin and end."""
    rows = []
    for name in names:
        terminal = terminals[name]
        if terminal.installed_on or terminal.removed_on:
            begin, end = _midnight(terminal.installed_on), _midnight(terminal.removed_on)
            rows.append((name, terminal.installed_on, terminal.removed_on, begin, end and end + timedelta(days=1)))
    return pl.DataFrame(rows, schema=_DAYS, orient="row")


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), BEIJING)


def quarantine_entry(
    reason: str, stream: str, records: Sequence[Record], place: int, terminal: str | None, ts: datetime | None, detail: str
) -> QuarantineEntry:
    """What the ledger keeps of the record at that place of the group; `terminal`: None for the frame's sender."""
    record = records[place]
    ((sender, header, raw),) = senders(records, [place])
    return QuarantineEntry(str(reason), stream, record.position, record.received_us, terminal or sender, ts, detail, header, raw)


def clock_offsets(clocks: pl.DataFrame, records: Sequence[Record]) -> pl.DataFrame:
    """Receive time minus device clock, a row a frame in order: `terminal`, `offset_s`, `index` (its place in the group)."""
    received = pl.Series([record.received_us for record in records], dtype=pl.Int64)
    offset_s = (received.gather(clocks["frame"]) - clocks["sent_at"].dt.epoch("us")) / 1e6
    return clocks.select("terminal", offset_s=offset_s, index="frame").drop_nulls("offset_s").sort("index")

"""`mainflow deliveries`: when and by which channel each reading of a terminal arrived, from the journal. Nothing is stored."""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.table import Table

from pipelines.command import MOMENT, SITE, examples, failures_told
from pipelines.screen import console

if TYPE_CHECKING:
    import polars as pl

    from ingest_daemon.contract.site import Site

GROUP = 5000
"""Frames decoded at a time."""
AHEAD = timedelta(days=1)
"""A device's clock may be ahead: a reading is looked for from so long before its time on."""
WORDS = {
    "first": "首次 first",
    "addition": "补充 addition",
    "duplicate": "重复 duplicate",
    "contradiction": "[red]矛盾 contradiction[/red]",
}


class Deliveries(NamedTuple):
    """What the journal has of a terminal.

    `arrivals`, by reading time and arrival: `ts`, `received_at` (UTC), `channel`, `stream`, `frame` (journal position) and
    `verdict`: `first` of its time; `addition`, a field that was missing; `duplicate`; `contradiction`, another value for a field.
    `refused`: frames that gave no readings, a reason.
    """

    arrivals: "pl.DataFrame"
    refused: Mapping[str, int]


@click.command(
    epilog=examples(
        "mainflow deliveries --site site 0010000001",
        "mainflow deliveries --site site 0010000001 --from 2026-01-01 --to 2026-01-02T08:00",
    )
)
@SITE
@click.argument("terminal")
@click.option("--from", "begin", type=MOMENT, help="读数时间起 / reading times from, local; default: 2 days ago")
@click.option("--to", "end", type=MOMENT, help="读数时间止（不含）/ up to, local, excluded")
@failures_told
def deliveries(root: Path, terminal: str, begin: datetime | None, end: datetime | None) -> None:
    """到达记录 / every arrival of each reading of a terminal: channel, when, where in the journal, whether it was new."""
    from pipelines.settings import load

    settings = load(root)
    start, stop = (moment and moment.replace(tzinfo=settings.zone) for moment in (begin, end))
    now = datetime.now(UTC)
    found = delivered(settings.folder, terminal, start or now - timedelta(days=2), stop or now + AHEAD)
    if found.arrivals.is_empty():
        console.print(f"没有 / the journal has no reading of {terminal} for this time")
    else:
        console.print(_table(found.arrivals, str(settings.zone)))
        console.print(_summary(found.arrivals))
    for reason, count in found.refused.items():
        console.print(f"另存 / kept aside {reason}: {count:,} 帧 frames")


def delivered(site: "Site", terminal: str, start: datetime, end: datetime) -> Deliveries:
    """Arrivals of the terminal's readings with start <= ts < end, of the journal as far as it is kept."""
    from collections import Counter

    import polars as pl

    from ingest_daemon.forwarding.decoding import decode
    from ingest_daemon.forwarding.replay import ReplayRange, replayed
    from ingest_daemon.forwarding.triage import stamp
    from ingest_daemon.journal.records import ALARM, DATA
    from ingest_daemon.terminals.registry import Registry

    registry = Registry(site)
    refused: Counter[str] = Counter()
    parts = []
    for stream in (DATA, ALARM):
        span = ReplayRange(streams=(stream,), from_us=int((start - AHEAD).timestamp() * 1e6), terminal=terminal)
        records = (record for _, record in replayed(site, span, {stream: sys.maxsize}))
        for group in _groups(records):
            decoded = decode(group, registry.profiles())
            refused.update(decoded.rejected["reason"])
            readings = stamp(decoded.readings, group).filter(
                (pl.col("terminal") == terminal) & pl.col("ts").is_between(start, end, closed="left")
            )
            parts.append(readings.with_columns(stream=pl.lit(stream)))
    return Deliveries(_judged(parts), refused)


def _groups(records: Iterator[Any]) -> Iterator[list[Any]]:
    while group := list(islice(records, GROUP)):
        yield group


def _judged(parts: "list[pl.DataFrame]") -> "pl.DataFrame":
    import polars as pl

    from ingest_daemon.contract.schema import FIELDS, TIMESTAMP

    columns = ["ts", "received_at", "channel", "stream", "frame", "verdict"]
    if not parts:
        kinds = (TIMESTAMP, TIMESTAMP, pl.String(), pl.String(), pl.Int64(), pl.String())
        return pl.DataFrame(schema=dict(zip(columns, kinds, strict=True)))
    names = [field.name for field in FIELDS]
    before = {name: pl.col(name).forward_fill().shift().over("ts") for name in names}
    return (
        pl.concat(parts)
        .sort("ts", "received_at", "stream", "frame")
        .with_columns(
            again=pl.int_range(pl.len()).over("ts") > 0,
            differs=pl.any_horizontal((pl.col(name) != old).fill_null(False) for name, old in before.items()),
            adds=pl.any_horizontal(pl.col(name).is_not_null() & old.is_null() for name, old in before.items()),
        )
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


def _table(arrivals: "pl.DataFrame", zone: str) -> Table:
    import polars as pl

    table = Table("读数时间 reading", "通道 channel", "接收 received", "流 stream", "帧 frame", "")
    shown = arrivals.with_columns(pl.col("ts", "received_at").dt.convert_time_zone(zone))
    last = None
    for ts, received_at, channel, stream, frame, verdict in shown.iter_rows():
        moment = "" if ts == last else f"{ts:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment, channel, f"{received_at:%Y-%m-%d %H:%M:%S}", stream, str(frame), WORDS[verdict])
        last = ts
    return table


def _summary(arrivals: "pl.DataFrame") -> str:
    import polars as pl

    ways = arrivals.group_by("ts").agg(pl.col("channel").unique().sort().str.join("+"))["channel"].value_counts().sort("channel")
    by = ", ".join(f"{channel} {count:,}" for channel, count in ways.iter_rows())
    return f"读数 readings: {arrivals['ts'].n_unique():,} ({by}); 到达 arrivals: {len(arrivals):,}"

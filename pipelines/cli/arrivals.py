"""`mainflow arrivals`: when and by which channel each reading of a terminal arrived, from the journal. Nothing is stored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ingest_daemon import operations
from pipelines.cli.console import coloured, console
from pipelines.cli.options import MOMENT, SITE, examples, report_failures

if TYPE_CHECKING:
    import polars as pl

VERDICTS: dict[str, str | Text] = {
    "first": "首次 first",
    "addition": "补充 addition",
    "duplicate": "重复 duplicate",
    "contradiction": coloured("red", "矛盾 contradiction"),
}


@click.command(
    epilog=examples(
        "mainflow arrivals --site site 0010000001",
        "mainflow arrivals --site site 0010000001 --from 2026-01-01 --to 2026-01-02T08:00",
    )
)
@SITE
@click.argument("terminal")
@click.option("--from", "begin", type=MOMENT, help="读数时间起 / reading times from, local; default: 2 days ago")
@click.option("--to", "end", type=MOMENT, help="读数时间止（不含）/ up to, local, excluded")
@report_failures
def arrivals(root: Path, terminal: str, begin: datetime | None, end: datetime | None) -> None:
    """到达记录 / every arrival of each reading of a terminal: channel, when, where in the journal, whether it was new."""
    from pipelines.settings import load

    settings = load(root)
    start, stop = (moment and moment.replace(tzinfo=settings.zone).astimezone(UTC) for moment in (begin, end))
    now = datetime.now(UTC)
    found = operations.arrivals(settings.folder, terminal, start or now - timedelta(days=2), stop or now + timedelta(days=1))
    if found.arrivals.is_empty():
        console.print(f"没有 / the journal has no reading of {terminal} for this time")
    else:
        console.print(_table(found.arrivals, str(settings.zone)))
        console.print(_summary(found.arrivals))
    for reason, count in found.refused.items():
        console.print(f"另存 / kept aside {reason}: {count:,} 帧 frames")


def _table(arrivals: "pl.DataFrame", zone: str) -> Table:
    import polars as pl

    table = Table("读数时间 reading", "通道 channel", "接收 received", "流 stream", "帧 frame", "")
    shown = arrivals.with_columns(pl.col("ts", "received_at").dt.convert_time_zone(zone))
    last = None
    for ts, received_at, channel, stream, frame, verdict in shown.iter_rows():
        moment = "" if ts == last else f"{ts:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment, channel, f"{received_at:%Y-%m-%d %H:%M:%S}", stream, str(frame), VERDICTS[verdict])
        last = ts
    return table


def _summary(arrivals: "pl.DataFrame") -> str:
    import polars as pl

    ways = arrivals.group_by("ts").agg(pl.col("channel").unique().sort().str.join("+"))["channel"].value_counts().sort("channel")
    by = ", ".join(f"{channel} {count:,}" for channel, count in ways.iter_rows())
    return f"读数 readings: {arrivals['ts'].n_unique():,} ({by}); 到达 arrivals: {len(arrivals):,}"

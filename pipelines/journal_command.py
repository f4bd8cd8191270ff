"""`mainflow journal`: look at what was received, or have it decoded again, while the daemon runs or not.

Reading journals: `ingest_daemon.journal`; decoding again: the daemon, asked through `pipelines.adopt`.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from pipelines.command import SITE, examples, failures_told
from pipelines.screen import console, parts_table

if TYPE_CHECKING:
    from ingest_daemon.journal.records import Chunk, Record

STREAMS = ("data", "alarm", "bad", "event")


@click.group(
    epilog=examples(
        "mainflow journal ls --site site",
        "mainflow journal show --site site --stream data --from 4711 --limit 1 --explain",
        "mainflow journal verify --site site",
        "mainflow journal replay --site site --from 2026-11-01 --to 2026-11-08",
    )
)
def journal() -> None:
    """接收日志 / what was received: list, show, verify, decode again; while the daemon runs or not."""


@journal.command(epilog=examples("mainflow journal ls --site site"))
@SITE
@failures_told
def ls(root: Path) -> None:
    """列出 / streams with their segments, size, first and last receive time, and how far each reader is."""
    from ingest_daemon.journal.reader import streams
    from pipelines.settings import load

    settings = load(root)
    found = streams(settings.folder)
    table = Table("流 stream", "段 segments", "字节 bytes", "最早 first", "最近 last")
    for stream in found:
        times = (_time(us, settings.zone)[:19] for us in (stream.first_us, stream.last_us))
        table.add_row(stream.name, f"{stream.segments:,}", f"{stream.size:,}", *times)
    console.print(table)
    for stream in found:
        for name, position in stream.cursors.items():
            click.echo(f"游标 / cursor {name}: {position} of {stream.end}, 待处理 / left {stream.end - position:,} B")


@journal.command(
    epilog=examples(
        "mainflow journal show --site site --stream bad --limit 5",
        "mainflow journal show --site site --stream data --from 4711 --limit 1 --explain",
    )
)
@SITE
@click.option("--stream", type=click.Choice(STREAMS), default="data", show_default=True, help="流 / stream")
@click.option("--from", "position", type=click.IntRange(min=0), default=0, show_default=True, help="起始位置 / position (frame)")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="条数 / number of records")
@click.option("--explain", is_flag=True, help="逐字段解释 / explain each frame field by field")
@failures_told
def show(root: Path, stream: str, position: int, limit: int, explain: bool) -> None:
    """显示 / records: position, receive time, bytes; the column `frame` of a reading is its frame's position here."""
    from ingest_daemon import codecs
    from ingest_daemon.journal.envelope import RecordHeader, parse_record
    from ingest_daemon.journal.reader import walk
    from ingest_daemon.journal.records import BAD_KIND, EVENT_KIND, split_bad
    from pipelines.settings import load

    settings = load(root)
    for record in islice(_records(walk(settings.folder.journal / stream, position)), limit):
        head = f"{record.position}  {_time(record.received_us, settings.zone)}"
        if record.kind == EVENT_KIND:
            click.echo(f"{head}  {record.payload.decode()}")
            continue
        reason, detail, payload = split_bad(record.payload) if record.kind == BAD_KIND else ("", "", record.payload)
        try:
            way, raw = parse_record(payload)
        except ValueError as error:
            way, raw, detail = RecordHeader(""), payload, str(error)
        said = (head, reason, detail, way.protocol, way.channel, way.link, way.terminal, way.quarantine_reason, raw.hex().upper())
        click.echo("  ".join(part for part in said if part))
        if explain and way.protocol:
            console.print(parts_table(codecs.load(way.protocol).explain(raw)))


@journal.command(epilog=examples("mainflow journal verify --site site"))
@SITE
@failures_told
def verify(root: Path) -> None:
    """检验 / check the CRC of every record, name damaged places; exit code 1 if there is one."""
    from ingest_daemon.journal.reader import walk
    from pipelines.settings import load

    settings = load(root)
    sound = True
    for name in STREAMS:
        records = 0
        for chunk in walk(settings.folder.journal / name):
            records += len(chunk.records)
            for gap in chunk.damaged:
                sound = False
                console.print(
                    f"[red]{name}[/red]: 损坏 / damaged at {gap.position}: {gap.length:,} 字节 bytes hold no valid record"
                )
        console.print(f"{name}: {records:,} 条完好 / records are sound")
    sys.exit(0 if sound else 1)


class Place(click.ParamType["int | datetime"]):
    """A position of the journal, or a local time without a zone."""

    name = "TIME|POSITION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "int | datetime":
        if str(value).isdigit():
            return int(value)
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r}: expected a local time like 2026-11-01T08:00, a day or a position", param, ctx)


@journal.command(
    epilog=examples(
        "mainflow journal replay --site site",
        "mainflow journal replay --site site --from 2026-11-01 --to '2026-11-08 12:00' --terminal 0012345678",
        "mainflow journal replay --site site --stream data --from 4711 --to 90210",
    )
)
@SITE
@click.option("--from", "begin", type=Place(), help="起（含）/ first receive time or position")
@click.option("--to", "end", type=Place(), help="止（不含）/ receive time or position that is not included any more")
@click.option("--terminal", default="", help="仅此终端 / only this terminal")
@click.option("--stream", type=click.Choice(["alarm", "data"]), help="仅此流 / only this stream; positions need it")
@failures_told
def replay(root: Path, begin: "int | datetime | None", end: "int | datetime | None", terminal: str, stream: str | None) -> None:
    """重新解码 / decode what was received once more, with today's codecs and profiles; points become right, never double."""
    from dataclasses import replace

    from ingest_daemon.forwarding.replay import ReplayRange
    from pipelines.adopt import adopt
    from pipelines.settings import load

    settings = load(root)
    span = ReplayRange((stream,), terminal=terminal) if stream else ReplayRange(terminal=terminal)
    for place, is_end in ((begin, False), (end, True)):
        if isinstance(place, int):
            if not stream:
                raise ValueError(f"{place} is a position, and each stream has its own: say --stream data or --stream alarm")
            span = replace(span, end=place) if is_end else replace(span, begin=place)
        elif place is not None:
            local = place if place.tzinfo else place.replace(tzinfo=settings.zone)
            at_us = round(local.timestamp() * 1e6)
            span = replace(span, to_us=at_us) if is_end else replace(span, from_us=at_us)
    with console.status("重新解码 replay") as shown:
        done = adopt(settings.folder, lambda store: shown.update(f"重新解码 replay; 原始库 raw store: {store}"), span)
    sums = [sum(counts.values()) for counts in (done.frames, done.readings, done.corrected, done.withdrawn)]
    click.echo("{:,} 帧 frames, {:,} 新读数 new readings, {:,} 更正 corrected, {:,} 撤回 withdrawn".format(*sums))


def _records(chunks: "Iterable[Chunk]") -> "Iterator[Record]":
    """The records of chunks; says which bytes are passed over, for example when one begins inside a record."""
    for chunk in chunks:
        for gap in chunk.damaged:
            click.echo(f"{gap.position}  {gap.length:,} 字节不成记录 / bytes hold no valid record", err=True)
        yield from chunk.records


def _time(received_us: int | None, zone: tzinfo) -> str:
    """Local time of µs since 1970 UTC; a dash for none."""
    if received_us is None:
        return "–"
    return datetime.fromtimestamp(received_us / 1e6, UTC).astimezone(zone).isoformat(sep=" ", timespec="milliseconds")

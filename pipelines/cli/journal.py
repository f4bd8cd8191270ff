"""`mainflow journal`: list, show, verify, replay and drain what was received, while the daemon runs or not."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ingest_daemon import operations
from ingest_daemon.contract.site import Site
from pipelines.cli.console import coloured, console, fields_table
from pipelines.cli.options import SITE, examples, report_failures

if TYPE_CHECKING:
    from ingest_daemon.operations import JournalEntry, Progress


@click.group(
    epilog=examples(
        "mainflow journal ls --site site",
        "mainflow journal show --site site --stream data --from 4711 --limit 1 --explain",
        "mainflow journal verify --site site",
        "mainflow journal replay --site site --from 2026-11-01 --to 2026-11-08",
        "mainflow journal drain /mnt/lost/site --site site",
    )
)
def journal() -> None:
    """接收日志 / what was received: list, show, verify, decode again; while the daemon runs or not."""


@journal.command(epilog=examples("mainflow journal ls --site site"))
@SITE
@report_failures
def ls(root: Path) -> None:
    """列出 / streams with their segments, size, first and last receive time, and how far each reader is."""
    from pipelines.settings import load

    settings = load(root)
    found = operations.journal_streams(settings.folder)
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
@click.option("--stream", type=click.Choice(operations.STREAMS), default="data", show_default=True, help="流 / stream")
@click.option("--from", "position", type=click.IntRange(min=0), default=0, show_default=True, help="起始位置 / position (frame)")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="条数 / number of records")
@click.option("--explain", is_flag=True, help="逐字段解释 / explain each frame field by field")
@report_failures
def show(root: Path, stream: str, position: int, limit: int, explain: bool) -> None:
    """显示 / records: position, receive time, bytes; the column `frame` of a reading is its frame's position here."""
    from pipelines.settings import load

    settings = load(root)
    for entry in islice(_entries(settings.folder, stream, position), limit):
        head = f"{entry.position}  {_time(entry.received_us, settings.zone)}"
        header = entry.header
        parts = (head, entry.event, entry.reason, entry.detail, header.protocol, header.channel, header.link, header.terminal)
        click.echo("  ".join(filter(None, (*parts, header.quarantine_reason, entry.raw.hex().upper()))))
        if explain and header.protocol:
            console.print(fields_table(operations.explain(entry.raw, header.protocol)))


@journal.command(epilog=examples("mainflow journal verify --site site"))
@SITE
@report_failures
def verify(root: Path) -> None:
    """检验 / check the CRC of every record, name damaged places; exit code 1 if there is one."""
    from pipelines.settings import load

    sound = True
    for check in operations.verify_journal(load(root).folder):
        for gap in check.damaged:
            sound = False
            seen = f": 损坏 / damaged at {gap.position}: {gap.length:,} 字节 bytes hold no valid record"
            console.print(coloured("red", check.stream, seen))
        console.print(f"{check.stream}: {check.records:,} 条完好 / records are sound")
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
@click.option("--stream", type=click.Choice(["alarm", "data", "stranger"]), help="仅此流 / only this stream; positions need it")
@report_failures
def replay(root: Path, begin: "int | datetime | None", end: "int | datetime | None", terminal: str, stream: str | None) -> None:
    """重新解码 / decode what was received once more, with today's codecs and profiles; points become right, never double."""
    from pipelines.cli.adopt import answered
    from pipelines.settings import load

    settings = load(root)
    positions, received_us = [0, sys.maxsize], [0, sys.maxsize]
    for index, bound in enumerate((begin, end)):
        if isinstance(bound, int):
            if not stream:
                raise ValueError(f"{bound} is a position, and each stream has its own: say --stream data or --stream alarm")
            positions[index] = bound
        elif bound is not None:
            local = bound if bound.tzinfo else bound.replace(tzinfo=settings.zone)
            received_us[index] = round(local.timestamp() * 1e6)
    request = partial(
        operations.request_replay,
        streams=(stream,) if stream else ("alarm", "data", "stranger"),
        terminal=terminal,
        received_us=(received_us[0], received_us[1]),
        positions=(positions[0], positions[1]),
    )
    with console.status("重新解码 replay") as shown:
        done = answered(settings.folder, request, lambda store: shown.update(f"重新解码 replay; 原始库 raw store: {store}"))
    sums = [sum(counts.values()) for counts in (done.frames, done.readings, done.corrected, done.withdrawn)]
    click.echo("{:,} 帧 frames, {:,} 新读数 new readings, {:,} 更正 corrected, {:,} 撤回 withdrawn".format(*sums))


@journal.command(
    epilog=examples(
        "mainflow journal drain /mnt/lost/site --site site",
        "mainflow journal drain /mnt/lost/site --site site --share north",
    )
)
@SITE
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--share", default="", help="失联采集进程的名称（日志未注明时） / name of the lost daemon, where its journal has none"
)
@report_failures
def drain(root: Path, folder: Path, share: str) -> None:
    """接管 / bring what a lost daemon had received and not forwarded to the raw store; FOLDER: its site folder, or a copy.

    It goes to the lost daemon's share. Its daemon must not run. May be stopped and run again: nothing is stored or told twice.
    """
    from pipelines.settings import load

    settings = load(root)
    with console.status("接管 drain") as shown:

        def tell(progress: "Progress") -> None:
            done_mb, all_mb = (progress.all_bytes - progress.left_bytes) / 2**20, progress.all_bytes / 2**20
            waits = f"; 等待 waits for {progress.waits_for}" if progress.waits_for else ""
            shown.update(f"接管 drain: {done_mb:,.1f} / {all_mb:,.1f} MB{waits}")

        drained = operations.drain(settings, folder, share, tell)
    for stream, gaps in drained.damaged.items():
        for gap in gaps:
            seen = f": 损坏 / damaged at {gap.position}: {gap.length:,} 字节 bytes hold no valid record, passed over"
            console.print(coloured("red", stream, seen))
    if not (sum(drained.frames.values()) or drained.adopted or drained.alarm_events):
        click.echo(f"{drained.share}: 无待接管 / nothing left to drain")
        return
    frames = ", ".join(f"{stream} {count:,}" for stream, count in sorted(drained.frames.items()) if count)
    click.echo(f"{drained.share}: 接管帧 / frames drained: {frames or 0}; 补收 / adopted: {drained.adopted:,}")
    click.echo(
        f"读数入库 / readings stored: {drained.readings:,}; 已有 / stored before: {drained.duplicates:,}; "
        f"报警事件 / alarm events: {drained.alarm_events:,}"
    )
    for reason, count in sorted(drained.quarantined.items()):
        click.echo(f"另存 / kept aside in {folder / 'quarantine'}: {reason} {count:,}")


def _entries(site: Site, stream: str, position: int) -> "Iterator[JournalEntry]":
    """The entries of a stream; prints the bytes that are passed over, for example where reading begins inside a record."""
    for entry in operations.journal_entries(site, stream, position):
        if entry.gap_bytes:
            click.echo(f"{entry.position}  {entry.gap_bytes:,} 字节不成记录 / bytes hold no valid record", err=True)
        else:
            yield entry


def _time(received_us: int | None, zone: tzinfo) -> str:
    """Local time of µs since 1970 UTC; a dash for none."""
    if received_us is None:
        return "–"
    return datetime.fromtimestamp(received_us / 1e6, UTC).astimezone(zone).isoformat(sep=" ", timespec="milliseconds")

"""`mainflow ask`: queue a command for a terminal, list commands and their outcome, recall gaps."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ingest_daemon.commands.settings import CommandSettings
from ingest_daemon.contract.settings import Settings, SiteSettings
from ingest_daemon.reception.settings import DaemonSettings
from pipelines.command import MOMENT, SITE, examples, failures_told
from pipelines.screen import console, parts_table

if TYPE_CHECKING:
    from ingest_daemon.commands.queue import QueuedCommand

POLL_S = 0.2
LISTED = 50
UNANSWERED = 4


@click.command(
    epilog=examples(
        "mainflow ask --site site 0010000001 now --wait 60",
        "mainflow ask --site site 0010000001 history --from 2026-01-01T08:00 --to 2026-01-02",
        "mainflow ask --site site --list",
        "mainflow ask --site site --gaps",
    )
)
@SITE
@click.argument("terminal", required=False)
@click.argument("kind", required=False, metavar="[now|history|clock|set-clock|version|status|events|parameters]")
@click.option("--from", "begin", type=MOMENT, help="历史起 / history from, local time")
@click.option("--to", "end", type=MOMENT, help="历史止（不含）/ history up to, local time, excluded")
@click.option("--field", default="forward_m3", show_default=True, help="历史要素 / value of the history")
@click.option("--wait", type=click.FloatRange(min=0), help="等待应答秒数 / wait for the answer; exit code 4 where none came")
@click.option("--list", "listed", is_flag=True, help="列出 / the newest questions and what became of them")
@click.option("--gaps", is_flag=True, help="补召缺数 / ask for the holes in the data, as after each run")
@failures_told
def ask(
    root: Path,
    terminal: str | None,
    kind: str | None,
    begin: datetime | None,
    end: datetime | None,
    field: str,
    wait: float | None,
    listed: bool,
    gaps: bool,
) -> None:
    """召测 / ask a terminal; the question waits until the terminal is on line, and the daemon puts it then."""
    from pipelines.settings import load

    settings = load(root)
    if gaps:
        _gaps(settings)
    if listed:
        _list(settings, terminal)
    if gaps or listed:
        return
    if not (terminal and kind):
        raise click.UsageError("expected TERMINAL and what to ask, or --list, or --gaps")
    start, stop = (moment and moment.replace(tzinfo=settings.zone) for moment in (begin, end))
    names = filed(settings, terminal, kind, start, stop, field)
    for name in names:
        console.print(f"已登记 / filed {name}")
    if wait is not None:
        sys.exit(0 if _awaited(settings, names, wait) else UNANSWERED)


def filed(settings: Settings, terminal: str, kind: str, start: datetime | None, end: datetime | None, field: str) -> list[str]:
    """File the question once it is sure that it can be put; gives the ids. Raises `ValueError` that says what can be asked."""
    from ingest_daemon import codecs
    from ingest_daemon.codec_kit.api import Command, CommandType
    from ingest_daemon.commands.queue import LONGEST, open_commands
    from ingest_daemon.contract.settings import AUTO
    from ingest_daemon.terminals.registry import read_terminals

    known = read_terminals(settings.folder.registry).get(terminal)
    if known is None:
        raise ValueError(
            f"terminal {terminal} is not in {settings.folder.registry / 'terminals.csv'}; expected one of its column terminal"
        )
    protocol = known.protocol or settings[DaemonSettings].data_protocol
    if protocol == AUTO:
        raise ValueError(f"terminal {terminal}: its line in terminals.csv names no protocol, so nothing can be asked; name one")
    now = datetime.now(UTC)
    if kind in list(CommandType):
        last = min(end, start + LONGEST) if start and end else end
        asked = Command(CommandType(kind), terminal, known.address, now, start, last, field)
        codecs.load(protocol).requests(asked, known.profile)
    asks = open_commands(settings.folder, settings[CommandSettings])
    return asks.file(terminal, kind, by="cli", now=now, start=start, end=end, field=field)


def _awaited(settings: Settings, names: list[str], wait_s: float) -> bool:
    """Whether all were answered in time; shows the answers."""
    from ingest_daemon.commands.queue import ANSWERED, OPEN, read_commands

    deadline = time.monotonic() + wait_s
    with console.status("等待应答 / waiting for the answer"):
        while True:
            found = [each for each in read_commands(settings.folder) if each.id in names]
            if time.monotonic() > deadline or all(each.state not in OPEN for each in found):
                break
            time.sleep(POLL_S)
    console.print(_table(settings, found))
    for each in found:
        if each.state == ANSWERED:
            _show(settings, each)
    return all(each.state == ANSWERED for each in found)


def _show(settings: Settings, each: "QueuedCommand") -> None:
    """The answer, from the journal: its readings, or where it has none its bytes explained."""
    import polars as pl

    from ingest_daemon import codecs
    from ingest_daemon.forwarding.decoding import decode
    from ingest_daemon.journal.envelope import parse_record
    from ingest_daemon.journal.reader import walk
    from ingest_daemon.journal.records import DATA
    from ingest_daemon.terminals.registry import Registry

    registry = Registry(settings.folder)
    since_us, until_us = (int(at.timestamp() * 1e6) if at else 0 for at in (each.sent_at, each.finished_at))
    for chunk in walk(settings.folder.journal / DATA, each.frame or 0):
        for record in chunk.records:
            if not since_us <= record.received_us <= until_us:
                continue
            way, raw = parse_record(record.payload)
            if way.terminal != each.terminal or not way.requests:
                continue
            readings = decode([record], registry.profiles()).readings.drop("frame")
            if readings.is_empty():
                console.print(parts_table(codecs.load(way.protocol).explain(raw)))
                continue
            shown = readings.select([name for name in readings.columns if readings[name].null_count() < len(readings)])
            table = Table(*shown.columns)
            for row in shown.with_columns(pl.col("ts").dt.convert_time_zone(str(settings.zone))).iter_rows():
                table.add_row(*("" if value is None else f"{value}" for value in row))
            console.print(table)


def _list(settings: Settings, terminal: str | None) -> None:
    from ingest_daemon.commands.queue import read_commands

    found = [each for each in read_commands(settings.folder) if terminal in (None, each.terminal)]
    console.print(_table(settings, found[-LISTED:]) if found else "没有 / no question was filed")


def _table(settings: Settings, asks: "list[QueuedCommand]") -> Table:
    table = Table("编号 id", "终端 terminal", "问 asked", "起止 span", "状态 state", "次 tries", "帧 frame", "说明 detail")
    for each in asks:
        span = f"{_local(settings, each.start)} … {_local(settings, each.end)} {each.field}" if each.start else ""
        place = "" if each.frame is None else str(each.frame)
        table.add_row(each.id, each.terminal, each.kind, span, each.state, str(each.tries), place, each.detail)
    return table


def _local(settings: Settings, moment: Any) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}" if moment else ""


def _gaps(settings: Settings) -> None:
    from assets import warehouse
    from pipelines.recall import recall

    with (
        warehouse.exclusive(settings.folder.state / "run.lock"),
        warehouse.opened(settings.folder.marts, settings[SiteSettings].zone) as connection,
    ):
        found = recall(settings, connection, datetime.now(UTC))
    console.print(
        f"缺数 / holes: {found.holes:,}; 新问 / questions filed: {found.asks:,}; 已问 / asked already: {found.already:,}; "
        f"规约不支持 / protocol cannot: {found.cannot:,}; 留待下次 / left by a limit: {found.left:,}"
    )

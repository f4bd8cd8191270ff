"""`mainflow ask`: queue a command for a terminal, list commands and their outcome, recall gaps."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ingest_daemon import operations
from ingest_daemon.contract.settings import Settings, SiteSettings
from pipelines.cli.console import console, fields_table
from pipelines.cli.options import MOMENT, SITE, examples, report_failures

if TYPE_CHECKING:
    from ingest_daemon.operations import QueuedCommand

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
@report_failures
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
    names = operations.queue_command(settings, terminal, kind, start, stop, field)
    for name in names:
        console.print(f"已登记 / filed {name}")
    if wait is not None:
        sys.exit(0 if _awaited(settings, names, wait) else UNANSWERED)


def _awaited(settings: Settings, names: list[str], wait_s: float) -> bool:
    """Show the answers. Returns whether all came in time."""
    deadline = time.monotonic() + wait_s
    with console.status("等待应答 / waiting for the answer"):
        while True:
            commands = [command for command in operations.commands(settings.folder) if command.id in names]
            if time.monotonic() > deadline or all(not command.is_open for command in commands):
                break
            time.sleep(POLL_S)
    console.print(_table(settings, commands))
    for command in commands:
        if command.is_answered:
            _show(settings, command)
    return all(command.is_answered for command in commands)


def _show(settings: Settings, command: "QueuedCommand") -> None:
    """Print the answers: their readings, or where there are none their bytes explained."""
    import polars as pl

    for answer in operations.answers(settings.folder, command):
        if not isinstance(answer, pl.DataFrame):
            console.print(fields_table(answer))
            continue
        shown = answer.select([name for name in answer.columns if answer[name].null_count() < len(answer)])
        table = Table(*shown.columns)
        for row in shown.with_columns(pl.col("ts").dt.convert_time_zone(str(settings.zone))).iter_rows():
            table.add_row(*("" if value is None else f"{value}" for value in row))
        console.print(table)


def _list(settings: Settings, terminal: str | None) -> None:
    commands = [command for command in operations.commands(settings.folder) if terminal in (None, command.terminal)]
    console.print(_table(settings, commands[-LISTED:]) if commands else "没有 / no question was filed")


def _table(settings: Settings, commands: "list[QueuedCommand]") -> Table:
    table = Table("编号 id", "终端 terminal", "问 asked", "起止 span", "状态 state", "次 tries", "帧 frame", "说明 detail")
    for command in commands:
        span = f"{_local(settings, command.start)} … {_local(settings, command.end)} {command.field}" if command.start else ""
        position = "" if command.frame is None else f"{command.stream} {command.frame}"
        table.add_row(
            command.id, command.terminal, command.kind, span, command.state, str(command.tries), position, command.detail
        )
    return table


def _local(settings: Settings, moment: Any) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}" if moment else ""


def _gaps(settings: Settings) -> None:
    from assets import warehouse
    from pipelines.runs.gap_recall import recall

    with (
        warehouse.exclusive(settings.folder.state / "run.lock"),
        warehouse.opened(settings.folder.marts, settings[SiteSettings].zone) as connection,
    ):
        result = recall(settings, connection, datetime.now(UTC))
    console.print(
        f"缺数 / holes: {result.holes:,}; 新问 / questions filed: {result.asks:,}; 已问 / asked already: {result.already:,}; "
        f"规约不支持 / protocol cannot: {result.cannot:,}; 留待下次 / left by a limit: {result.left:,}"
    )

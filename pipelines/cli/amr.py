"""`mainflow amr`: other systems' tables: import, numbers of terminals, what waits for a terminal, and purge."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ingest_daemon import operations
from ingest_daemon.operations import AmrError, AmrSettings
from pipelines.cli.console import coloured, console, progress_bar
from pipelines.cli.options import SITE, examples, report_failures

if TYPE_CHECKING:
    from ingest_daemon.contract.settings import Settings


@click.group(epilog=examples("mainflow amr sync --site site", "mainflow amr tags --site site"))
def amr() -> None:
    """其他采集系统 / other systems: import their readings and alarms, map their tags, purge their tables."""


@amr.command(epilog=examples("mainflow amr sync --site site", "mainflow amr sync --site site v02"))
@SITE
@click.argument("source", required=False)
@report_failures
def sync(root: Path, source: str | None) -> None:
    """导入 / read what is new in the intermediate tables of one source or of all, and send it to the daemon."""
    from pipelines.settings import load

    settings = load(root)
    failed = False
    for name in _sources(settings, source):
        try:
            with progress_bar(name, None) as told:
                done = operations.amr_sync(settings, name, lambda sent, told=told: told(sent, ""))  # type: ignore[misc]
        except (AmrError, OSError, ValueError) as error:
            console.print(coloured("red", f"{name}:", f" {error}"), soft_wrap=True)
            failed = True
            continue
        console.print(
            f"{name}: {done.readings:,} 读数 readings, {done.alarms:,} 报警变化 alarm changes, {done.refused:,} 拒 refused; "
            f"{done.unmapped:,} 行待标签对应 rows wait for a terminal"
        )
        if done.late_by:
            console.print(coloured("red", f"{name}:", f" {late_text(done.late_by.total_seconds())}"))
            failed = True
    sys.exit(1 if failed else 0)


@amr.command(epilog=examples("mainflow amr tags --site site"))
@SITE
@click.argument("source", required=False)
@report_failures
def tags(root: Path, source: str | None) -> None:
    """待对应标签 / tags without a terminal, unknown alarm codes, and rows that cannot be used."""
    from pipelines.settings import load

    settings = load(root)
    waiting = Table("来源 source", "标签 tag", "首见 first seen", "读数行 rows of readings", "报警行 of alarms")
    codes = Table("来源 source", "报警代码 alarm code", "首见 first seen", "次数 times", "文字 text")
    refused = Table("来源 source", "行 row", "标签 tag", "原因 reason")
    for name in _sources(settings, source):
        state = operations.amr_state(settings.folder, name)
        for tag, entry in sorted(state.tags.items(), key=lambda item: -item[1].readings):
            waiting.add_row(name, tag, _local(entry.first_seen, settings), f"{entry.readings:,}", f"{entry.alarms:,}")
        for code, known in state.codes.items():
            codes.add_row(name, code, _local(known.first_seen, settings), f"{known.rows:,}", known.text)
        for row in state.examples:
            refused.add_row(name, str(row["row_id"]), row["tag"] or "", row["reason"])
    for table in (waiting, codes, refused):
        console.print(table)
    console.print(
        "对应关系写入 / write terminals into registry/tags.csv, codes into registry/amr_alarms.csv; then mainflow amr sync"
    )


@amr.command(epilog=examples("mainflow amr allocate --site site 20 --source v02"))
@SITE
@click.argument("count", type=click.IntRange(min=1, max=10_000))
@click.option("--source", default="", help="来源 / the source they are for, noted beside")
@report_failures
def allocate(root: Path, count: int, source: str) -> None:
    """生成终端编号 / make numbers for terminals of other systems: a line each, none is ever given twice."""
    from pipelines.settings import load

    settings = load(root)
    if source:
        settings[AmrSettings].source(source)
    for number in operations.allocate_terminals(settings.folder, count, source):
        click.echo(number)


@amr.command(epilog=examples("mainflow amr purge --site site v02 --dry-run"))
@SITE
@click.argument("source")
@click.option("--dry-run", is_flag=True, help="只计数 / count only")
@report_failures
def purge(root: Path, source: str, dry_run: bool) -> None:
    """清理中间表 / delete rows older than purge_days whose readings are in the raw store for certain."""
    from pipelines.settings import load

    done = operations.amr_purge(load(root), source, dry_run=dry_run)
    verb = "将删除 would be deleted" if dry_run else "已删除 deleted"
    console.print(
        f"{source}: {done.readings:,} 读数 readings, {done.alarms:,} 报警 alarms {verb}; {done.kept:,} 旧行保留 old rows stay"
    )


def late_text(seconds: float) -> str:
    """Since when a source delivered nothing."""
    hours = seconds / 3600
    return f"{hours:.1f} h 无新数据，超过两个周期 / nothing new for longer than two periods: ask the other system's people"


def _sources(settings: "Settings", source: str | None) -> list[str]:
    """The named source, or all. Raises `SettingError`, also where there is none."""
    own = settings[AmrSettings]
    return [own.source(source or "").name] if source or not own.sources else [row.name for row in own.sources]


def _local(text: str, settings: "Settings") -> str:
    return f"{datetime.fromisoformat(text).astimezone(settings.zone):%Y-%m-%d %H:%M}"

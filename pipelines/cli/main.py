"""The `mainflow` command: arguments and output of each subcommand. The work is imported from elsewhere when needed."""

import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ingest_daemon import operations
from ingest_daemon.contract.site import UMASK
from pipelines.cli.alarms import alarms
from pipelines.cli.amr import amr
from pipelines.cli.arrivals import arrivals
from pipelines.cli.ask import ask
from pipelines.cli.console import coloured, console, progress_bar
from pipelines.cli.decode import decode
from pipelines.cli.journal import journal
from pipelines.cli.options import SITE, DayRange, examples, report_failures
from pipelines.cli.registry import registry
from pipelines.cli.reports import explain, export_files, reports
from pipelines.cli.users import users


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Mainflow 大用户用水监测 / major customer flow monitoring."""
    os.umask(UMASK)


main.add_command(journal)
main.add_command(alarms)
main.add_command(amr)
main.add_command(ask)
main.add_command(arrivals)
main.add_command(decode)
main.add_command(registry)
main.add_command(users)
main.add_command(reports)
main.add_command(explain)


@main.command(epilog=examples("mainflow init site", "mainflow init site --zone Europe/Rome --utility 'Acque'"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--profile", type=click.Choice(["embedded", "site"]), default="embedded", show_default=True, help="规模 / size")
@click.option("--zone", default="Asia/Shanghai", show_default=True, help="本地时区 / IANA time zone of the local days")
@click.option("--utility", default=None, help="水务公司名称 / name of the utility")
@report_failures
def init(folder: Path, profile: str, zone: str, utility: str | None) -> None:
    """新建站点目录 / make a site folder: commented settings and a registry with example rows."""
    from pipelines.settings import load
    from pipelines.site_folder import create

    site = create(folder, profile, {"site": {"zone": zone, **({"utility": utility} if utility else {})}})
    load(site.root)
    console.print(f"已建立 / made {site.root}")
    console.print(f"  设置 / settings  {site.settings}\n  档案 / registry  {site.registry}/*.csv")
    console.print(f"下一步 / next: mainflow up --site {folder}")


@main.command(epilog=examples("mainflow up --site site", "GRAFANA_HOME=/usr/share/grafana mainflow up --site site"))
@SITE
@report_failures
def up(root: Path) -> None:
    """启动全部服务 / run daemon, PostgreSQL, Dagster and Grafana until Ctrl-C."""
    from pipelines.cli.up import run_all
    from pipelines.settings import load

    run_all(load(root), console)


@main.command(epilog=examples("mainflow down --site site"))
@SITE
@report_failures
def down(root: Path) -> None:
    """停止全部服务 / end the `mainflow up` of the site with all that it started."""
    from ingest_daemon.contract.site import Site
    from pipelines.processes import supervisor

    ended = supervisor.down(Site(root.resolve()))
    console.print("已停止 / stopped" if ended else "未在运行 / nothing runs")


@main.command(
    epilog=examples("mainflow backup --site site /mnt/backup --keep 14", "mainflow backup --site site /mnt/backup --verify")
)
@SITE
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(min=0), default=0, help="保留份数，0 为全部 / newest backups that stay; 0: all")
@click.option("--verify", is_flag=True, help="只校验最新一份 / make none; compare the newest one with its checksums")
@report_failures
def backup(root: Path, target: Path, keep: int, verify: bool) -> None:
    """备份 / copy the site to a new folder below TARGET while everything runs; what did not change is linked."""
    from ingest_daemon.stores import open_lake
    from ingest_daemon.stores.settings import StoreSettings
    from pipelines.runs import backup as backups
    from pipelines.runs.bench import workbench
    from pipelines.settings import load

    if verify:
        folder = backups.newest(target)
        bad = backups.damaged(folder) if folder else []
        for name in bad:
            console.print(coloured("red", name, ": 缺失或不符 / missing, or not as it was copied"))
        console.print(f"{folder}: {'✗' if bad else '✓'}" if folder else f"{target}: 没有备份 / no backup")
        sys.exit(0 if folder and not bad else 1)
    settings = load(root)
    with progress_bar("备份 backup", None) as told:
        done = backups.make(workbench(settings), target, keep=keep, progress=lambda part, files: told(files, part))
    console.print(f"{done.folder}: {done.files:,} 文件 files, {done.size:,} B, 其中复制 of which copied {done.copied:,} B")
    if (lake := open_lake(settings[StoreSettings])) is not None:
        console.print(f"数据湖不在备份中，须另行保护 / the lake is not in it, protect it by its own means: {lake.where()}")


@main.command(epilog=examples("mainflow restore /mnt/backup site", "mainflow restore /mnt/backup/20260102T013000.000000Z site"))
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("site", type=click.Path(path_type=Path, file_okay=False))
@report_failures
def restore(source: Path, site: Path) -> None:
    """恢复 / make the site of a backup (the newest below SOURCE) in the empty folder SITE, after its checksums."""
    from pipelines.runs import backup as backups

    with console.status("恢复 restore"):
        folder = backups.restore(source, site.resolve())
    console.print(f"{folder} → {site}\n下一步 / next: mainflow doctor --site {site}; mainflow up --site {site}")


@main.command(epilog=examples("mainflow rebuild --site site"))
@SITE
@report_failures
def rebuild(root: Path) -> None:
    """重建集市 / make marts.duckdb again from raw readings and billing; the old one is kept beside, boards go on meanwhile."""
    from pipelines.runs import run as runs

    _compute(root, "重建 rebuild", runs.rebuild)


@main.command(epilog=examples("mainflow status --site site", "mainflow status --site site --terminals"))
@SITE
@click.option("--terminals", is_flag=True, help="逐终端 / each terminal: contact, clock, signal, battery; and unknown ones")
@report_failures
def status(root: Path, terminals: bool) -> None:
    """现状 / what runs, what waits, what was kept aside, who is silent."""
    from pipelines.cli.status import report, strangers_table, terminals_table
    from pipelines.settings import load

    settings = load(root)
    console.print(report(settings))
    if terminals:
        console.print(terminals_table(settings))
        console.print(strangers_table(settings))


@main.command(
    epilog=examples("mainflow doctor --site site", "mainflow doctor --site site --deep", "mainflow doctor --site site --fix")
)
@SITE
@click.option("--fix", is_flag=True, help="修复可安全修复的 / mend stale addresses, left files, modes, damaged state; says each")
@click.option("--deep", is_flag=True, help="逐个校验归档文件 / read every file of the archive and compare its checksum")
@report_failures
def doctor(root: Path, fix: bool, deep: bool) -> None:
    """体检 / check ports, disk, clock, stores, drivers and Grafana; says what is wrong and what to do."""
    from pipelines.cli.doctor import examine
    from pipelines.settings import load

    settings = load(root)
    if fix:
        from pipelines.cli.mend import mend

        for text in mend(settings):
            console.print(coloured("green", "已修 / mended", f" {text}"), soft_wrap=True)
    findings = examine(settings, deep=deep)
    table = Table("项目 / check", "", "所见 / seen", "怎么办 / what to do")
    for finding in findings:
        mark = {True: ("green", "✓"), False: ("red", "✗"), None: ("yellow", "–")}[finding.ok]
        table.add_row(finding.name, coloured(*mark), finding.seen, finding.advice)
    console.print(table)
    sys.exit(1 if any(finding.ok is False for finding in findings) else 0)


@main.command(epilog=examples("mainflow simulate --site site --days 60", "mainflow simulate --site site --days 20 --seed 7"))
@SITE
@click.option("--days", default=60, show_default=True, help="天数 / local days up to the last midnight")
@click.option("--seed", default=1, show_default=True, help="随机种子 / same seed, same fleet")
@report_failures
def simulate(root: Path, days: int, seed: int) -> None:
    """模拟终端上报 / let a simulated fleet speak to the daemon over TCP, faults included; writes its truth beside."""
    from pipelines.processes import servers
    from pipelines.settings import load
    from pipelines.simulation import fleet_site
    from simulator import faults

    settings = load(root)
    fleet = fleet_site.fleet_of(settings.folder, settings.zone, seed, days)
    fleet_site.settle(settings.folder, fleet)
    with servers.daemon(settings.folder) as ports:
        delivery = _deliver(settings, ports, faults.plan(fleet), sum(frame.height for frame in faults.reported(fleet).values()))
    console.print(delivery_line(delivery))


@main.command(
    epilog=examples(
        "mainflow send --site site readings.parquet --register registry_synthetic.csv",
        "mainflow send --site site flows.parquet --stamp start",
    )
)
@SITE
@click.argument("readings", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--register",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="未知水表的档案 / sizes of meters to register",
)
@click.option(
    "--stamp",
    type=click.Choice(["end", "start"]),
    default="end",
    show_default=True,
    help="时标在区间末或始 / what a row's time labels",
)
@report_failures
def send(root: Path, readings: Path, register: Path | None, stamp: str) -> None:
    """把读数文件按终端规约上报 / send a file of readings over TCP as terminals would."""
    import polars as pl

    from ingest_daemon.contract import registry_files as registry
    from pipelines.processes import servers
    from pipelines.settings import load
    from pipelines.simulation import send as simulation_send
    from simulator import readings_file

    settings = load(root)
    recorded = readings_file.load(readings, stamp="start" if stamp == "start" else "end")
    known = registry.load(settings.folder.registry).terminals
    unknown = [meter for meter in recorded.steps if meter not in set(known["meter"])]
    if unknown and register:
        taken = set(known["terminal"])
        rows = readings_file.register_rows(register, recorded, taken).filter(pl.col("meter").is_in(unknown))
        registry.merge(settings.folder.registry, {"terminals": rows})
        known = registry.load(settings.folder.registry).terminals
    plan = readings_file.plan(recorded, dict(known.select("meter", "terminal").iter_rows()))
    environment = simulation_send.past_days_of(recorded.readings["ts"].min(), settings)  # type: ignore[arg-type]
    with servers.daemon(settings.folder, environment) as ports:
        delivery = _deliver(settings, ports, plan, recorded.readings.height)
    console.print(delivery_line(delivery))
    sys.exit(4 if delivery.given_up else 0)


def _deliver(settings: Any, ports: Any, plan: Any, total: int) -> Any:
    from pipelines.simulation import send as simulation_send

    with progress_bar("上报 send", total) as told:
        delivery = simulation_send.send(
            ports, plan, lambda so_far: told(sum(so_far.readings_acknowledged.values()), f"{so_far.refused} 拒 refused")
        )
    with progress_bar("入库 store", None) as told:
        simulation_send.drain(settings.folder, lambda left: told(0, f"{left:,} B"))
    return delivery


def delivery_line(delivery: Any) -> Text:
    """Counts of sent and acknowledged frames, in one line."""
    sent, answered = sum(delivery.readings_sent.values()), sum(delivery.readings_acknowledged.values())
    lost = f", 放弃 given up: {', '.join(delivery.given_up)}" if delivery.given_up else ""
    return Text(
        f"读数 readings: {sent:,} 发 sent, {answered:,} 确认 acknowledged; "
        f"帧 frames: {delivery.sent:,} 发 sent, {delivery.repeated:,} 重发 repeated, {delivery.refused:,} 拒 refused"
    ).append(lost, "red")


@main.command(epilog=examples("mainflow run --site site", "mainflow run --site site --days 2026-01-01..2026-01-31"))
@SITE
@click.option("--days", type=DayRange(), help="只算这些天 / these local days instead of the touched ones")
@report_failures
def run(root: Path, days: tuple[date, date] | None) -> None:
    """立即计算 / compute the touched local days and all that follows from them, and publish."""
    from assets.calendar import days_between
    from pipelines.runs.run import run_days, run_touched

    if days:
        _compute(root, "计算 compute", lambda bench, step: run_days(bench, days_between(*days), "cli", step))
    else:
        _compute(root, "计算 compute", lambda bench, step: run_touched(bench, "cli", step))


def _compute(root: Path, title: str, work: Callable[[Any, Callable[[str, int, int], None]], Any]) -> None:
    """Run with a progress bar, and say what it did; the embedded PostgreSQL runs meanwhile."""
    from pipelines.processes import servers
    from pipelines.runs.backup import restore_ops, restore_readings
    from pipelines.runs.bench import workbench
    from pipelines.settings import load

    settings = load(root)
    with servers.postgres(settings) as dsn, progress_bar(title, None) as told:
        bench = workbench(settings)
        restore_ops(settings.folder, dsn)
        restore_readings(settings.folder, bench.store)
        outcome = work(bench, lambda name, done, total: told(done, f"{name} ({done}/{total})"))
    if not outcome.run_id:
        console.print("没有新数据 / nothing new: no day was touched since the last run")
        return
    span = f" ({min(outcome.days)} … {max(outcome.days)})" if outcome.days else ""
    console.print(
        f"{len(outcome.days)} 天 days{span}, {outcome.readings_read:,} 读数 readings read, "
        f"{outcome.rows_written:,} 行写 rows written, {outcome.rows_published:,} 行发布 rows published"
    )


@main.command(epilog=examples("mainflow adopt --site site"))
@SITE
@report_failures
def adopt(root: Path) -> None:
    """补收 / store what terminals sent before they were in registry/terminals.csv, as of when it came; twice does no harm."""
    from pipelines.cli.adopt import answered
    from pipelines.settings import load

    with console.status("补收 adopt") as shown:
        done = answered(
            load(root).folder, operations.request_adoption, lambda store: shown.update(f"补收 adopt; 原始库 raw store: {store}")
        )
    for terminal, frames in done.frames.items():
        console.print(f"{terminal}: {frames:,} 帧 frames, {done.readings.get(terminal, 0):,} 新读数 new readings")
    if not done.frames:
        console.print("没有可补收的 / nothing to adopt: no terminal with frames kept aside has been registered since")
    for terminal, frames in done.left.items():
        console.print(coloured("yellow", terminal, f": 仍未登记 / still unknown, {frames:,} 帧 frames"))


@main.command(
    epilog=examples("mainflow export --site site", "mainflow export --site site daily_volume --days 2026-01-01..2026-01-31")
)
@SITE
@click.argument("report", default="daily_volume")
@click.option("--days", type=DayRange(), help="期间 / period; default: the month of the newest day")
@report_failures
def export(root: Path, report: str, days: tuple[date, date] | None) -> None:
    """导出报表 / write a report as XLSX and CSV."""
    export_files(root, report, days)


@main.command(
    epilog=examples(
        "mainflow out --site site",
        "mainflow out --site site billing_reads --days 2026-01-01..2026-01-31",
        "mainflow out --site site network_demands --days 2026-01-31..2026-01-31",
    )
)
@SITE
@click.argument("output", required=False)
@click.option("--days", type=DayRange(), help="日期或抄表截止日 / days of figures, or of cut-offs; default: those that are due")
@report_failures
def out(root: Path, output: str | None, days: tuple[date, date] | None) -> None:
    """数据输出 / write the files for billing, SCADA and the network model by contract; without a name all of them."""
    from pipelines.runs.bench import workbench
    from pipelines.runs.outputs import write_outputs
    from pipelines.settings import load

    written = write_outputs(workbench(load(root)), [output] if output else [], days)
    for file in written:
        console.print(f"{file.file}  {file.rows:,} 行 rows  sha256 {file.sha256[:16]}…", soft_wrap=True)
    if not written:
        console.print("没有到期的文件 / no file is due")


@main.command(epilog=examples("mainflow sync --site site"))
@SITE
@report_failures
def sync(root: Path) -> None:
    """与营收系统同步 / read customers, cards, reads, bills and payments from the billing system through ODBC."""
    from pipelines.processes import servers
    from pipelines.runs.bench import workbench
    from pipelines.runs.run import run_sync
    from pipelines.settings import load

    settings = load(root)
    with servers.postgres(settings):
        counts = run_sync(workbench(settings), "cli")
    if not counts:
        console.print("未设置营收系统 / no billing system is set: give [billing] connection an ODBC connection string")
    for table, rows in counts.items():
        console.print(f"{table}: {rows:,} 行 rows")


@main.command(epilog=examples("mainflow demo demo", "mainflow demo demo --days 30"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"))
@click.option("--days", default=60, show_default=True, help="天数 / local days up to the last midnight")
@click.option("--history-months", default=26, show_default=True, help="此前按小时的整月数 / whole months before, by the hour")
@report_failures
def demo(folder: Path, days: int, history_months: int) -> None:
    """演示 / the whole way once: fleet, TCP, journal, raw store, figures, billing, PostgreSQL, reports; then a summary."""
    from pipelines.cli.demo import run_demo

    sys.exit(run_demo(folder, days, history_months, console))

"""`mainflow reports` and `mainflow explain`: what was issued, what changed since, and where a cell comes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from pipelines.cli.console import coloured, console
from pipelines.cli.options import SITE, DayRange, examples, report_failures

if TYPE_CHECKING:
    import duckdb

    from assets.reports.explain import Explanation
    from assets.workbench import Workbench

STATES = {"intact": ("green", "✓"), "changed": ("red", "✗ 已改动 changed"), "missing": ("yellow", "– 不在 missing")}
FRAMES_SHOWN = 10


@click.group(epilog=examples("mainflow reports list --site site", "mainflow reports issue --site site monthly_volume"))
def reports() -> None:
    """报表 / what was issued, issue further ones, and what changed since."""


@contextmanager
def _opened(root: Path) -> "Iterator[tuple[Workbench, duckdb.DuckDBPyConnection]]":
    """The site's figures, while no run changes them."""
    from assets import warehouse
    from pipelines.runs.bench import workbench
    from pipelines.runs.run import prepare_selects, run_lock
    from pipelines.settings import load

    bench = workbench(load(root))
    with run_lock(bench), warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        prepare_selects(bench, connection)
        yield bench, connection


@reports.command("list", epilog=examples("mainflow reports list --site site", "mainflow reports list --site site daily_volume"))
@SITE
@click.argument("report", default="")
@report_failures
def list_(root: Path, report: str) -> None:
    """已出报表 / the reports that there are, and every issued edition, with its checksum compared."""
    from assets import reports as files
    from assets.reports import ledger

    with _opened(root) as (bench, connection):
        found = ledger.issued(connection, report)
        if not report:
            for name in files.names():
                console.print(f"{name}  {files.definition(name).titles['zh']} / {files.definition(name).titles['en']}")
        table = Table("报表 report", "期间 period", "版 ed.", "文件 file", "运行 run", "数据截至 known until", "程序 version", "")
        for file in found:
            known = f"{file.known_until.astimezone(bench.zone):%Y-%m-%d %H:%M}" if file.known_until else ""
            mark = coloured(*STATES[file.state])
            table.add_row(
                file.report, file.period, str(file.edition), file.file.name, file.run_id, known, file.code_version, mark
            )
        console.print(table)


@reports.command(epilog=examples("mainflow reports issue --site site monthly_volume --days 2026-01-01..2026-01-31"))
@SITE
@click.argument("report")
@click.option("--days", type=DayRange(), help="期间 / period; default: what the report usually covers")
@report_failures
def issue(root: Path, report: str, days: tuple[date, date] | None) -> None:
    """出报表 / issue a report: its files are kept as they are; other figures make a further edition beside it."""
    export_files(root, report, days)


def export_files(root: Path, report: str, days: tuple[date, date] | None) -> None:
    """Write the files and print their names."""
    from pipelines.processes import servers
    from pipelines.runs.bench import workbench
    from pipelines.runs.export import export_report
    from pipelines.settings import load

    settings = load(root)
    with servers.postgres(settings):
        for written in export_report(workbench(settings), report, days):
            edition = f"  第 {written.edition} 版 edition {written.edition}" if written.edition > 1 else ""
            console.print(f"{written.file}  {written.rows:,} 行 rows  sha256 {written.sha256[:16]}…{edition}")


@reports.command(epilog=examples("mainflow reports mail --site site billing"))
@SITE
@click.argument("name")
@report_failures
def mail(root: Path, name: str) -> None:
    """邮寄 / issue and send now what a row of `[reports] mail` gets; an edition that was sent is not sent again."""
    from pipelines.processes import servers
    from pipelines.runs.bench import workbench
    from pipelines.runs.mail import send_reports
    from pipelines.settings import MailSettings, ReportSettings, load

    settings = load(root)
    rows = {row.name: row for row in settings[ReportSettings].mail}
    if name not in rows:
        raise ValueError(f"[reports] mail has no row {name!r}; there are: {', '.join(rows) or 'none'}")
    with servers.postgres(settings):
        for sentence in send_reports(workbench(settings), settings[MailSettings], rows[name]):
            console.print(sentence)


@reports.command(epilog=examples("mainflow reports diff --site site monthly_volume --days 2026-01-01..2026-01-31"))
@SITE
@click.argument("report")
@click.option("--days", type=DayRange(), help="期间 / period; default: that of the newest issue")
@report_failures
def diff(root: Path, report: str, days: tuple[date, date] | None) -> None:
    """与现值比较 / the cells in which the newest edition differs from the figures as they are now; writes nothing."""
    from assets.reports import editions
    from pipelines.processes import servers
    from pipelines.settings import load

    with servers.postgres(load(root)), _opened(root) as (bench, connection):
        found = editions.restatement(report, days, bench, connection)
    issued = found.issued
    console.print(f"{issued.file.name}: 第 {issued.edition} 版 edition {issued.edition}, {found.cells:,} 处不同 cells differ")
    for sheet, changed in found.changed.items():
        if changed.is_empty():
            continue
        table = Table(*changed.columns, title=sheet)
        for row in changed.iter_rows():
            table.add_row(*("" if value is None else str(value) for value in row))
        console.print(table)


@click.command(epilog=examples("mainflow explain --site site site/reports/daily_volume_2026-01-01_2026-01-31.xlsx E5"))
@SITE
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("cell")
@click.option("--sheet", default="", help="工作表 / sheet; default: the first")
@click.option("--all", "is_all", is_flag=True, help="列出全部步 / every step between two readings")
@report_failures
def explain(root: Path, file: Path, cell: str, sheet: str, is_all: bool) -> None:
    """单元格溯源 / from a cell of an issued workbook to mart, readings and frames, with their sum."""
    from assets.reports import explain as explaining

    with _opened(root) as (bench, connection):
        found = explaining.explain(file, cell, bench, connection, sheet)
        _print(found, str(bench.zone), None if is_all else FRAMES_SHOWN)


def _print(found: "Explanation", zone: str, most: int | None) -> None:
    issued = found.issued
    console.print(f"{issued.file.name} · {found.sheet} · {found.column} = {found.value}")
    console.print(
        f"  第 {issued.edition} 版 edition {issued.edition}, 运行 run {issued.run_id}, 程序 version {issued.code_version}"
    )
    if found.later_edition:
        console.print(coloured("yellow", f"  已有第 {found.later_edition} 版 / edition {found.later_edition} restates it", ""))
    console.print("  " + ", ".join(f"{name} {value}" for name, value in found.key.items()))
    console.print(f"mart {found.mart}: {found.rows.height:,} 行 rows")
    for row in found.rows.head(most or found.rows.height).iter_rows(named=True):
        console.print("  " + ", ".join(f"{name} {value}" for name, value in row.items() if value is not None), soft_wrap=True)
    if found.volume is None:
        console.print("非水量：止于集市表 / not a volume: led back to the mart")
        return
    _print_volume(found, zone, most)


def _print_volume(found: "Explanation", zone: str, most: int | None) -> None:
    volume: Any = found.volume
    steps = volume.steps
    table = Table("自 from", "至 to", "读数 register", "流 stream", "帧 frame", "占比 share", "水量 m³", "规则 rule")
    shown = steps.with_columns(steps["begin"].dt.convert_time_zone(zone), steps["end"].dt.convert_time_zone(zone))
    for row in shown.head(most or steps.height).iter_rows(named=True):
        amount = "" if row["volume_m3"] is None else f"{row['volume_m3']:.6f}"
        table.add_row(
            f"{row['begin']:%Y-%m-%d %H:%M:%S}",
            f"{row['end']:%Y-%m-%d %H:%M:%S}",
            str(row["register_m3"]),
            row["stream"],
            str(row["frame"]),
            f"{row['share']:.4f}",
            amount,
            row["rule"],
        )
    console.print(table)
    if most and steps.height > most:
        console.print(f"… 共 {steps.height:,} 步 / {steps.height:,} steps in all: --all")
    total = volume.total_m3
    console.print(
        f"{volume.intervals:,} 区间 intervals, {steps.height:,} 步 steps, {len(volume.frames):,} 帧 frames; "
        f"合计 sum {'' if total is None else f'{total:.6f}'} m³, 单元格 cell {found.value}"
    )
    is_same = total is not None and found.value is not None and abs(total - found.value) <= 1e-6 * max(1.0, abs(total))
    console.print(
        coloured("green", "✓", " 相符 equal")
        if is_same or (total is found.value is None)
        else coloured("red", "✗", " 不符 differs")
    )

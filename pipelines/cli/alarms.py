"""`mainflow alarms`: rules tried over the past."""

from datetime import date, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from pipelines.cli.console import coloured, console
from pipelines.cli.options import SITE, DayRange, examples, report_failures

if TYPE_CHECKING:
    from ingest_daemon.contract.alarm_ledger import Span

SHOWN = 50
"""Rows that the table has at most; the numbers below it count all."""


@click.group(epilog=examples("mainflow alarms replay --site site --rule P_LO --days 2026-01-01..2026-03-31"))
def alarms() -> None:
    """报警 / alarms in event time."""


@alarms.command(
    epilog=examples(
        "mainflow alarms replay --site site --rule P_LO --days 2026-01-01..2026-03-31",
        "mainflow alarms replay --site site --rule Q_HI --days 2026-03-01..2026-03-31 --apply",
    )
)
@SITE
@click.option("--rule", "code", required=True, help="报警代码 / code of the rule, a file of sql/alarms/")
@click.option("--days", type=DayRange(), required=True, help="日期 / days A..B, local, included")
@click.option("--apply", "applies", is_flag=True, help="写入，不通知 / write the difference; nobody is told")
@report_failures
def replay(root: Path, code: str, days: tuple[date, date], applies: bool) -> None:
    """回放 / what a rule as it is now says of past days, against the alarms that are known. Nobody is told."""
    from assets.calendar import days_between
    from pipelines.runs import alarms as run
    from pipelines.runs.bench import workbench
    from pipelines.settings import load

    settings = load(root)
    found = run.replay(workbench(settings), code, days_between(*days), applies=applies)
    marks = (("+", "green", found.new), ("−", "red", found.gone), ("=", "", found.same))
    rows = [(mark, colour, span) for mark, colour, spans in marks for span in spans]
    if rows:
        table = Table("", "水表 meter", "发生 raised", "恢复 cleared", "数值 value", "限值 limit", "单位 unit")
        for mark, colour, span in rows[:SHOWN]:
            table.add_row(coloured(colour, mark) if colour else mark, *_cells(span, settings.zone))
        console.print(table)
        if len(rows) > SHOWN:
            console.print(f"… {len(rows) - SHOWN:,} 条未列出 / more rows")
    written = "已写入，未通知 / written, nobody was told" if applies else "未写入 / nothing is written"
    console.print(f"{code}: 新增 new {len(found.new):,}; 不再 gone {len(found.gone):,}; 相同 same {len(found.same):,}; {written}")


def _cells(span: "Span", zone: tzinfo) -> list[str]:
    times = (moment and f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" for moment in (span.started_at, span.ended_at))
    values = ("" if value is None else f"{value:,.3f}" for value in (span.value, span.limit_value))
    return [span.meter, *(text or "" for text in times), *values, span.unit]

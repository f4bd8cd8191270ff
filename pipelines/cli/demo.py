"""`mainflow demo`: the whole chain once in a folder of its own, from terminals to reports, with a summary for engineers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from assets import warehouse
from ingest_daemon import operations
from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site
from pipelines import settings, site_folder
from pipelines.cli.console import progress_bar
from pipelines.processes import dagster_home, servers
from pipelines.runs import export, run
from pipelines.runs.bench import workbench
from pipelines.settings import ServerSettings
from pipelines.simulation import fleet_site
from pipelines.simulation import send as simulation_send
from simulator import faults
from simulator.terminal import Delivery

SEED = 1
UTILITY = "演示水务 Demo Water"
SQLITE_DRIVER = "SQLite3"
DRIVER_PACKAGES = "unixodbc libsqliteodbc"


def run_demo(folder: Path, days: int, history_months: int, console: Console) -> int:
    """Run the demo. Returns the exit code. A second run sends the same readings again and changes no figure."""
    site = Site(folder.resolve())
    if not site.settings.exists():
        site = site_folder.create(
            folder, "embedded", {"site": {"utility": UTILITY}, "billing": {"connection": _billing(site)}}, examples=False
        )
    loaded = settings.load(site.root)
    fleet = fleet_site.fleet_of(site, loaded.zone, SEED, days, history_months)
    with console.status("模拟客户 / making the fleet, its truth and its billing database"):
        fleet_site.settle(site, fleet)
    free = {"MAINFLOW_DAEMON_DATA_PORT": "0", "MAINFLOW_DAEMON_ALARM_PORT": "0", "MAINFLOW_DAEMON_HEALTH_PORT": "0"}
    free |= simulation_send.past_days_of(fleet.since, loaded)
    expected = sum(frame.height for frame in faults.reported(fleet).values())
    with servers.postgres(loaded) as dsn, servers.daemon(site, free) as ports:
        with progress_bar("终端上报 terminals send over TCP", expected) as told:
            delivery = simulation_send.send(
                ports, faults.plan(fleet), lambda so_far: told(sum(so_far.readings_acknowledged.values()), "")
            )
        with progress_bar("入原始库 into the raw store", None) as told:
            simulation_send.drain(site, lambda left: told(0, f"{left:,} B"), simulation_send.EVERYTHING)
        bench = workbench(loaded)
        dagster_home.prepare(site)
        with progress_bar("计算并发布 compute and publish", None) as told:
            outcome = run.run_all(bench, "demo", lambda name, done, total: told(done, f"{name} ({done}/{total})"))
        with console.status("报表 / reports"):
            reports = export.export_report(bench, "daily_volume", None)
        alarms = _alarms(dsn)
    with warehouse.opened(site.marts, str(loaded.zone)) as connection:
        _summary(console, loaded, connection, delivery, outcome, [str(report.file) for report in reports], alarms)
    return 1 if delivery.given_up else 0


def _billing(site: Site) -> str:
    import pyodbc

    return f"DRIVER={SQLITE_DRIVER};Database={fleet_site.billing_file(site)}" if SQLITE_DRIVER in pyodbc.drivers() else ""


def _alarms(dsn: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select code, count(*), count(distinct meter) from ops.alarm where retracted_at is null group by code order by code"
        ).fetchall()


def _summary(
    console: Console,
    loaded: Settings,
    connection: duckdb.DuckDBPyConnection,
    delivery: Delivery,
    outcome: run.Outcome,
    reports: list[str],
    alarms: list[tuple[Any, ...]],
) -> None:
    site = loaded.folder
    (meters, customers) = connection.execute("select count(*), count(distinct customer_no) from meter").fetchall()[0]
    sent, answered = sum(delivery.readings_sent.values()), sum(delivery.readings_acknowledged.values())
    stored = stored_readings(loaded)
    kept = operations.quarantine_counts(site)
    table = Table(title="演示完成 / demo done", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_row("水表 / meters", f"{meters} ({customers} 客户 customers)")
    table.add_row(
        "读数 / readings",
        f"{sent:,} 发 sent = {answered:,} 确认 acknowledged = {stored:,} 入库 stored + {answered - stored:,} 另存 kept aside",
    )
    table.add_row("另存原因 / kept aside", ", ".join(f"{reason}: {count} 条 lines" for reason, count in kept.items()) or "0")
    table.add_row("坏帧拒收 / bad frames refused", f"{delivery.refused}")
    total_days = connection.execute("select count(distinct day) from daily_usage where coverage > 0").fetchall()[0][0]
    done = f"{len(outcome.days)} 天 days" if outcome.days else "没有新数据 / nothing new"
    table.add_row("本次计算 / computed now", f"{done} (共 in all {total_days})")
    top = connection.execute(
        "select customer_name, sum(volume_m3) as volume from daily_usage join meter using (meter) "
        "where inlet_of is null and day > (select max(day) from daily_usage where complete) - 30 "
        "group by customer_name order by volume desc limit 5"
    ).fetchall()
    table.add_row("近 30 天前五 / top 5 of 30 days", "\n".join(f"{name}  {volume:,.0f} m³" for name, volume in top))
    table.add_row("报警 / alarms", "\n".join(f"{code}: {count} ({owners} 表 meters)" for code, count, owners in alarms) or "0")
    billing = ", ".join(f"{name} {rows:,}" for name, rows in outcome.parts.items())
    table.add_row("营收 / billing", billing or f"无 ODBC 驱动，跳过 / skipped, no ODBC driver: apt-get install {DRIVER_PACKAGES}")
    table.add_row("报表 / reports", "\n".join(reports))
    table.add_row("数据集市 / marts", f"{site.marts}\nPostgreSQL schema mart（运行 mainflow up 时 / while `mainflow up` runs)")
    table.add_row(
        "看板 / boards",
        f"{loaded[ServerSettings].grafana_link} （有 Grafana 时 / with Grafana, while `mainflow up` runs)",
    )
    console.print(table)
    console.print(f"下一步 / next:\n  .venv/bin/mainflow up --site {site.root}\n  .venv/bin/mainflow status --site {site.root}")


def stored_readings(loaded: Settings) -> int:
    """Readings in the raw store, counted by reading it."""
    return (
        workbench(loaded)
        .store.read(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), columns=("terminal", "ts"))
        .height
    )

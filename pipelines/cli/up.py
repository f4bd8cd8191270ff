"""`mainflow up`: every process of a site until Ctrl-C or SIGTERM, then all of them stopped cleanly."""

import contextlib
import signal
import threading
from types import FrameType

from rich.console import Console

from ingest_daemon.contract.settings import PostgresSettings, Settings
from ingest_daemon.operations import DaemonSettings
from pipelines.processes import servers
from pipelines.runs.bench import workbench
from pipelines.runs.run import run_days


def run_all(settings: Settings, console: Console) -> None:
    """Start daemon, PostgreSQL, Dagster and Grafana (where there is one), print the addresses, wait. Raises `ServerError`."""
    stop = threading.Event()

    def stopped(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(servers.postgres(settings))
        ports = stack.enter_context(servers.daemon(settings.folder))
        # Registry and, on a new site, empty marts: boards and rules need their tables before the first reading arrives.
        run_days(workbench(settings), [], "start")
        console.print(
            f"终端 / terminals    tcp {settings[DaemonSettings].bind}:{ports.data} 数据 data, {ports.alarm} 报警 alarms"
        )
        home = servers.grafana_home()
        if home:
            console.print(f"Grafana             {stack.enter_context(servers.grafana(settings, home, dsn))}")
        else:
            console.print("Grafana             没有找到 / not found: install it, or set GRAFANA_HOME to its folder")
        console.print(f"Dagster             {stack.enter_context(servers.dagster(settings))}")
        if not settings[PostgresSettings].dsn:
            console.print(f"PostgreSQL          {dsn}")
        console.print(f"日志 / logs         {settings.folder.logs}\nCtrl-C 停止 / stops everything")
        stop.wait()
        console.print("正在停止 / stopping …")

"""`mainflow up`: every process of a site until Ctrl-C or SIGTERM, then all of them stopped cleanly."""

import contextlib
import signal
import threading
from types import FrameType

from rich.console import Console

from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.contract.settings import PostgresSettings, Settings
from ingest_daemon.operations import DaemonSettings
from pipelines.processes import servers, supervisor
from pipelines.runs.backup import restore_ops, restore_readings
from pipelines.runs.bench import workbench
from pipelines.runs.run import run_days


def run_all(settings: Settings, console: Console) -> None:
    """Start daemon, PostgreSQL, Dagster, Grafana (where there is one) and desk, print the addresses, start again what dies.

    Raises `ServerError`, `SupervisorBusy`.
    """
    supervisor.hold(settings.folder)
    stop = threading.Event()
    children: list[supervisor.Child] = []

    def stopped(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(servers.postgres(settings, children=children))
        restore_ops(settings.folder, dsn)
        restore_readings(settings.folder, workbench(settings).store)
        ports = stack.enter_context(servers.daemon(settings.folder, children=children))
        # Registry and, on a new site, empty marts: boards and rules need their tables before the first reading arrives.
        run_days(workbench(settings), [], "start")
        console.print(
            f"终端 / terminals    tcp {settings[DaemonSettings].bind}:{ports.data} 数据 data, {ports.alarm} 报警 alarms"
        )
        home = servers.grafana_home()
        if home:
            address = stack.enter_context(servers.grafana(settings, home, children=children))
            secret = settings.folder.grafana / "admin_password"
            console.print(f"Grafana             {address}  用户 user admin, 密码 password: {secret}")
        else:
            console.print("Grafana             没有找到 / not found: install it, or set GRAFANA_HOME to its folder")
        address = stack.enter_context(servers.desk(settings, children=children, with_grafana=home is not None))
        console.print(f"工作台 / desk       {address}")
        console.print(f"Dagster             {stack.enter_context(servers.dagster(settings, children=children))}")
        if not settings[PostgresSettings].dsn:
            console.print(f"PostgreSQL          {without_secrets(dsn)}")
        console.print(f"日志 / logs         {settings.folder.logs}\nCtrl-C 停止 / stops everything")
        supervisor.watch(settings.folder, tuple(children), stop, LOG.warning)
        console.print("正在停止 / stopping …")

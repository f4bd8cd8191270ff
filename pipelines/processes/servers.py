"""The processes of a site, each started for the time of a `with` block: socket daemon, PostgreSQL, Dagster, Grafana.

A process that already runs is used and left running.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ingest_daemon.contract.settings import PostgresSettings, Settings, SiteSettings
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import SmsSettings
from pipelines.settings import ServerSettings

if TYPE_CHECKING:
    from dashboards.provisioning import Webhook

START_S = 60.0
STOP_S = 20.0


class ServerError(RuntimeError):
    """A process did not start; the text has the end of its log."""


class Ports(NamedTuple):
    """The ports of the socket daemon."""

    data: int
    alarm: int


def running_daemon(site: Site) -> Ports | None:
    """The ports of the site's daemon if it runs, else None."""
    try:
        daemon = json.loads((site.state / "daemon.json").read_text())
        os.kill(daemon["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return Ports(daemon["data_port"], daemon["alarm_port"])


@contextlib.contextmanager
def daemon(site: Site, environment: Mapping[str, str] | None = None) -> Iterator[Ports]:
    """The socket daemon; gives its ports. Raises `ServerError`."""
    running = running_daemon(site)
    if running:
        yield running
        return
    with process("daemon", [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)], site, environment or {}) as started:
        deadline = time.monotonic() + START_S
        while (ports := running_daemon(site)) is None:
            if started.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"the socket daemon does not start:\n{_tail(site, 'daemon')}")
            time.sleep(0.05)
        yield ports


@contextlib.contextmanager
def postgres(settings: Settings) -> Iterator[str]:
    """PostgreSQL to publish to; gives its connection string: the configured server, or the embedded one."""
    if settings[PostgresSettings].dsn:
        yield settings[PostgresSettings].dsn
        return
    from pipelines.processes.postgres import embedded

    with embedded(settings.folder, settings[PostgresSettings].port) as dsn:
        yield dsn


@contextlib.contextmanager
def dagster(settings: Settings) -> Iterator[str]:
    """Dagster's web pages and daemon; gives the address of the pages. Raises `ServerError`."""
    from pipelines.processes.dagster_home import prepare

    site = settings.folder
    workspace = prepare(site)
    environment = {"DAGSTER_HOME": str(site.dagster), "MAINFLOW_SITE": str(site.root)}
    port = settings[ServerSettings].dagster_port
    web = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
    worker = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    with process("dagster-webserver", web, site, environment) as started, process("dagster-daemon", worker, site, environment):
        _await_port(port, started, site, "dagster-webserver")
        yield f"http://127.0.0.1:{port}"


def grafana_home() -> Path | None:
    """The home of the Grafana to start: `GRAFANA_HOME`, else that of the `grafana` on PATH; None where there is none."""
    named = os.environ.get("GRAFANA_HOME")
    if named:
        return Path(named)
    program = shutil.which("grafana")
    if not program:
        return None
    folder = Path(program).resolve().parent.parent
    packaged = Path("/usr/share/grafana")
    return folder if (folder / "public").exists() else packaged if (packaged / "public").exists() else None


@contextlib.contextmanager
def grafana(settings: Settings, home: Path, dsn: str) -> Iterator[str]:
    """Grafana with our boards and rules; gives its address. Raises `ServerError`."""
    from dashboards.provisioning import launch, write

    site, port = settings.folder, settings[ServerSettings].grafana_port
    ini = write(
        site.grafana,
        postgres_dsn=dsn,
        zone=settings[SiteSettings].zone,
        language=settings[SiteSettings].language,
        http_port=port,
        webhooks=_webhooks(settings),
    )
    command, environment = launch(home, ini, settings[SiteSettings].zone)
    with process("grafana", command, site, environment) as started:
        _await_port(port, started, site, "grafana")
        yield f"http://127.0.0.1:{port}"


def _webhooks(settings: Settings) -> "dict[str, Webhook]":
    """Receivers of alarms: the address in the settings, and the SMS channel where it is on and has a gateway."""
    from dashboards.provisioning import CONTACT, SMS_CONTACT, Webhook

    webhooks = {}
    if settings[ServerSettings].alert_webhook:
        webhooks[CONTACT] = Webhook(settings[ServerSettings].alert_webhook)
    if settings[SmsSettings].on and settings[SmsSettings].gateway_url:
        webhooks[SMS_CONTACT] = Webhook(f"http://127.0.0.1:{settings[SmsSettings].port}/alarms", settings[SmsSettings].secret)
    return webhooks


@contextlib.contextmanager
def process(name: str, command: list[str], site: Site, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A child process whose output goes to `logs/<name>.log`; SIGTERM at the end, SIGKILL if it does not listen."""
    site.logs.mkdir(parents=True, exist_ok=True)
    with (site.logs / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
    try:
        yield started
    finally:
        _stop(started)


def _stop(started: "subprocess.Popen[bytes]") -> None:
    started.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(STOP_S)
    # Children that outlive their parent (Dagster's code servers) share its session: end them with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def _await_port(port: int, started: "subprocess.Popen[bytes]", site: Site, name: str) -> None:
    deadline = time.monotonic() + START_S
    while not port_answers(port):
        if started.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"{name} does not answer on port {port}:\n{_tail(site, name)}")
        time.sleep(0.2)


def port_answers(port: int) -> bool:
    """Whether something listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(site: Site, name: str) -> str:
    log = site.logs / f"{name}.log"
    return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"

"""The processes of a site, each started for the time of a `with` block: socket daemon, PostgreSQL, Dagster, Grafana, desk.

A process that already runs is used and left running.
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from psycopg.conninfo import conninfo_to_dict

from desk.settings import DeskSettings, address_file
from ingest_daemon.contract import locks
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.regions import organisation
from ingest_daemon.contract.settings import PostgresSettings, Settings, SiteSettings
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import SmsSettings
from pipelines.processes import databases
from pipelines.processes.death import ends_with_parent
from pipelines.processes.supervisor import Child
from pipelines.settings import ServerSettings, TellingSettings

if TYPE_CHECKING:
    from dashboards import Links
    from dashboards.telling import Receiver

START_S = 60.0
STOP_S = 20.0
LOOK_S = 0.05
"""Between two looks whether a process is ready."""
LEAST_FREE = 1 << 20
"""Bytes without which no process starts."""


class ServerError(RuntimeError):
    """A process did not start; the text has the end of its log."""


class Ports(NamedTuple):
    """The ports of the socket daemon."""

    data: int
    alarm: int


def running_daemon(site: Site) -> Ports | None:
    """The ports of the site's daemon if it runs, else None."""
    if not locks.is_held(site.state / "daemon.lock"):
        return None
    return glance(site.state / "daemon.json", lambda address: Ports(int(address["data_port"]), int(address["alarm_port"])))


def inner_ports(site: Site) -> dict[str, int]:
    """The ports of what runs here for this machine only: the daemon's health page, the desk and the embedded PostgreSQL."""
    from pipelines.processes import postgres

    health = glance(site.state / "daemon.json", lambda own: int(own["health_port"])) if running_daemon(site) else None
    dsn = glance(postgres.address_file(site), lambda own: str(own["dsn"]))
    desk = glance(address_file(site), lambda own: int(own["port"]))
    server = int(str(conninfo_to_dict(dsn)["port"])) if dsn else None
    return {name: port for name, port in (("health", health), ("desk", desk), ("PostgreSQL", server)) if port}


@contextlib.contextmanager
def daemon(site: Site, environment: Mapping[str, str] | None = None, *, children: list[Child] | None = None) -> Iterator[Ports]:
    """The socket daemon; gives its ports. `children`: what was started here is added. Raises `ServerError`."""
    running = running_daemon(site)
    if running:
        yield running
        return
    own = Process("daemon", [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)], site, environment or {})
    with kept_running(own, _listed(children)) as started:
        ports = _awaited(lambda: running_daemon(site), started, site, "daemon", "the socket daemon does not start")
        yield ports


@contextlib.contextmanager
def postgres(settings: Settings, *, children: list[Child] | None = None) -> Iterator[str]:
    """PostgreSQL to publish to; gives its connection string: the configured server, or the embedded one."""
    if settings[PostgresSettings].dsn:
        yield settings[PostgresSettings].dsn
        return
    from pipelines.processes.postgres import embedded

    with embedded(settings.folder, settings[PostgresSettings].port, children=_listed(children)) as dsn:
        yield dsn


@contextlib.contextmanager
def dagster(settings: Settings, *, children: list[Child] | None = None) -> Iterator[str]:
    """Dagster's web pages and daemon; gives the address of the pages. Raises `ServerError`."""
    from pipelines.processes.dagster_home import prepare

    site = settings.folder
    workspace = prepare(site)
    environment = {"DAGSTER_HOME": str(site.dagster), "MAINFLOW_SITE": str(site.root)}
    port = settings[ServerSettings].dagster_port
    web = [sys.executable, "-m", "pipelines.processes.dagster_pages", "--port", str(port)]
    worker = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    own = _listed(children)
    with (
        kept_running(Process("dagster-webserver", web, site, environment), own) as started,
        kept_running(Process("dagster-daemon", worker, site, environment), own),
    ):
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
def grafana(settings: Settings, home: Path, *, children: list[Child] | None = None) -> Iterator[str]:
    """Grafana with our boards and rules, which reads as the role of boards; gives its address for people.

    Raises `ServerError`.
    """
    from dashboards.provisioning import launch, write

    site, own = settings.folder, settings[ServerSettings]
    postgres_dsn = board_dsn(settings)
    database = site.grafana / "data" / "grafana.db"
    if database.exists() and databases.is_damaged(database):
        databases.set_aside(database, "users, and what was changed in the pages, are there only")
    ini = write(
        site.grafana,
        postgres_dsn=postgres_dsn,
        zone=settings[SiteSettings].zone,
        language=settings[SiteSettings].language,
        http_port=own.grafana_port,
        receivers=_receivers(settings),
        links=links(settings),
        link=own.grafana_link,
        wall=own.wall,
        theme=own.theme,
    )
    command, environment = launch(home, ini, settings[SiteSettings].zone)
    with kept_running(Process("grafana", command, site, environment), _listed(children)) as started:
        _await_port(own.grafana_port, started, site, "grafana")
        keep_organisations(settings, postgres_dsn)
        yield own.grafana_link


@contextlib.contextmanager
def desk(settings: Settings, *, children: list[Child] | None = None, with_grafana: bool) -> Iterator[str]:
    """The desk, which asks Grafana who logs in; gives its address for people. Raises `ServerError`.

    `with_grafana`: it is the one of `grafana`, else that of `[desk] grafana`.
    """
    site, shown = settings.folder, settings[ServerSettings]
    environment = {}
    if with_grafana:
        environment = {"MAINFLOW_DESK_GRAFANA": shown.grafana_local, "MAINFLOW_DESK_GRAFANA_LINK": shown.grafana_link}
    command = [sys.executable, "-m", "desk", "--site", str(site.root)]
    noted = address_file(site)
    noted.unlink(missing_ok=True)
    with kept_running(Process("desk", command, site, environment), _listed(children)) as started:
        link = _awaited(lambda: glance(noted, lambda known: str(known["link"])), started, site, "desk", "the desk does not start")
        yield link


def keep_organisations(settings: Settings, postgres_dsn: str) -> None:
    """The organisations of the wall and of regions: data sources that lead where PostgreSQL is now, the boards of this version.

    Without them everything else runs, and those who belong there see nothing.
    """
    from dashboards import all_boards
    from dashboards.organisations import Writer, make
    from dashboards.provisioning import FAILURES, WALL, admin_password
    from pipelines.processes import region_roles

    site, own, language = settings.folder, settings[ServerSettings], settings[SiteSettings].language
    dsns = {WALL: postgres_dsn} if own.wall else {}
    regions = region_roles.dsns(site, region_roles.known_regions(site), postgres_dsn)
    dsns |= {organisation(region): dsn for region, dsn in regions.items()}
    for name, dsn in dsns.items():
        try:
            writer = Writer(own.grafana_local, admin_password(site.grafana))
            make(writer, name, conninfo_to_dict(dsn), all_boards(language, links(settings)), language)
        except FAILURES as error:
            LOG.warning("Grafana does not take the organisation %s, so it stays as it was, or closed: %s", name, error)


def board_dsn(settings: Settings) -> str:
    """The connection string of the role of boards. Raises `ServerError`."""
    own = settings[PostgresSettings]
    if own.dsn and not own.board_dsn:
        raise ServerError(
            "[postgres] board_dsn is empty: expected the connection string of a role that only reads, for Grafana; for example "
            "host=127.0.0.1 dbname=mainflow user=mainflow_board password=…"
        )
    from pipelines.processes import postgres as embedded

    return own.board_dsn or embedded.board_dsn(settings.folder)


def _receivers(settings: Settings) -> "list[Receiver]":
    """Who is told of alarms: rows of the settings, the address of `[servers]`, and the SMS channel. Raises `ServerError`."""
    from dashboards.telling import SMS, WEBHOOK, Receiver

    own, sms, rows = settings[ServerSettings], settings[SmsSettings], settings[TellingSettings].receivers
    channel = Receiver("sms-channel", SMS, f"http://127.0.0.1:{sms.port}/alarms", sms.secret)
    sends_sms = sms.on and bool(sms.gateway_url)
    receivers = []
    for row in rows:
        if row.kind == SMS and not sends_sms:
            raise ServerError(
                f"[telling] receivers, {row.name}: expected [sms] on = true and a gateway_url, for a receiver of kind sms"
            )
        place = channel if row.kind == SMS else Receiver(row.name, row.kind, row.address, row.secret)
        receivers.append(place._replace(name=row.name, by_day=row.by_day, at_rest=row.at_rest, rest=row.hours))
    if own.alert_webhook:
        receivers.append(Receiver("alert-webhook", WEBHOOK, own.alert_webhook, own.alert_webhook_token))
    if sends_sms and SMS not in {row.kind for row in rows}:
        night = None if sms.night_start == sms.night_end else (sms.night_start, sms.night_end)
        receivers.append(channel._replace(at_rest=sms.night_severity, rest=night))
    return receivers


def links(settings: Settings) -> "Links":
    """Where notifications and boards lead besides Grafana."""
    from dashboards import Links

    own, site = settings[DeskSettings], settings[SiteSettings]
    return Links(own.link(own.port), settings[TellingSettings].runbook_url, site.utility, site.contact)


class Process:
    """A child process whose output goes to `logs/<name>.log`; it ends with this one, whatever ends this one."""

    def __init__(self, name: str, command: list[str], site: Site, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command, self._site, self._environment = command, site, environment
        self._started: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._started.pid

    def start(self) -> None:
        """Raises `OSError`."""
        self._site.logs.mkdir(parents=True, exist_ok=True)
        with (self._site.logs / f"{self.name}.log").open("ab") as log:
            self._started = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                cwd=Path(__file__).parents[2],
                start_new_session=True,
                preexec_fn=partial(ends_with_parent, signal.SIGTERM, os.getpid()),
            )

    def poll(self) -> int | None:
        """The exit code of one that ended, else None. Children that outlive it (Dagster's code servers) are ended with it."""
        code = self._started.poll()
        if code is not None:
            self._end_session()
        return code

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where it does not listen."""
        self._started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._started.wait(STOP_S)
        self._end_session()
        self._started.wait()

    def _end_session(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._started.pid, signal.SIGKILL)


@contextlib.contextmanager
def kept_running(process: Process, children: list[Child]) -> Iterator[Process]:
    """The process for the time of the block, and among the children for as long."""
    process.start()
    children.append(process)
    try:
        yield process
    finally:
        children.remove(process)
        process.stop()


def _listed(children: list[Child] | None) -> list[Child]:
    return [] if children is None else children


def _await_port(port: int, started: Process, site: Site, name: str) -> None:
    _awaited(lambda: port_answers(port) or None, started, site, name, f"{name} does not answer on port {port}")


Found = TypeVar("Found")


def _awaited(look: Callable[[], Found | None], started: Process, site: Site, name: str, failure: str) -> Found:
    """What `look` finds as soon as it finds something; `ServerError` with the process' log where it ends or takes too long."""
    deadline = time.monotonic() + START_S
    while (found := look()) is None:
        if started.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"{failure}:\n{_tail(site, name)}")
        time.sleep(LOOK_S)
    return found


def port_answers(port: int) -> bool:
    """Whether something listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(site: Site, name: str) -> str:
    log = site.logs / f"{name}.log"
    if shutil.disk_usage(site.root).free < LEAST_FREE:
        return os.strerror(errno.ENOSPC)  # nor can it write its log
    return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"

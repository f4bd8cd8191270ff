"""The daemon on one host and its stores on another (R031), terminals behind a thin link (R032): network namespaces, as root.

    python -m tests.two_hosts [--meters 2000] [--report FILE]

    terminals ──512 kbit/s (tc tbf)── daemon ──link that is cut for a while── InfluxDB 2.x, InfluxDB 1.x, PostgreSQL

MAINFLOW_TEST_INFLUX2 names the `influxd` of 2.x; `influxd` on PATH is that of 1.x. At first the tests of the raw store, of
forwarding and of the backup run on the daemon's host with the servers of the other. Then every meter sends a day through the thin
link while the other link is cut. Everything acknowledged must be in InfluxDB once, and the alarms in PostgreSQL.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from benchmarks import callers, workload
from benchmarks.workload import FIRST_TERMINAL, RECORDS
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.settings import StoreSettings
from pipelines.processes.postgres import program_of_wheel
from tests.daemon_helpers import REPOSITORY, eventually, forwarded, frame, minutes_ago, read_json
from tests.influx_server import CONFIGURATION
from tests.stores import test_influx2 as influx2

TERMINALS, DAEMON, STORES = "10.213.6.1", "10.213.6.2", "10.213.7.2"
DAEMON_TO_STORES, STORES_TO_TRIAL, TRIAL_TO_STORES = "10.213.7.1", "10.213.8.2", "10.213.8.1"
PORTS = {"influx2": 8086, "influx1": 8087, "influx1-rpc": 8088, "postgres": 5432}
RATE = "512kbit"
CUT_S = 20.0
START_S, LONG_S = 120.0, 1800.0
AT_A_TIME = 50
PASSWORD = "of-the-trial"
SUITE = (
    "tests/stores/test_stores.py",
    "tests/stores/test_influx2.py",
    "tests/assets/test_two_stores.py",
    "tests/forwarding/test_replay.py",
    "tests/pipelines/test_backup.py",
)


class Host:
    """A network namespace."""

    def __init__(self, name: str) -> None:
        self.name = f"mainflow-{name}-{os.getpid()}"

    def command(self, *words: object) -> list[str]:
        """A command line that runs there."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    @contextmanager
    def process(self, log: Path, *words: object, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A process there for the time of the block."""
        with log.open("ab") as file:
            running = subprocess.Popen(
                self.command(*words), stdout=file, stderr=file, cwd=REPOSITORY, env={**os.environ, **environment}
            )
        try:
            yield running
        finally:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(60)
            running.kill()
            running.wait()


def run(*words: object) -> None:
    """Raises `RuntimeError` with the words of a command that fails."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


@contextmanager
def hosts() -> Iterator[tuple[Host, Host]]:
    """The daemon's host and that of the stores, linked with each other and with this one."""
    both = Host("daemon"), Host("stores")
    try:
        for host in both:
            run("ip", "netns", "add", host.name)
            run(*host.command("ip", "link", "set", "lo", "up"))
        link(("mft", None, TERMINALS), ("mfd", both[0], DAEMON))
        link(("mfs", both[0], DAEMON_TO_STORES), ("mfp", both[1], STORES))
        link(("mfc", None, TRIAL_TO_STORES), ("mfx", both[1], STORES_TO_TRIAL))
        yield both
    finally:
        for host in both:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)
        for name in ("mft", "mfc"):
            subprocess.run(["ip", "link", "del", name], capture_output=True)


def link(*ends: tuple[str, Host | None, str]) -> None:
    """A cable between two hosts (None: this one) with an address at each end."""
    run("ip", "link", "add", ends[0][0], "type", "veth", "peer", "name", ends[1][0])
    for name, host, address in ends:
        put_end(name, host, address)


def put_end(name: str, host: Host | None, address: str) -> None:
    """Put the end of a cable on a host (None: this one), with an address, and switch it on."""
    inside: tuple[str, ...] = ()
    if host:
        run("ip", "link", "set", name, "netns", host.name)
        inside = tuple(host.command())
    run(*inside, "ip", "address", "add", f"{address}/24", "dev", name)
    run(*inside, "ip", "link", "set", name, "up")


def shape(daemon: Host) -> None:
    """Let the terminals' link carry 512 kbit/s each way."""
    bucket = ("root", "tbf", "rate", RATE, "burst", "16kb", "latency", "2s")
    run("tc", "qdisc", "add", "dev", "mft", *bucket)
    run(*daemon.command("tc", "qdisc", "add", "dev", "mfd", *bucket))


@contextmanager
def stores(host: Host, folder: Path) -> Iterator[None]:
    """InfluxDB 2.x with its bucket, InfluxDB 1.x and PostgreSQL on a host."""
    one, two, postgres = folder / "influx1", folder / "influx2", folder / "postgres"
    for path in (one, two, postgres):
        path.mkdir(mode=0o755)
    text = CONFIGURATION.format(
        folder=one, http=PORTS["influx1"], rpc=PORTS["influx1-rpc"], index="tsi1", tag_values=0, auth="false"
    )
    (one / "influxdb.conf").write_text(text.replace(f"127.0.0.1:{PORTS['influx1']}", f"0.0.0.0:{PORTS['influx1']}"))
    second = [influx2.GIVEN, "--bolt-path", two / "bolt", "--engine-path", two / "engine", "--sqlite-path", two / "sqlite"]
    second += ["--reporting-disabled", "--http-bind-address", f"0.0.0.0:{PORTS['influx2']}"]
    with ExitStack() as running:
        running.enter_context(host.process(one / "log", "influxd", "-config", one / "influxdb.conf"))
        running.enter_context(host.process(two / "log", *second, HOME=str(two)))
        running.enter_context(host.process(folder / "postgres.log", *postgres_command(postgres)))
        setup = {"username": "clerk", "password": "long-enough", "org": "utility", "bucket": "mainflow", "token": influx2.TOKEN}
        eventually(lambda: _answers(lambda: influx2.api(address("influx2"), "POST", "/api/v2/setup", setup)), "2.x", START_S)
        eventually(lambda: _answers(lambda: psycopg.connect(dsn(STORES_TO_TRIAL)).close()), "PostgreSQL", START_S)
        yield


def postgres_command(folder: Path) -> list[object]:
    """The command of a PostgreSQL that listens to other hosts; its data are made."""
    user = ("runuser", "-u", "pgserver", "--")
    run("chown", "pgserver", folder)
    (folder.parent / "password").write_text(PASSWORD)
    initdb = (
        program_of_wheel("initdb"),
        "-D",
        folder,
        "-U",
        "postgres",
        "--auth=scram-sha-256",
        "--pwfile",
        folder.parent / "password",
    )
    run(*user, *initdb)
    with (folder / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.213.0.0/16 scram-sha-256\n")
    return [*user, program_of_wheel("postgres"), "-D", folder, "-h", "*", "-p", PORTS["postgres"], "-k", ""]


def _answers(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except (OSError, psycopg.Error):
        return False
    return True


def address(server: str, host: str = STORES_TO_TRIAL) -> str:
    return f"http://{host}:{PORTS[server]}"


def dsn(host: str) -> str:
    return f"host={host} port={PORTS['postgres']} user=postgres password={PASSWORD} dbname=postgres connect_timeout=3"


def suite(daemon: Host) -> str:
    """The last line of the tests on the daemon's host, with the stores of the other. Raises `RuntimeError` where one fails."""
    given = {
        "MAINFLOW_TEST_INFLUX_URL": address("influx1", STORES),
        influx2.VARIABLE: address("influx2", STORES),
        "MAINFLOW_TEST_INFLUX2_TOKEN": influx2.TOKEN,
    }
    command = daemon.command(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE, "-k", "influx or stores or replay"
    )
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **given}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the tests fail on two hosts:\n{done.stdout[-4000:]}")
    return done.stdout.strip().splitlines()[-1]


def trial(daemon: Host, folder: Path, meters: int) -> Iterator[str]:
    """A day of every meter through the thin link, the stores away for a while; gives lines of a report."""
    store = StoreSettings(kind="influxdb", influx_auth="token", influx_password=influx2.TOKEN)
    settings = {
        "store": {"kind": store.kind, "influx_auth": store.influx_auth, "influx_password": store.influx_password},
        "daemon": {"bind": "0.0.0.0", "past_days": 60},
        "postgres": {"dsn": dsn(STORES), "board_dsn": dsn(STORES)},
    }
    settings["store"]["influx_url"] = address("influx2", STORES)
    site = workload.make_site(folder / "site", meters, settings)
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    times = [began + timedelta(minutes=15 * step) for step in range(RECORDS)]
    frames = [raw for number in range(meters) for raw in callers.day_report(number, times, range(RECORDS), 1)]
    with daemon.process(folder / "daemon.log", sys.executable, "-m", "ingest_daemon", "--site", site.root):
        ports = eventually(lambda: read_json(site.state / "daemon.json"), "the daemon listens", START_S)
        shape(daemon)
        began_s = time.monotonic()
        failed = asyncio.run(_through(daemon, site, ports, frames))
        took_s = time.monotonic() - began_s
        yield f"{meters:,} meters x {RECORDS} readings through {RATE}: {took_s:,.0f} s, {failed} calls repeated"
        eventually(lambda: forwarded(site), "everything is forwarded", LONG_S)
        stored = InfluxStore(StoreSettings(**{**settings["store"], "influx_url": address("influx2")})).read(*influx2.ALWAYS)
        stored = stored.filter(pl.col("terminal") >= f"{FIRST_TERMINAL:010d}")  # the tests before used the bucket, too
        expected = meters * RECORDS + 1
        assert stored.height == expected, f"{stored.height:,} readings are stored, expected {expected:,}"
        eventually(lambda: _alarms() == [("P_LO", "raised")], f"the alarm is in PostgreSQL, there is {_alarms()}", LONG_S)
        yield f"{stored.height:,} readings in InfluxDB, the alarm in PostgreSQL; the stores were away for {CUT_S:.0f} s meanwhile"


async def _through(daemon: Host, site: Site, ports: dict[str, Any], frames: list[bytes]) -> int:
    """Send the frames; the stores' link is cut soon, an alarm comes meanwhile, and it is mended. Gives the calls that failed."""
    sending = asyncio.create_task(callers.call(DAEMON, ports["data_port"], frames, AT_A_TIME))
    await asyncio.sleep(5)
    run(*daemon.command("ip", "link", "set", "mfs", "down"))
    alarm = frame(f"{FIRST_TERMINAL:010d}", minutes_ago(1), 5000.0, alarms=["P_LO"], pressure_mpa=0.1)
    await callers.call(DAEMON, ports["alarm_port"], [alarm], 1)
    await asyncio.sleep(CUT_S)
    run(*daemon.command("ip", "link", "set", "mfs", "up"))
    return await sending


def _alarms() -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn(STORES_TO_TRIAL)) as connection:
        return connection.execute("select code, state from ops.alarm_event").fetchall()


def main() -> int:
    """Exit code 1 where something is lost or a test fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.two_hosts", description="daemon and stores on two hosts, a thin link")
    parser.add_argument("--meters", type=int, default=2000)
    parser.add_argument("--report", type=Path, help="file for the report, besides the screen")
    options = parser.parse_args()
    if os.geteuid() or not influx2.GIVEN:
        parser.error("root is needed for network namespaces, and MAINFLOW_TEST_INFLUX2 must name the influxd of 2.x")
    lines = []
    with (
        tempfile.TemporaryDirectory(prefix="mainflow-two-hosts-", ignore_cleanup_errors=True) as name,
        hosts() as (daemon, others),
    ):
        folder = Path(name)
        folder.chmod(0o755)
        with stores(others, folder):
            for part in (iter([f"tests on the daemon's host: {suite(daemon)}"]), trial(daemon, folder, options.meters)):
                for line in part:
                    print(line, flush=True)
                    lines.append(line)
    if options.report:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

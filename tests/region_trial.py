"""Two daemons behind HAProxy on hosts of their own, and terminals that lose nothing, whatever dies: network namespaces, as root.

    python -m tests.region_trial [--terminals 200] [--seconds 90] [--store influxdb] [--report FILE]

    terminals ──▶ HAProxy (deploy/region/haproxy.cfg) ──PROXY v2──▶ north, south ──▶ raw store, PostgreSQL

Half of the terminals stay on line, the others connect for each frame; each sends its frame again until it is acknowledged,
wherever it is let in. Meanwhile north's cable is pulled, north is killed and started again, the balancer is killed. At the end
south and the balancer are killed together while the stores are away: south does not come back, its journal is drained by a
command that is killed again and again. Then the store must have every acknowledged reading once, and PostgreSQL every alarm once.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.balancer import Backend, balancer, program
from benchmarks.workload import FIRST_TERMINAL, make_site
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.locks import is_held
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import backlog
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from tests import two_hosts
from tests.daemon_helpers import REPOSITORY, eventually, frame, read_json
from tests.influx_server import CONFIGURATION
from tests.two_hosts import PORTS, Host, run

NET = "10.213.9"
ADDRESSES = {"trial": 1, "stores": 2, "balancer": 3, "north": 11, "south": 12, "terminals": 20}
DATA_PORT, ALARM_PORT, HEALTH_PORT = 4000, 5000, 4080
ANSWER_S = 3.0
"""A terminal waits so long for an acknowledgement, then it calls again."""
ALARM_EVERY = 5
"""Each terminal's alarm is raised in one of so many frames, and over in the next."""
START_S, LONG_S = 120.0, 600.0
MOST_KILLS = 8


def address(name: str) -> str:
    return f"{NET}.{ADDRESSES[name]}"


# --- terminals, in a process of their own ---------------------------------------------------------------------------------------


def reading(number: int, count: int, began: datetime) -> tuple[datetime, tuple[str, ...] | None]:
    """Time of a terminal's frame, and the alarms in it: None in one without."""
    at = began + timedelta(minutes=count)
    alarms = {0: ("MAG",), 1: ()}.get((count + number) % ALARM_EVERY)
    return at, alarms


async def terminal(number: int, began: datetime, until_s: float, acknowledged: list[list[Any]], calls: list[int]) -> None:
    """Report until the time is over, a frame at a time; notes what was acknowledged."""
    name, stays = f"{FIRST_TERMINAL + number:010d}", number % 2 == 0
    line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    is_alarm_line = False
    count = 0
    while time.time() < until_s:
        at, alarms = reading(number, count, began)
        raw = frame(name, at, float(count), sequence=count % 60_000 + 1, alarms=alarms)
        while True:
            try:
                if line is None or is_alarm_line != (alarms is not None):
                    if line:
                        line[1].close()
                    is_alarm_line = alarms is not None
                    port = ALARM_PORT if is_alarm_line else DATA_PORT
                    line = await asyncio.wait_for(asyncio.open_connection(address("balancer"), port), ANSWER_S)
                    calls[0] += 1
                line[1].write(raw)
                await asyncio.wait_for(_acknowledgement(line[0]), ANSWER_S)
                break
            except (OSError, EOFError, TimeoutError):
                calls[1] += 1
                if line:
                    line[1].close()
                line = None
                await asyncio.sleep(random.uniform(0.1, 1.0))
                if time.time() > until_s + 60:
                    return
        acknowledged.append([name, at.isoformat(), count])
        if not stays:
            line[1].close()
            line = None
        count += 1
        await asyncio.sleep(random.uniform(0.2, 1.0))
    if line:
        line[1].close()


async def _acknowledgement(reader: asyncio.StreamReader) -> None:
    decoder = sl651.decoder()
    while True:
        data = await reader.read(4096)
        if not data:
            raise EOFError
        if list(decoder.feed(data)):
            return


async def _terminals(count: int, began: datetime, seconds: float, path: Path) -> None:
    acknowledged: list[list[Any]] = []
    calls, until_s = [0, 0], time.time() + seconds
    await asyncio.gather(*(terminal(number, began, until_s, acknowledged, calls) for number in range(count)))
    path.write_text(json.dumps({"acknowledged": acknowledged, "calls": calls[0], "again": calls[1]}))


# --- hosts and servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def hosts() -> Iterator[dict[str, Host]]:
    """A host each, and this one, on one switch."""
    switch = Host("switch")
    found = {name: Host(name) for name in ADDRESSES if name != "trial"}
    try:
        for host in (switch, *found.values()):
            run("ip", "netns", "add", host.name)
            run(*host.command("ip", "link", "set", "lo", "up"))
        run(*switch.command("ip", "link", "add", "br0", "type", "bridge"))
        run(*switch.command("ip", "link", "set", "br0", "up"))
        for name in ADDRESSES:
            _plug(switch, name, found.get(name))
        yield found
    finally:
        for host in (*found.values(), switch):
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)
        subprocess.run(["ip", "link", "del", cable("trial")], capture_output=True)


def cable(name: str) -> str:
    return f"mfr{ADDRESSES[name]}"


def _plug(switch: Host, name: str, host: Host | None) -> None:
    near, far = cable(name), f"{cable(name)}s"
    run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
    run("ip", "link", "set", far, "netns", switch.name)
    run(*switch.command("ip", "link", "set", far, "master", "br0", "up"))
    two_hosts.put_end(near, host, address(name))


def cut(host: Host, name: str, *, is_up: bool) -> None:
    """Pull a host's cable, or plug it in again."""
    run(*host.command("ip", "link", "set", cable(name), "up" if is_up else "down"))


@contextmanager
def stores(host: Host, folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """PostgreSQL and, where it is the raw store, InfluxDB 1.x on a host; gives the section `[store]`."""
    (folder / "postgres").mkdir(mode=0o755)
    with ExitStack() as running:
        running.enter_context(host.process(folder / "postgres.log", *two_hosts.postgres_command(folder / "postgres")))
        store: dict[str, Any] = {"kind": "lake", "lake": str(folder / "lake")}
        (folder / "lake").mkdir()
        if kind == "influxdb":
            place = folder / "influx"
            place.mkdir()
            text = CONFIGURATION.format(
                folder=place, http=PORTS["influx1"], rpc=PORTS["influx1-rpc"], index="tsi1", tag_values=0, auth="false"
            )
            (place / "influxdb.conf").write_text(text.replace(f"127.0.0.1:{PORTS['influx1']}", f"0.0.0.0:{PORTS['influx1']}"))
            running.enter_context(host.process(place / "log", "influxd", "-config", place / "influxdb.conf"))
            store = {"kind": kind, "influx_url": f"http://{address('stores')}:{PORTS['influx1']}"}
        eventually(lambda: _answers(lambda: psycopg.connect(dsn()).close()), "PostgreSQL", START_S)
        yield store


def _answers(ask: Any) -> bool:
    try:
        ask()
    except (OSError, psycopg.Error):
        return False
    return True


def dsn() -> str:
    return two_hosts.dsn(address("stores"))


class Member:
    """A daemon on its host."""

    def __init__(self, host: Host, name: str, site: Site) -> None:
        self.host, self.name, self.site = host, name, site
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.site.root / "daemon.log").open("ab") as log:
            words = self.host.command(sys.executable, "-m", "ingest_daemon", "--site", self.site.root)
            self.process = process = subprocess.Popen(words, stdout=log, stderr=log, cwd=REPOSITORY)
        state = self.site.state / "daemon.json"
        eventually(lambda: (told := read_json(state)) and told["pid"] == process.pid, f"{self.name} listens", START_S)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


class Before:
    """HAProxy on its host."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host, self._folder, self._running = host, folder, ExitStack()

    def start(self) -> None:
        backends = [Backend(name, address(name), DATA_PORT, ALARM_PORT, HEALTH_PORT) for name in ("north", "south")]
        self._running.enter_context(balancer(self._folder, backends, DATA_PORT, ALARM_PORT, before=self._host.command()))

    def kill(self) -> None:
        self._running.close()


# --- the trial ------------------------------------------------------------------------------------------------------------------


def trial(all_hosts: dict[str, Host], folder: Path, store: dict[str, Any], count: int, seconds: float) -> Iterator[str]:
    """Terminals report while things die; gives lines of a report. Raises `AssertionError` where anything is lost or twice."""
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=2)
    members = {name: _member(all_hosts[name], folder, name, store, count) for name in ("north", "south")}
    north, south = members["north"], members["south"]
    before = Before(all_hosts["balancer"], folder)
    ledger = folder / "acknowledged.json"
    with ExitStack() as stack:
        for member in members.values():
            member.start()
            stack.callback(member.kill)
        before.start()
        stack.callback(before.kill)
        words = [sys.executable, "-m", "tests.region_trial", "--as-terminals", ledger, "--terminals", count]
        words += ["--seconds", seconds, "--began", began.isoformat()]
        sending = stack.enter_context(all_hosts["terminals"].process(folder / "terminals.log", *words))
        yield from _faults(all_hosts, north, south, before, seconds)
        sending.wait(seconds + 120)
        told = json.loads(ledger.read_text())
        eventually(lambda: _is_delivered(north.site), "north has delivered", LONG_S)
        acknowledged = {(name, datetime.fromisoformat(at)): value for name, at, value in told["acknowledged"]}
        left = _missing(south.site, store, acknowledged, began)
        yield f"{count} terminals, {len(acknowledged):,} readings acknowledged, {told['calls']:,} calls, {told['again']:,} again"
        yield f"south is lost: {left:,} acknowledged readings are only in its journal"
        yield from _drain(all_hosts["north"], south.site, north.site)
        lost = _missing(south.site, store, acknowledged, began)
        assert not lost, f"{lost:,} acknowledged readings are not in the store"
        yield f"{len(acknowledged):,} acknowledged readings are in the store, each once and with its value"
        yield _alarms(acknowledged, began)


def _faults(all_hosts: dict[str, Host], north: Member, south: Member, before: Before, seconds: float) -> Iterator[str]:
    step = seconds / 10
    time.sleep(step)
    cut(north.host, "north", is_up=False)
    time.sleep(step)
    cut(north.host, "north", is_up=True)
    yield f"north's cable was out for {step:.0f} s"
    time.sleep(step)
    north.kill()
    time.sleep(step)
    north.start()
    yield f"north was killed, and started {step:.0f} s later"
    time.sleep(step)
    before.kill()
    time.sleep(step / 3)
    before.start()
    yield "the balancer was killed and started again"
    time.sleep(step)
    cut(all_hosts["stores"], "stores", is_up=False)
    time.sleep(step)
    south.kill()
    before.kill()
    time.sleep(step / 3)
    before.start()
    time.sleep(step / 2)
    cut(all_hosts["stores"], "stores", is_up=True)
    yield "the stores' cable was out; south and the balancer were killed meanwhile, and the balancer was started again"


def _member(host: Host, folder: Path, name: str, store: dict[str, Any], count: int) -> Member:
    daemon = {"bind": "0.0.0.0", "health_bind": "0.0.0.0", "proxy_protocol": True}
    ports = {"data_port": DATA_PORT, "alarm_port": ALARM_PORT, "health_port": HEALTH_PORT}
    settings = {"daemon": {**daemon, **ports}, "store": {**store, "share": name}, "postgres": {"dsn": dsn(), "board_dsn": dsn()}}
    site = make_site(folder / name, count, settings)
    return Member(host, name, site)


def _is_delivered(site: Site) -> bool:
    return not any(backlog(site).values())


def _missing(site: Site, store: dict[str, Any], acknowledged: dict[tuple[str, datetime], int], began: datetime) -> int:
    """How many acknowledged readings the store has not. Raises `AssertionError` for a wrong value or a reading nobody sent."""
    stored = open_store(site, StoreSettings(**store, share="trial")).read(began - timedelta(days=1), datetime.now(UTC))
    found = {(name, at): value for name, at, value in stored.select("terminal", "ts", "forward_m3").iter_rows()}
    assert len(found) == stored.height, f"{stored.height - len(found)} readings are there twice"
    wrong = [key for key, value in acknowledged.items() if key in found and found[key] != value]
    assert not wrong, f"{len(wrong)} readings have another value than was sent, the first is {wrong[0]}"
    # What a terminal sent last may be stored without that its acknowledgement came back in time.
    assert len(found.keys() - acknowledged.keys()) <= len({name for name, _ in acknowledged}), "readings that nobody sent"
    return len(acknowledged.keys() - found.keys())


def _drain(host: Host, lost: Site, home: Site) -> Iterator[str]:
    """Drain the lost daemon's journal from another host, killing the command again and again; then once more to the end."""
    command = host.command(
        sys.executable, "-c", "from pipelines.cli.main import main; main()", "journal", "drain", lost.root, "--site", home.root
    )
    kills = 0
    for number in range(MOST_KILLS):
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(
            lambda process=process: process.poll() is not None or is_held(lost.state / "daemon.lock"), "it drains", START_S
        )
        try:
            process.wait(0.25 * number)  # it has begun
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            break
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LONG_S)
        assert done.returncode == 0, done.stdout + done.stderr
        yield f"drained after {kills} kills: {'; '.join(done.stdout.strip().splitlines())}"
    assert "nothing left to drain" in done.stdout, "the second run has nothing to do"


def _alarms(acknowledged: dict[tuple[str, datetime], int], began: datetime) -> str:
    """Compare the alarms in PostgreSQL with what was acknowledged. Raises `AssertionError`."""
    expected: set[tuple[str, datetime, datetime | None]] = set()
    for name, at in acknowledged:
        number, count = int(name) - FIRST_TERMINAL, int((at - began).total_seconds() // 60)
        if reading(number, count, began)[1]:
            over = at + timedelta(minutes=1)
            expected.add((f"M{name}", at, over if (name, over) in acknowledged else None))
    with psycopg.connect(dsn()) as connection:
        rows = connection.execute("select meter, raised_at, cleared_at from ops.alarm where code = 'MAG'").fetchall()
        (events,) = connection.execute("select count(*) from ops.alarm_event").fetchone() or (0,)
        history = connection.execute("select count(*) from ops.alarm_history where event = 'raised'").fetchone()
    ends = {(meter, raised_at) for meter, raised_at, _ in expected}
    assert len(rows) == len({row[:2] for row in rows}), "an alarm is there twice"
    assert not expected - {*rows} - {row for row in expected if row[2] is None}, (
        f"alarms are missing or differ: {expected - {*rows}}"
    )
    assert len({row[:2] for row in rows} - ends) <= len({name for name, _ in acknowledged}), "alarms that nobody raised"
    assert history and history[0] == len(rows), f"{history} raised in the history, {len(rows)} alarms"
    return f"{len(rows):,} alarms in PostgreSQL, each raised once and over when it was; {events} events"


def main() -> int:
    """Exit code 1 where anything is lost or twice."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.region_trial",
        description="two daemons behind HAProxy, on hosts of their own: killed, cut off, drained",
        epilog="example: python -m tests.region_trial --terminals 200 --seconds 90",
    )
    parser.add_argument("--terminals", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=90.0, help="so long terminals report (90)")
    parser.add_argument("--store", choices=("influxdb", "lake"), default="lake", help="raw store that both daemons share (lake)")
    parser.add_argument("--report", type=Path, help="file for the report, besides the screen")
    parser.add_argument("--as-terminals", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=datetime.fromisoformat, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_terminals:
        asyncio.run(_terminals(options.terminals, options.began, options.seconds, options.as_terminals))
        return 0
    if os.geteuid():
        parser.error("root is needed for network namespaces")
    program()
    lines: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="mainflow-region-", ignore_cleanup_errors=True) as name,
        hosts() as all_hosts,
        stores(all_hosts["stores"], _opened(Path(name)), options.store) as store,
    ):
        for line in trial(all_hosts, Path(name), store, options.terminals, options.seconds):
            print(line, flush=True)
            lines.append(line)
    if options.report:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _opened(folder: Path) -> Path:
    """PostgreSQL's own user has to come through."""
    folder.chmod(0o755)
    return folder


if __name__ == "__main__":
    sys.exit(main())

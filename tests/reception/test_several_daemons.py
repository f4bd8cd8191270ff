"""Several daemons behind a balancer, one raw store, one database: who moves is one terminal, a lost daemon is drained.

HAProxy where it is installed; else a stand-in that picks a daemon and writes the PROXY header. The InfluxDB is a fake one.
"""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner

from benchmarks import balancer
from benchmarks.balancer import Backend
from benchmarks.figures import Unable
from ingest_daemon.contract.ownership import claim
from ingest_daemon.contract.schema import TIMESTAMP
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.forwarding.triage import clock_offsets
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.reader import backlog, segments
from ingest_daemon.journal.records import ALARM, DATA, STRANGER, Record
from ingest_daemon.journal.share import note_share
from ingest_daemon.journal.writer import Journal
from pipelines.cli.main import main
from tests.daemon_helpers import REPOSITORY, TERMINALS, Client, Daemon, alarm_events, eventually, frame, make_site, minutes_ago
from tests.daemon_helpers import STRANGER as ALIEN
from tests.fake_influxdb import FakeInflux
from tests.forwarding.test_alarm_words import data_frame
from tests.influx_server import free_ports

NAMES = ("north", "south")
LINE = re.compile(r'reading,terminal=(\d+) .*stream="([^"]+)",frame=(\d+)i.* (\d+)$')
NOWHERE = "host=127.0.0.1 port=1"
HEADER = b"PROXY TCP4 10.9.8.7 10.0.0.1 56324 4000\r\n"


def member(root: Path, name: str, influx: FakeInflux, dsn: str) -> Site:
    """The site of one of several daemons of a utility: one registry, a store and a database that they share."""
    store = f"[store]\nkind = 'influxdb'\ninflux_url = '{influx.url}'\nshare = '{name}'\n"
    return make_site(root / name, f"{store}[postgres]\ndsn = '{dsn}'\n", proxy_protocol="true")  # type: ignore[arg-type]


@pytest.fixture
def influx() -> Iterator[FakeInflux]:
    fake = FakeInflux()
    yield fake
    fake.stop()


def direct(port: int) -> Client:
    """A connection to one of the daemons as the balancer makes it."""
    client = Client(port)
    client.send(HEADER)
    return client


class Balancer:
    """HAProxy, or a stand-in for it: what terminals connect to."""

    def __init__(self, folder: Path, daemons: Mapping[str, Daemon], stack: ExitStack) -> None:
        ports = [(each.data_port, each.alarm_port, each.health_port) for each in daemons.values()]
        self._ports, self.turn = [data for data, *_ in ports], 0
        self.port = 0
        backends = [Backend(name, "127.0.0.1", *three) for name, three in zip(daemons, ports, strict=True)]
        try:
            self.port, alarm_port = free_ports(2)
            stack.enter_context(balancer.balancer(folder, backends, self.port, alarm_port))
            eventually(lambda: is_open(self.port), "HAProxy listens")
        except Unable:
            self.port = 0

    def connect(self) -> Client:
        """A terminal's connection. Raises `OSError` where no daemon answers."""
        if self.port:
            return Client(self.port)
        for _ in self._ports:
            self.turn += 1
            try:
                return direct(self._ports[self.turn % len(self._ports)])
            except OSError:
                continue
        raise ConnectionError("no daemon answers")

    def report(self, raw: bytes) -> None:
        """Send a frame until it is acknowledged, as a terminal does."""

        def is_acknowledged() -> bool:
            try:
                client = self.connect()
                client.send(raw)
                client.acknowledged(1)
                client.close()
            except OSError:
                return False
            return True

        eventually(is_acknowledged, "an acknowledgement")


def drain(lost: Site, home: Site, *options: str, code: int = 0) -> str:
    """What `mainflow journal drain` says."""
    words = ["journal", "drain", str(lost.root), "--site", str(home.root), *options]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, words)
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.output


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def points(influx: FakeInflux) -> dict[tuple[str, int], set[str]]:
    """Each point of the store with the streams it came from."""
    found: dict[tuple[str, int], set[str]] = {}
    for line in list(influx.lines):
        terminal, stream, _, at_ms = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
        found.setdefault((terminal, int(at_ms)), set()).add(stream)
    return found


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def alarms(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass('ops.alarm')").fetchone() == (None,):
            return []
        return connection.execute("select meter, code, raised_at, cleared_at from ops.alarm order by raised_at").fetchall()


def test_what_a_lost_daemon_acknowledged_is_drained_once_and_its_alarms_are_told_once(
    tmp_path: Path, influx: FakeInflux, dsn: str
) -> None:
    north, south = member(tmp_path, "north", influx, NOWHERE), member(tmp_path, "south", influx, dsn)
    acknowledged: set[tuple[str, int]] = set()
    now = minutes_ago(0)
    raised, between, again, cleared = (now - timedelta(minutes=minutes) for minutes in (8, 6, 4, 2))
    with ExitStack() as stack:
        daemons = {site.root.name: Daemon(site) for site in (north, south)}
        for daemon in daemons.values():
            stack.callback(daemon.kill)
        balanced = Balancer(tmp_path, daemons, stack)

        def report(minutes: int) -> None:
            """Each terminal sends a reading by the balancer."""
            at = now - timedelta(minutes=minutes)
            for number, terminal in enumerate(TERMINALS):
                balanced.report(frame(terminal, at, 100.0 - minutes + number, sequence=minutes))
                acknowledged.add((terminal, milliseconds(at)))

        report(20)
        report(19)
        lines = {name: direct(daemon.alarm_port) for name, daemon in daemons.items()}

        def tell(name: str, at: datetime, *active: str) -> None:
            lines[name].send(frame(TERMINALS[0], at, 1, alarms=active))
            lines[name].acknowledged(1)
            acknowledged.add((TERMINALS[0], milliseconds(at)))

        tell("north", raised, "MAG")
        tell("north", again, "MAG")  # what was between went to the other daemon
        assert all(backlog(site)[DATA] for site in (north, south)), "both have received, the store is away"
        refused = drain(north, south, code=2)
        assert "already runs on" in refused

        daemons["north"].kill()
        report(18)  # terminals call again, and the other daemon takes them
        tell("south", raised, "MAG")  # its acknowledgement was lost, so it comes a second time
        tell("south", between)
        tell("south", cleared)
        influx.start()
        eventually(lambda: backlog(south)[DATA] == 0 and len(alarms(dsn)) == 1, "the other daemon has delivered")
        assert acknowledged - points(influx).keys(), "what the lost daemon has, is not there yet"

        first = drain(north, south)
        assert "north: 接管帧 / frames drained: alarm 2, data" in first
        assert "nothing left to drain" in drain(north, south)
        assert points(influx).keys() == acknowledged
        assert set().union(*points(influx).values()) == {f"{name}/{stream}" for name in NAMES for stream in (DATA, ALARM)}
        assert points(influx)[TERMINALS[0], milliseconds(raised)] == {"north/alarm", "south/alarm"}, "received twice, one point"
        meter = f"M{TERMINALS[0]}"
        assert alarms(dsn) == [(meter, "MAG", raised, between), (meter, "MAG", again, cleared)]
        with psycopg.connect(dsn) as connection:
            told = connection.execute("select event, count(*) from ops.alarm_history group by event").fetchall()
        assert dict(told)["raised"] == 2, "none is told twice"


def test_an_alarm_that_one_daemon_heard_raised_is_over_when_the_other_hears_so(
    tmp_path: Path, influx: FakeInflux, dsn: str
) -> None:
    influx.start()
    with psycopg.connect(dsn) as connection:
        claim(connection, "5" * 32)  # the site that makes the figures was there first
    now, minute = minutes_ago(60), iter(range(60))
    with ExitStack() as stack:
        lines = {}
        for name in NAMES:
            daemon = Daemon(member(tmp_path, name, influx, dsn))
            stack.callback(daemon.kill)
            lines[name] = direct(daemon.data_port)

        def report_until(name: str, active: tuple[str, ...], states: list[bool]) -> None:
            """The terminal reports to one daemon until its alarms are open and over as given."""

            def is_reached() -> bool:
                lines[name].send(data_frame(now + timedelta(minutes=next(minute)), *active))
                lines[name].acknowledged(1)
                time.sleep(0.5)
                return [cleared_at is not None for *_, cleared_at in alarms(dsn)] == states

            eventually(is_reached, f"alarms {states} after {active} at {name}")

        report_until("north", ("MAG",), [False])
        report_until("south", (), [True])  # which never heard of it
        report_until("north", ("MAG",), [True, False])  # which heard the same as last, but not what was between
        report_until("south", (), [True, True])
        report_until("north", (), [True, True])
    assert [(event[1], event[2]) for event in alarm_events(dsn)] == [("MAG", "raised"), ("MAG", "cleared")] * 2


@pytest.mark.parametrize(
    ("is_open", "offsets_s", "told"),
    [
        (False, [4000], []),
        (False, [400, 400], [("CLOCK",)]),
        (True, [400], []),
        (True, [10], [()]),
    ],
    ids=["one frame sent again", "off", "still off, as another daemon found", "right again, as no other daemon saw"],
)
def test_a_clock_that_another_daemon_found_wrong_is_judged_on(
    is_open: bool, offsets_s: list[int], told: list[tuple[str, ...]]
) -> None:
    second = 1_000_000
    records = [Record(0, (10_000 + number) * second, 0, b"") for number in range(len(offsets_s))]
    sent = [(10_000 + number - offset) * second for number, offset in enumerate(offsets_s)]
    clocks = pl.DataFrame(
        {"frame": range(len(sent)), "terminal": [TERMINALS[0]] * len(sent), "sent_at": pl.Series(sent).cast(TIMESTAMP)}
    )
    codes = frozenset({"CLOCK"} if is_open else ())
    words = TerminalState().clock_news(clock_offsets(clocks, records), records, 120.0, lambda terminal, origin: codes)
    assert [word.active for word in words] == told


def test_a_journal_without_its_state_is_drained_by_name_and_its_damage_is_named(
    tmp_path: Path, influx: FakeInflux, dsn: str
) -> None:
    influx.start()
    home, lost = member(tmp_path, "south", influx, dsn), Site(tmp_path / "saved")
    fill_journal(lost, 5)
    ((_, path),) = segments(lost.journal / DATA)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40  # in the third record of five
    path.write_bytes(content)
    for wrong, said in (((), "--share NAME"), (("--share", "../north"), "expected a name of this daemon")):
        assert said in drain(lost, home, *wrong, code=2)
    said = drain(lost, home, "--share", "north")
    assert f"data: 损坏 / damaged at {2 * len(content) // 5}: {len(content) // 5} " in said
    assert "frames drained: data 4" in said
    assert set().union(*points(influx).values()) == {"north/data"}
    assert len(points(influx)) == 4
    assert "nothing left to drain" in drain(lost, home)
    assert "is that of 'north'" in drain(lost, home, "--share", "east", code=2)
    assert "there is no journal in" in drain(Site(tmp_path), home, code=2)


def test_what_a_lost_daemon_had_of_a_stranger_is_adopted_once_it_is_registered(
    tmp_path: Path, influx: FakeInflux, dsn: str
) -> None:
    influx.start()
    home, lost = member(tmp_path, "south", influx, dsn), Site(tmp_path / "saved")
    fill_journal(lost, 2, STRANGER, ALIEN)
    assert "UNKNOWN_TERMINAL 2" in drain(lost, home, "--share", "north")
    assert not points(influx)
    with (home.registry / "terminals.csv").open("a") as file:
        file.write(f"{ALIEN},M{ALIEN},,,\n")
    assert "adopted: 2" in drain(lost, home)
    assert [terminal for terminal, _ in points(influx)] == [ALIEN, ALIEN]


def test_a_daemon_whose_name_was_changed_does_not_start_and_says_why(tmp_path: Path, influx: FakeInflux) -> None:
    site = member(tmp_path, "north", influx, NOWHERE)
    note_share(site, "east")
    command = [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 1
    assert "[store] share = 'north', but the journal in" in done.stderr
    assert "is that of 'east'" in done.stderr


def fill_journal(site: Site, count: int, stream: str = DATA, terminal: str = TERMINALS[0]) -> None:
    """A journal with frames of a terminal, of equal length, and nothing else: as it is saved from a broken host."""
    site.journal.mkdir(parents=True)
    opened = Journal(site.journal / stream, 1 << 20)
    for number in range(count):
        raw = frame(terminal, minutes_ago(30 - number), 100.0 + number, sequence=number + 1)
        opened.append(encode_header(RecordHeader("sl651")) + raw, time.time_ns() // 1000)
        opened.commit()
    opened.close()


@pytest.fixture
def haproxy() -> str:
    """The program."""
    try:
        return balancer.program()
    except Unable as error:
        pytest.skip(str(error))


def test_haproxy_takes_the_deployed_configuration(haproxy: str) -> None:
    done = subprocess.run([haproxy, "-c", "-f", str(balancer.DEPLOYED)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


class Stub:
    """A stand-in for a daemon: gives its name to each caller, and at `/healthz` what it is told."""

    def __init__(self, name: str, status: int, words: bytes) -> None:
        class Health(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/healthz" else 404)
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *args: object) -> None:
                pass

        class Caller(BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(name.encode())

        self._servers = HTTPServer(("127.0.0.1", 0), Health), ThreadingTCPServer(("127.0.0.1", 0), Caller)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        health, data = (server.server_address[1] for server in self._servers)
        self.backend = Backend(name, "127.0.0.1", data, data, health)

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def test_a_daemon_is_taken_out_when_its_journal_refuses_and_not_when_the_store_is_away(tmp_path: Path, haproxy: str) -> None:
    port, alarm_port = free_ports(2)
    stubs = [
        Stub("journal-refuses", 503, b"journal: the disk is full\nstore: away\n"),
        Stub("store-away", 503, b"store: away\n"),
        Stub("well", 200, b"ok\n"),
    ]
    with ExitStack() as stack:
        for stub in stubs:
            stack.callback(stub.stop)
        stack.enter_context(balancer.balancer(tmp_path, [stub.backend for stub in stubs], port, alarm_port))
        eventually(lambda: is_open(port), "HAProxy listens")

        def callers() -> set[str]:
            found = set()
            for _ in range(2 * len(stubs)):
                with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
                    found.add(caller.recv(100).decode())
            return found

        eventually(lambda: "journal-refuses" not in callers(), "its journal refuses")
        time.sleep(2.5)  # longer than it takes to find a daemon gone
        assert callers() == {"store-away", "well"}

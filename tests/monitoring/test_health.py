"""Who watches the daemon: /healthz and /metrics over real sockets, and what systemd is told."""

import json
import os
import re
import socket
import time
from pathlib import Path

import pytest

from ingest_daemon.contract import kept, locks
from ingest_daemon.contract.http import HEAD_BYTES
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import stream_end, waiting_since
from ingest_daemon.journal.records import BAD
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.monitoring.health import exposition
from ingest_daemon.monitoring.systemd import notify, watchdog_s
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    Daemon,
    counted,
    delivered,
    eventually,
    frame,
    minutes_ago,
    running,
)

ROOT = Path(__file__).parents[2]
METER = TERMINALS[0]


def figures(daemon: Daemon) -> dict[str, float]:
    """Every sample of /metrics; each line must be one or a type."""
    status, text = daemon.get("/metrics")
    assert status == 200
    found = {}
    for line in text.splitlines():
        if re.fullmatch(r"# TYPE mainflow_\w+ (counter|gauge)", line):
            continue
        sample = re.fullmatch(r'mainflow_(\w+(?:\{\w+="[\w-]+"\})?) (\S+)', line)
        assert sample, line
        assert sample[1] not in found
        found[sample[1]] = float(sample[2])
    return found


def test_a_daemon_that_is_well_says_so_and_its_figures_are_those_of_what_came(site: Site) -> None:
    with running(site) as daemon:
        assert daemon.get("/healthz") == (200, "ok\n")
        empty = figures(daemon)
        assert empty["readings_stored_total"] == empty["terminals_seen"] == 0
        assert "last_contact_age_seconds" not in empty
        client = Client(daemon.data_port)
        ts = minutes_ago(5)
        client.send(frame(METER, ts, 1, sequence=1) + frame(METER, ts, 1, sequence=2) + frame(STRANGER, ts, 1, sequence=3))
        client.send(frame(METER, ts, 1, sequence=4, alarms=["MAG"]) + b"rubbish")
        client.acknowledged(4)
        eventually(lambda: stream_end(site.journal / BAD), "the rubbish is journaled")
        delivered(site)
        counted(site, "duplicates", 2)
        seen = figures(daemon)
        wanted = {
            'frames_total{stream="data"}': 2,
            'frames_total{stream="stranger"}': 1,
            'frames_total{stream="alarm"}': 1,
            "frames_acknowledged_total": 4,
            "frames_refused_total": 0,
            'rejected_total{reason="NOISE"}': 1,
            'quarantined_total{reason="UNKNOWN_TERMINAL"}': 1,
            "readings_stored_total": 1,
            "readings_duplicate_total": 2,
            "connections": 1,
            "terminals_seen": 1,
            'healthy{part="journal"}': 1,
            'healthy{part="store"}': 1,
            'backlog_bytes{reader="data"}': 0,
            'lag_seconds{reader="data"}': 0,
        }
        assert {name: seen[name] for name in wanted} == wanted
        assert 0 <= seen["last_contact_age_seconds"] < 60
        # No PostgreSQL runs here: alarm events wait, readings do not, and the daemon is well.
        eventually(lambda: figures(daemon)['healthy{part="postgres"}'] == 0, "PostgreSQL's absence shows")
        assert seen['backlog_bytes{reader="alarm-events"}'] > 0
        assert daemon.get("/healthz")[0] == 200


def test_with_the_store_away_it_answers_503_with_the_sentence_and_200_again_when_it_is_back(site: Site) -> None:
    site.raw.write_text("a file where the archive's folder must be")
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(3), 5))
        client.acknowledged(1)
        status, text = eventually(lambda: (said := daemon.get("/healthz"))[0] != 200 and said, "it is said")
        assert status == 503
        assert text.startswith("store: the Parquet archive ")
        waiting = figures(daemon)
        assert waiting['backlog_bytes{reader="data"}'] == stream_end(site.journal / "data")
        assert 0 < waiting['lag_seconds{reader="data"}'] < 60
        assert waiting['healthy{part="store"}'] == 0
        site.raw.unlink()
        delivered(site)
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "it is well again")


REQUESTS = [
    pytest.param(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"405", id="not GET"),
    pytest.param(b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", b"404", id="another page"),
    pytest.param(b"hello\r\n\r\n", b"400", id="no HTTP"),
    pytest.param(b"GET /" + b"x" * HEAD_BYTES, b"413", id="too long"),
    pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200", id="as browsers ask"),
]


def test_a_process_beside_it_that_ended_makes_503_until_it_runs_again(site: Site) -> None:
    def tell(pid: int | None) -> None:
        child = {"pid": pid, "restarts": 1, "ended": "signal 9"}
        kept.file(site).write_text(json.dumps({"pid": 1, "at": time.time() + 3600, "children": {"postgres": child}}))

    with running(site) as daemon:
        tell(None)
        assert daemon.get("/healthz") == (200, "ok\n"), "nobody keeps any: the file is of a supervisor of before"
        supervisor = locks.take(kept.lock(site))
        assert supervisor is not None
        eventually(lambda: daemon.get("/healthz") == (503, "processes: postgres ended (signal 9)\n"), "the ended one is named")
        tell(4711)
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "it runs again")
        os.close(supervisor)


def test_other_requests_are_refused_and_nobody_who_stalls_holds_anything_up(site: Site) -> None:
    with running(site) as daemon:
        stalled = socket.create_connection(("127.0.0.1", daemon.health_port))
        stalled.sendall(b"GET /heal")
        for request, status in (case.values for case in REQUESTS):
            with socket.create_connection(("127.0.0.1", daemon.health_port), timeout=10) as asking:
                asking.sendall(request)
                assert asking.recv(100).split(b" ")[1] == status, request[:20]
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(3), 5))
        client.acknowledged(1)
        assert daemon.stop() == 0
        stalled.close()
    assert "Traceback" not in daemon.log.read_text()
    assert "exception" not in daemon.log.read_text()


def test_it_listens_on_this_machine_only_and_its_port_is_told(site: Site) -> None:
    with running(site) as daemon:
        assert json.loads((site.state / "daemon.json").read_text())["health_port"] == daemon.health_port
        assert not {daemon.data_port, daemon.alarm_port} & {daemon.health_port}
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", daemon.health_port), timeout=2):
            pass


def test_every_figure_is_in_the_operators_page_and_no_other() -> None:
    counters = Counters(last_contact_us={METER: 1})
    text = exposition(counters.snapshot(), {"data": 0}, {"data": None}, 2)
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split("| `mainflow_…`")[1].split("\nCounters")[0]
    told = {
        name
        for row in section.splitlines()[2:]
        for name in re.findall(r"`(\w+)(?:\{\w+\})?`", row.rpartition("|")[0].partition(" | ")[0])
    }
    assert told == set(re.findall(r"^# TYPE mainflow_(\w+) ", text, re.MULTILINE))


def test_waiting_since_is_the_receive_time_of_the_first_record_behind_the_cursor(site: Site) -> None:
    journals = Journals(site, 1 << 20, 1 << 24)
    assert set(waiting_since(site).values()) == {None}
    for at in (1_780_000_000_000_000, 1_780_000_001_000_000):
        journals.streams["data"].append(b"x", at)
        journals.streams["data"].commit()
    journals.close()
    assert waiting_since(site) == {
        "data": 1_780_000_000_000_000,
        "alarm": None,
        "stranger": None,
        "alarm-events": None,
        "events": None,
        "latest-data": 1_780_000_000_000_000,
        "latest-alarm": None,
    }


# --- systemd ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True], ids=["a file", "an abstract name"])
def test_systemd_is_told_that_it_is_ready_alive_and_stopping(site: Site, abstract: bool) -> None:
    name = f"@mainflow-test-{id(site)}" if abstract else str(site.root / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind("\0" + name[1:] if abstract else name)
        supervisor.settimeout(20)
        daemon = Daemon(site, NOTIFY_SOCKET=name, WATCHDOG_USEC="200000")
        assert [supervisor.recv(100) for _ in range(4)] == [b"READY=1", *[b"WATCHDOG=1"] * 3]
        assert daemon.stop() == 0
        supervisor.setblocking(False)
        rest = []
        with pytest.raises(BlockingIOError):
            while True:
                rest.append(supervisor.recv(100))
        assert set(rest) <= {b"WATCHDOG=1", b"STOPPING=1"}
        assert rest.count(b"STOPPING=1") == 1


def test_without_a_supervisor_nothing_is_told_and_one_that_went_stops_nobody(tmp_path: Path) -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [({}, None), ({"WATCHDOG_USEC": "60000000"}, 30.0), ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None)],
    ids=["not watched", "watched", "another process is"],
)
def test_the_watchdog_is_told_at_half_its_time(environment: dict[str, str], every_s: float | None) -> None:
    assert watchdog_s(environment) == every_s

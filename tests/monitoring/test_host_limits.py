"""A host that allows few open files: connections are cut, the rest of the daemon goes on."""

import re
import resource
import socket

import pytest

from ingest_daemon.contract.site import Site
from ingest_daemon.monitoring.host_limits import OWN_FILES, allowed_connections
from tests.daemon_helpers import TERMINALS, Client, Daemon, eventually, frame, minutes_ago


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections"),
    [
        pytest.param(1024, 65536, 500, 500, id="enough"),
        pytest.param(1024, 65536, 20000, 20000, id="the soft limit is raised"),
        pytest.param(1024, 4096, 20000, 4096 - OWN_FILES, id="cut to the hard limit"),
        pytest.param(4096, 4096, 20000, 4096 - OWN_FILES, id="soft and hard are the same"),
        pytest.param(300, 300, 20000, 150, id="half of a very low limit"),
    ],
)
def test_connections_are_what_the_hard_limit_of_open_files_allows(
    soft: int, hard: int, wanted: int, connections: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert allowed_connections(wanted) == connections
    for limits in raised:
        assert soft < limits[0] <= limits[1] == hard
    needed = min(hard, wanted + OWN_FILES)
    assert (raised[-1][0] if raised else soft) >= needed
    assert bool(caplog.text) == (connections < wanted)
    if caplog.text:
        assert {str(wanted), str(connections), str(hard)} <= set(re.findall(r"\d+", caplog.text))


def test_with_more_callers_than_files_health_answers_and_an_honest_terminal_is_served(site: Site) -> None:
    callers: list[socket.socket] = []
    daemon = Daemon(site, open_files=300)
    try:
        assert "[daemon] connections = 20000 is cut to 150" in daemon.log.read_text()
        client = Client(daemon.data_port)
        client.send(frame(TERMINALS[0], minutes_ago(3), 5))
        client.acknowledged(1)
        for _ in range(400):
            caller = socket.socket()
            caller.settimeout(5)
            caller.connect(("127.0.0.1", daemon.data_port))
            callers.append(caller)
        assert daemon.get("/healthz") == (200, "ok\n")
        client.send(frame(TERMINALS[0], minutes_ago(2), 6, sequence=2))
        client.acknowledged(1)
        turned_away = re.compile(r"connections_turned_away_total (\d+)")
        eventually(lambda: int(turned_away.findall(daemon.get("/metrics")[1])[0]) >= 250, "the others are turned away")
    finally:
        for caller in callers:
            caller.close()
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()

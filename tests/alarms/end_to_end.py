"""An alarm from the socket to its answer, in real processes: daemon, PostgreSQL, Dagster, Grafana, desk, Chromium.

    GRAFANA_HOME=/usr/share/grafana python -m tests.alarms.end_to_end --tries 50

prints how long notifications take. The test of one alarm is `test_end_to_end.py`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg
import requests

from dashboards import provisioning
from ingest_daemon.contract.files import glance, read_json
from ingest_daemon.contract.site import Site
from pipelines.processes import servers
from tests.chain import COMMAND, FREE_PORTS
from tests.daemon_helpers import TERMINALS, Client, eventually, frame
from tests.site_helpers import TERMINAL, series
from tests.up_helpers import free_port

PASSWORD = "a pass:word of the test"
READY_S = 240.0


class Hook:
    """A stand-in for whoever is told: keeps each alert that Grafana posts, with the time of its arrival."""

    def __init__(self) -> None:
        self.alerts: list[tuple[float, dict[str, Any]]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.alerts += [(time.monotonic(), alert) for alert in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alarms"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def about(self, alarm_id: int, status: str) -> list[tuple[float, dict[str, Any]]]:
        """The alerts of an alarm in a state."""
        return [
            (at, alert) for at, alert in self.alerts if (alert["labels"].get("alarm"), alert["status"]) == (str(alarm_id), status)
        ]


class Whole(NamedTuple):
    """A site that runs."""

    site: Site
    alarm_port: int
    dsn: str
    desk: str
    hook: Hook

    def tell(self, terminal: str, codes: list[str]) -> None:
        """An alarm frame of a terminal, acknowledged."""
        client = Client(self.alarm_port)
        client.send(frame(terminal, datetime.now(UTC).replace(microsecond=0), 1, alarms=codes))
        client.acknowledged(1)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[call-overload]

    def alarm_of(self, terminal: str, code: str) -> int:
        """The number of the newest alarm of a meter and code, as soon as it is there."""
        query = "select alarm_id from ops.alarm where meter = %s and code = %s order by alarm_id desc limit 1"
        return int(eventually(lambda: self.rows(query, f"M{terminal}", code), "the alarm is a row", 60)[0][0])


@contextmanager
def running(folder: Path, home: Path, users: Mapping[str, str]) -> Iterator[Whole]:
    """`mainflow up` with Grafana on a site of eight terminals with readings; `users`: role by login, all with `PASSWORD`."""
    from tests.site_helpers import make_site

    terminals = [{**TERMINAL, "terminal": name, "meter": f"M{name}"} for name in TERMINALS]
    site = make_site(
        folder / "site",
        terminals,
        series(TERMINALS[0], datetime.now(UTC) - timedelta(days=1), 24, timedelta(hours=1), lambda _: 10.0),
    ).folder
    hook = Hook()
    port = free_port()
    environment = {
        **os.environ,
        **FREE_PORTS,
        "GRAFANA_HOME": str(home),
        "MAINFLOW_SERVERS_DAGSTER_PORT": free_port(),
        "MAINFLOW_SERVERS_GRAFANA_PORT": port,
        "MAINFLOW_SERVERS_ALERT_WEBHOOK": hook.url,
    }
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "up", "--site", str(site.root)], env=environment, stdout=output, stderr=output)
    try:
        eventually(lambda: "Ctrl-C" in log.read_text(errors="replace") or process.poll() is not None, "everything runs", READY_S)
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        admin = ("admin", provisioning.admin_password(site.grafana))
        grafana = f"http://127.0.0.1:{port}"
        for login, role in users.items():
            user = {"login": login, "password": PASSWORD, "OrgId": 1}
            made = requests.post(f"{grafana}/api/admin/users", json=user, auth=admin, timeout=30).json()
            place = f"{grafana}/api/orgs/1/users/{made['id']}"
            requests.patch(place, json={"role": role}, auth=admin, timeout=30).raise_for_status()
        desk = eventually(lambda: glance(site.state / "desk.json", lambda own: int(own["port"])), "the desk serves", 60)
        dsn = (read_json(site.state / "postgres.json") or {})["dsn"]
        daemon = read_json(site.state / "daemon.json") or {}
        yield Whole(site, daemon["alarm_port"], dsn, f"http://127.0.0.1:{desk}", hook)
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """Measure from the acknowledgement of an alarm frame to its notification."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    options = parser.parse_args()
    home = servers.grafana_home()
    if home is None:
        raise SystemExit("needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH")
    with tempfile.TemporaryDirectory() as name, running(Path(name), home, {}) as whole:
        waited = []
        for number in range(options.tries):
            terminal = TERMINALS[number % len(TERMINALS)]
            code = ("MAG", "DOOR", "SENSOR", "MAINS", "EMPTY")[number // len(TERMINALS) % 5]
            whole.tell(terminal, [code])
            began = time.monotonic()
            alarm_id = whole.alarm_of(terminal, code)
            ((at, _),) = eventually(lambda alarm_id=alarm_id: whole.hook.about(alarm_id, "firing"), "it is told", 120)
            waited.append(at - began)
            whole.tell(terminal, [])
            print(f"{number + 1}: {waited[-1]:.1f} s", flush=True)
        twice = [number for number in {alert["labels"].get("alarm") for _, alert in whole.hook.alerts} if number]
        most = max(len(whole.hook.about(int(number), "firing")) for number in twice)
        print(
            f"frame acknowledged → webhook: median {median(waited):.1f} s, worst {max(waited):.1f} s of {len(waited)}; "
            f"notices of one alarm that fires: at most {most}"
        )


if __name__ == "__main__":
    main()

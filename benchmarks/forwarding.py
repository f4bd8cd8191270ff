"""Forwarding into a real InfluxDB against the same bodies made beforehand and only posted (P6)."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from benchmarks import workload
from benchmarks.figures import Figure, Unable, at_least, at_most, ratios
from benchmarks.machine import cpu_s, used_between
from benchmarks.parties import RECEPTION, is_forwarded, wait_for
from benchmarks.run import AWAY, Run
from benchmarks.workload import RECORDS
from ingest_daemon import operations
from ingest_daemon.contract.site import Site
from tests.influx_server import missing, running_influxdb

CONNECTIONS = 500
DAYS_A_SECOND = 8
"""Days of each connection that are journaled a second of a round: 384,000 readings."""

LEAST_DAYS = 6
"""Two groups of the forwarder."""

POSTERS = 3
"""Connections of the ceiling: with more InfluxDB takes hardly more."""

LONG_S = 600.0
NO_DATABASES = b"name,tags,name\ndatabases,,_internal\n"
"""How InfluxDB ends the answers that the store waits for."""


class Post(NamedTuple):
    """One request to `/write` as the store made it."""

    parameters: dict[str, str]
    body: bytes


class Forwarded(NamedTuple):
    """Readings a second, and own CPU (µs a reading) of all threads but the reception's."""

    readings_s: float
    cpu_us: float


def forwarding(run: Run) -> list[Figure]:
    """P6: a backlog into InfluxDB through the daemon, against the same bodies prebuilt. Raises `Unable` without influxd."""
    if reason := missing():
        raise Unable(reason)
    days = max(LEAST_DAYS, round(run.seconds * DAYS_A_SECOND))
    readings = CONNECTIONS * days * RECORDS
    ours, one, many, alone = [], [], [], []
    with run.site(CONNECTIONS, store=AWAY) as site:
        with run.parties.daemon(site, clean=True) as server:
            run.parties.load(server, run.days(workload.SINGLE), "-c", CONNECTIONS, "-l", days, "-s", LONG_S)
        with _recorder() as (url, posts):
            alone.append(_forward(run, site, url, "recorded", readings))
        lines = [post for post in posts if post.parameters["precision"] == "ms"]
        with running_influxdb(run.folder / "influx") as url:
            for number in run.each_round("P6"):
                ours.append(_forward(run, site, url, f"ours{number}", readings))
                if (held := _held(url, f"ours{number}")) != readings:
                    raise RuntimeError(f"InfluxDB holds {held:,} readings, expected {readings:,}")
                one.append(_post(url, f"one{number}", lines, 1, readings))
                many.append(_post(url, f"many{number}", lines, POSTERS, readings))
    size = f"{readings:,} readings of 3 fields, {len(lines)} bodies"
    rate = [each.readings_s for each in ours]
    return [
        Figure("P6", "bodies prebuilt, 1 connection", one, "readings/s", None, size),
        Figure("P6", f"bodies prebuilt, {POSTERS} connections", many, "readings/s", None, size),
        Figure("P6", "daemon into InfluxDB", rate, "readings/s", None, size),
        Figure("P6", "daemon, of the prebuilt bodies' rate with 1 connection", ratios(rate, one), "", at_least(0.95)),
        Figure("P6", f"daemon, of the prebuilt bodies' rate with {POSTERS} connections", ratios(rate, many), ""),
        Figure("P6", "daemon: own CPU of forwarding a reading", [each.cpu_us for each in ours], "µs", at_most(0.5)),
        Figure("P6", "daemon into a server that takes everything at once", [each.readings_s for each in alone], "readings/s"),
    ]


def _forward(run: Run, site: Site, url: str, database: str, readings: int) -> Forwarded:
    """Let a daemon bring the whole journal into a database. Raises `RuntimeError` where it does not."""
    for cursor in site.state.glob("*.json"):
        cursor.unlink()
    environment = {
        "MAINFLOW_STORE_KIND": "influxdb",
        "MAINFLOW_STORE_INFLUX_URL": url,
        "MAINFLOW_STORE_INFLUX_DATABASE": database,
    }
    with run.parties.daemon(site, environment) as server:
        # The first group is left out: a process that has just started loads its libraries then.
        wait_for(lambda: operations.cursor(site, "data"), "the first group is forwarded", LONG_S, 0.002)
        began, before, first = time.perf_counter(), cpu_s(server.pid), operations.cursor(site, "data")
        wait_for(lambda: is_forwarded(site), "all is forwarded", LONG_S, 0.002)
        took, used = time.perf_counter() - began, used_between(before, cpu_s(server.pid))
        measured = readings * (1 - first / operations.cursor(site, "data"))
    own = sum(value for name, value in used.items() if name not in RECEPTION)
    return Forwarded(measured / took, own * 1e6 / measured)


def _post(url: str, database: str, posts: list[Post], connections: int, readings: int) -> float:
    """Post the bodies in order over some connections into a new database; gives readings a second."""
    address = urlsplit(url).netloc
    _ask(address, {"q": f'CREATE DATABASE "{database}"'})
    waiting = iter(posts)
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(address)
        while True:
            with lock:
                post = next(waiting, None)
            if post is None:
                return
            target = "/write?" + urlencode({**post.parameters, "db": database})
            connection.request("POST", target, post.body, {"Content-Encoding": "gzip", "Content-Type": "text/plain"})
            answer = connection.getresponse()
            words = answer.read()
            if answer.status != 204:
                raise RuntimeError(f"InfluxDB answered {answer.status} to a prebuilt body: {words[:200]!r}")

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(work) for _ in range(connections)]:
            done.result()
    return readings / (time.perf_counter() - began)


def _held(url: str, database: str) -> int:
    """Readings that the database has."""
    answer = json.loads(_ask(urlsplit(url).netloc, {"db": database, "q": 'SELECT count("forward_m3") FROM "reading"'}))
    return int(answer["results"][0]["series"][0]["values"][0][1])


def _ask(address: str, parameters: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(address)
    connection.request("POST", f"/query?{urlencode(parameters)}")
    answer = connection.getresponse().read()
    connection.close()
    return answer


@contextmanager
def _recorder() -> Iterator[tuple[str, list[Post]]]:
    """An InfluxDB that keeps what is posted to it and takes it at once: so the bodies are exactly those that the daemon makes."""
    posts: list[Post] = []

    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith("/write"):
                posts.append(Post(dict(parse_qsl(urlsplit(self.path).query)), body))
            self._answer(204 if self.path.startswith("/write") else 200, b"")

        def do_GET(self) -> None:
            self._answer(200, NO_DATABASES)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", posts
    finally:
        server.shutdown()
        server.server_close()

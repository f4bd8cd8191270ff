"""A fake InfluxDB for tests, a site that uses it, and a daemon that does not wait as long as on a site."""

import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from ingest_daemon.contract.site import Site
from tests.daemon_helpers import Daemon, make_site
from tests.influx_server import free_ports

QUICK = """
import ingest_daemon.forwarding.sinks
import ingest_daemon.stores.influxdb

ingest_daemon.forwarding.sinks.WAIT_S = (0.1, 0.3)
ingest_daemon.stores.influxdb.TIMEOUT_MS = (500, 500)
"""
"""Put before the daemon, so that a test need not wait as long as a site does."""


class Answer(NamedTuple):
    """What the fake answers. `status` 0: nothing, the connection ends within the answer's head."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = {}


Trouble = Callable[[str, list[str]], Answer | tuple[int, str] | None]
"""Answer to a request by its path and its lines; None for the usual one. It may also take its time."""


class FakeInflux:
    """A fake InfluxDB, and its name says so: takes lines and gives none back; `trouble` answers first."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        """Lines of `reading` that were taken, in order."""
        self.writes = 0
        """Requests to `/write`."""
        self.trouble: Trouble = lambda path, lines: None
        self.takes_gzip = True
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            server_version = "FakeInfluxDBOfTheTests"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                packed = self.headers.get("Content-Encoding") == "gzip"
                lines: list[str] = []
                if self.path.startswith("/write"):
                    fake.writes += 1
                    if packed and not fake.takes_gzip:
                        self._answer(Answer(415, "Unsupported Media Type"))
                        return
                    lines = (gzip.decompress(raw) if packed else raw).decode().split("\n")
                answer = fake.trouble(self.path, lines)
                if answer is None:
                    fake.lines += [line for line in lines if line.startswith("reading,")]
                    answer = (204, "") if lines else (200, '{"results":[{}]}')
                self._answer(Answer(*answer))

            def do_GET(self) -> None:
                self._answer(Answer(*(fake.trouble(self.path, []) or (200, "name,tags,name\ndatabases,,mainflow\n"))))

            def _answer(self, answer: Answer) -> None:
                if not answer.status:
                    self.wfile.write(b"HTTP/1.1 20")
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body.encode())), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def influx_site(root: Path, url: str, **daemon: float) -> Site:
    """A site whose raw store is the InfluxDB at an address; `daemon`: more settings of that section."""
    site = make_site(root / "site", f"[store]\nkind = 'influxdb'\ninflux_url = '{url}'\n[site]\nzone = 'UTC'\n", **daemon)
    hook = root / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(QUICK)
    return site


@contextmanager
def running(site: Site) -> Iterator[Daemon]:
    """A daemon with `QUICK`, for the length of a test."""
    path = f"{site.root.parent / 'hook'}:{Path(__file__).parents[1]}"
    daemon = Daemon(site, PYTHONPATH=path)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.kill()

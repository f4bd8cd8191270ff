"""What the daemon's tests share: a site in a folder, frames as terminals send them, a real daemon process, a real client."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from ingest_daemon.codecs import sl651
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import backlog, stream_end
from ingest_daemon.journal.records import ALARM, DATA
from ingest_daemon.journal.records import STRANGER as STRANGER_STREAM
from ingest_daemon.stores.parquet import ParquetStore

TERMINALS = [f"{number:010d}" for number in range(1001, 1009)]
STRANGER = "0000009999"
REPOSITORY = Path(__file__).parents[1]
SECRET = "sesame-sesame-sesame"
"""Of the SMS channel, where a test has one."""


def make_site(root: Path, more: str = "", **daemon: float) -> Site:
    """A site with free ports, eight terminals and the Parquet archive; `more`: what follows `[daemon]` in its settings."""
    site = Site(root)
    site.registry.mkdir(parents=True, exist_ok=True)
    settings = {"data_port": 0, "alarm_port": 0, "health_port": 0, **daemon}
    site.settings.write_text("[daemon]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()) + more)
    lines = [f"{terminal},M{terminal},0.14,0.60,20" for terminal in TERMINALS]
    header = "terminal,meter,pressure_low_mpa,pressure_high_mpa,q4_m3h"
    (site.registry / "terminals.csv").write_text("\n".join([header, *lines]) + "\n")
    return site


def frame(
    terminal: str,
    ts: datetime,
    forward_m3: float,
    *,
    sequence: int = 1,
    sent_at: datetime | None = None,
    alarms: Sequence[str] | None = None,
    **fields: float,
) -> bytes:
    """One reading as a terminal reports it; `alarms` makes it an event report (33H) with these codes set."""
    readings = pl.DataFrame({"ts": [ts], "forward_m3": [forward_m3], **{name: [value] for name, value in fields.items()}})
    function = sl651.TIMED if alarms is None else sl651.EVENT
    sent = sent_at or datetime.now(UTC)
    (raw,) = sl651.reports(terminal, readings, sent_at=sent, sequence=sequence, function=function, active=alarms)
    return raw


def minutes_ago(minutes: int) -> datetime:
    """A whole minute in the past."""
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes)


class Daemon:
    """A real daemon process on a site."""

    def __init__(self, site: Site, open_files: int | None = None, **environment: str) -> None:
        """`open_files`: the process's limit of open files, soft and hard."""
        limits = ["prlimit", f"--nofile={open_files}:{open_files}"] if open_files else []
        self.site = site
        self.log = site.root / "daemon.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*limits, sys.executable, "-m", "ingest_daemon", "--site", str(site.root)],
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, **environment},
            )
        address = eventually(self._address, "the daemon listens")
        self.data_port, self.alarm_port = address["data_port"], address["alarm_port"]
        self.health_port = address["health_port"]

    def _address(self) -> Any:
        assert self.process.poll() is None, self.log.read_text()
        told = read_json(self.site.state / "daemon.json")
        return told if told and told["pid"] == self.process.pid else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of `/healthz` or `/metrics`."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> int:
        """A clean stop; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """SIGKILL: nothing can be put in order any more."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(site: Site) -> Iterator[Daemon]:
    """A daemon for the length of a test; stopped cleanly unless the test ended it."""
    daemon = Daemon(site)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.stop()


class Client:
    """A terminal's connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._decoder = sl651.decoder()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def acknowledged(self, count: int) -> list[int]:
        """Sequence numbers of the next `count` acknowledgements. Raises `ConnectionError` where the connection ends before."""
        found: list[int] = []
        while len(found) < count:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed after {len(found)} of {count} acknowledgements")
            for piece in self._decoder.feed(data):
                sequence = sl651.acknowledged_sequence(piece.raw)
                assert sequence is not None
                found.append(sequence)
        return found

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)

    def is_closed(self) -> bool:
        """Whether the other side closes the connection within ten seconds; what it still says is dropped."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


class FakeGateway:
    """A fake SMS gateway: keeps what is posted to it, and answers with what it is told to."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.authorization: list[str | None] = []
        self.statuses: list[int] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = fake.statuses.pop(0) if fake.statuses else 200
                if status == 200:
                    fake.posted.append(body)
                    fake.authorization.append(self.headers["Authorization"])
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"words of the gateway")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/send"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """POST JSON (or bytes as they are); with the secret `SECRET` unless headers are given."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in (headers or {"X_Mainflow_Secret": SECRET}).items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, told)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def known_frames(name: str) -> list[dict[str, Any]]:
    """The known frames beside the repository, by the name of their file; the test is skipped where they are absent."""
    path = REPOSITORY.parent / "shared" / "data" / "frames" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"the known frames are not here: {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_json(path: Path) -> Any:
    """A JSON file, None while it is absent."""
    return json.loads(path.read_text()) if path.exists() else None


def eventually(found: Callable[[], Any], what: str, within_s: float = 20.0) -> Any:
    """The first true result; fails with `what` was waited for when it does not come."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError(f"waited {within_s} s in vain: {what}")


def stored(site: Site) -> pl.DataFrame:
    """All readings in the raw store."""
    return ParquetStore(site.raw).read(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def forwarded(site: Site) -> bool:
    """Whether all that is journaled reached the raw store."""
    left = backlog(site)
    streams = DATA, ALARM, STRANGER_STREAM
    return all(left[stream] == 0 for stream in streams) and any(stream_end(site.journal / stream) for stream in streams)


def delivered(site: Site) -> pl.DataFrame:
    """The raw store once everything is forwarded."""
    eventually(lambda: forwarded(site), "everything is forwarded")
    return stored(site)


def counted(site: Site, key: str, value: Any) -> Any:
    """The daemon's counters once the one named has the value."""
    path = site.state / "counters.json"
    return eventually(lambda: (told := read_json(path)) and told[key] == value and told, f"{key} is {value} in {path}")


def rows_on_disk(site: Site) -> int:
    """Rows in the archive's files, before points are merged: shows what was written twice."""
    files = list(site.raw.glob("readings/*/*.parquet"))
    return sum(len(pl.read_parquet(file)) for file in files)


def alarm_events(dsn: str) -> list[tuple[Any, ...]]:
    """Alarm events in the order of their time; none while the table is not there."""
    columns = "terminal, code, state, event_at, value, limit_value, unit, origin, meter"
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass('ops.alarm_event')").fetchone() == (None,):
            return []
        return connection.execute(f"select {columns} from ops.alarm_event order by event_at, code").fetchall()


def kept(site: Site, reason: str) -> list[dict[str, Any]]:
    """Lines of a ledger."""
    path = site.quarantine / f"{reason}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def environment_number(name: str, default: int) -> int:
    """A whole number from the environment."""
    return int(os.environ.get(name, default))

"""The processes of a measurement: the daemon on a site, the C echo, and the load that speaks to either.

What is measured with them is in the probes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import Cores, Tools, cpu_s, pinned, used_between
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import backlog

REPOSITORY = Path(__file__).parents[1]

START_S = 60.0
"""A process that is not ready after this has failed."""

RECEPTION = ("python", "journal")
"""Threads of the daemon between socket and acknowledgement: the event loop (the main thread) and the journal's."""

# Python 3.11 does not tell the system its threads' names. With this on PYTHONPATH the daemon's threads carry theirs, so that
# their CPU can be told apart from outside; the daemon's own code is not touched, and nothing happens after a thread's start.
NAMED_THREADS = """
import threading

_begin = threading.Thread._bootstrap_inner


def _named(thread):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
        file.write(thread.name[:15])
    _begin(thread)


threading.Thread._bootstrap_inner = _named
"""


class Used(NamedTuple):
    """CPU seconds of a server while the load measured: all threads, those of reception, the others."""

    all_s: float
    reception_s: float
    other_s: float


@dataclass(frozen=True)
class Measured:
    """The results of a load, and the server's use of resources meanwhile."""

    frames: int
    bad: int
    records: int
    seconds: float
    p50_ms: float
    p99_ms: float
    sessions: int
    used: Used

    @property
    def frames_s(self) -> float:
        """Acknowledged frames a second."""
        return self.frames / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of the whole server a frame (a rejected one counts, too), in µs."""
        return self.used.all_s * 1e6 / max(1, self.frames + self.bad)

    @property
    def reception_us(self) -> float:
        """CPU of the server's reception a frame, in µs."""
        return self.used.reception_s * 1e6 / max(1, self.frames + self.bad)


class Server(NamedTuple):
    """A running server."""

    pid: int
    port: int


@dataclass(frozen=True)
class Parties:
    """Where programs and days lie, who runs on which core."""

    tools: Tools
    cores: Cores
    folder: Path

    @contextmanager
    def echo(self) -> Iterator[Server]:
        """The C echo: the limit."""
        process = subprocess.Popen([self.tools.echo], stdout=subprocess.PIPE, text=True, preexec_fn=pinned(self.cores.server))
        assert process.stdout
        try:
            yield Server(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def daemon(self, site: Site, environment: Mapping[str, str] | None = None, *, clean: bool = False) -> Iterator[Server]:
        """A daemon process on the site. At the end it is killed, or (`clean`) told to stop."""
        hook = self.folder / "named"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(NAMED_THREADS)
        log = (site.root / "daemon.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH")))),
                **(environment or {}),
            },
            stdout=log,
            stderr=log,
            preexec_fn=pinned(self.cores.server),
        )
        log.close()
        try:
            wait_for(lambda: process.poll() is not None or _address(site, process.pid), "the daemon listens")
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended at once: {(site.root / 'daemon.log').read_text()[-2000:]}")
            yield Server(process.pid, _address(site, process.pid)["data_port"])
        finally:
            process.send_signal(signal.SIGTERM if clean else signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()

    def load(
        self, server: Server, days: Path, *options: object, during: Callable[[], None] = lambda: None, port: int | None = None
    ) -> Measured:
        """Run the load against a server (or a `port` before it) and measure both. `options`: see load.c.

        `during` is called when the load is over but its connections still stand (with `-h`). Raises `RuntimeError` with the
        load's words where an acknowledgement was wrong.
        """
        command = [str(self.tools.load), "-p", str(port or server.port), "-t", str(days), *map(str, options)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(self.cores.load),
        )
        assert process.stdout and process.stderr and process.stdin
        process.stdout.readline()  # measuring
        before = cpu_s(server.pid)
        said = process.stdout.readline()
        used = used_between(before, cpu_s(server.pid))
        if said:
            during()
        process.stdin.close()
        words = process.stderr.read()
        if process.wait() or not said:
            raise RuntimeError(f"the load gave up: {words.strip() or 'without a word'} ({' '.join(command)})")
        return Measured(**json.loads(said), used=_by_part(used))


def _by_part(used: Mapping[str, float]) -> Used:
    reception = sum(used.get(name, 0.0) for name in RECEPTION)
    return Used(sum(used.values()), reception, sum(used.values()) - reception)


def _address(site: Site, pid: int) -> Any:
    told = read_json(site.state / "daemon.json")
    return told if told and told["pid"] == pid else None


def wait_for(found: Callable[[], Any], what: str, within_s: float = START_S, every_s: float = 0.02) -> None:
    """Wait until something holds. Raises `RuntimeError` naming what did not come."""
    deadline = time.monotonic() + within_s
    while not found():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {within_s:.0f} s in vain: {what}")
        time.sleep(every_s)


def is_forwarded(site: Site) -> bool:
    """Whether the raw store has all that is journaled."""
    left = backlog(site)
    return left["data"] == left["alarm"] == 0

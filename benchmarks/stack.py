"""The whole stack of a site (`mainflow up`; with Grafana where GRAFANA_HOME is set), and the memory of its processes."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.parties import REPOSITORY, START_S
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
STEP_S = 0.05
"""Between two looks."""
PORTS = ("DAGSTER", "GRAFANA")

KINDS = (
    ("run of Dagster", re.compile(r"execute_run|multiprocessing")),
    ("code servers of Dagster", re.compile(r"grpc|code-server")),
    ("Dagster's daemon", re.compile(r"dagster\._daemon")),
    ("Dagster's pages", re.compile(r"dagster_webserver")),
    ("socket daemon", re.compile(r"ingest_daemon")),
    ("PostgreSQL", re.compile(r"postgres")),
    ("Grafana", re.compile(r"grafana")),
    ("mainflow up", re.compile(r"pipelines")),
)
"""What a process is, by its command line: the first that fits."""


class Stack(NamedTuple):
    """A running site: the process of `mainflow up`, the data port, the connection string of PostgreSQL."""

    pid: int
    port: int
    dsn: str


@contextmanager
def up(site: Site) -> Iterator[Stack]:
    """`mainflow up` on the site until the block ends. Raises `RuntimeError` where it does not start."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    for name in PORTS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment[f"MAINFLOW_SERVERS_{name}_PORT"] = str(free.getsockname()[1])
    log = site.root / "up.log"
    with log.open("ab") as file:
        running = subprocess.Popen(
            [*COMMAND, "up", "--site", str(site.root)], cwd=REPOSITORY, env=environment, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 10 * START_S
        while "Ctrl-C" not in log.read_text(errors="replace"):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mainflow up is not ready: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        port = (read_json(site.state / "daemon.json") or {})["data_port"]
        yield Stack(running.pid, port, json.loads((site.state / "postgres.json").read_text())["dsn"])
    finally:
        running.terminate()
        running.wait(timeout=2 * START_S)


def seconds_until(look: Callable[[], object], most_s: float) -> float:
    """How long it takes from now until `look` finds something; so many seconds where it does not."""
    began = time.monotonic()
    while time.monotonic() - began < most_s and not look():
        time.sleep(STEP_S)
    return time.monotonic() - began


def memory_by_kind(pid: int) -> Mapping[str, float]:
    """Proportional set size in MB of a process and all below it, by `KINDS`; pages that several share count once in the sum."""
    found: dict[str, float] = defaultdict(float)
    for each in _tree(pid):
        with suppress(OSError):  # it ended just now
            line = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
            kind = next((name for name, pattern in KINDS if pattern.search(line)), "other")
            found[kind] += sum(int(row.split()[1]) for row in rollup.splitlines() if row.startswith("Pss:")) / 1024
    return found


def _tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children[int(path.read_text().rpartition(")")[2].split()[1])].append(int(path.parent.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found

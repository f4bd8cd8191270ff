"""Many terminals: memory of long-lived connections and the storm of short ones (P4), a utility's whole day (R029)."""

import os
import subprocess
import sys
import time

from benchmarks import workload
from benchmarks.figures import Figure, at_most
from benchmarks.machine import memory_mb
from benchmarks.parties import REPOSITORY, is_forwarded, wait_for
from benchmarks.reception import settle
from benchmarks.run import AWAY, Run
from benchmarks.workload import RECORDS
from ingest_daemon.contract.site import Site

CONNECTIONS = 10_000
TERMINALS = 200_000
SESSIONS = 20_000
AT_A_TIME = 200
METERS = 2_000
WARM, WARM_DAYS = 500, 6
"""Connections and days that are sent and forwarded before memory is compared."""
SETTLE_S = 12.0
"""Freed memory goes back to the system within about ten seconds (jemalloc, which Polars brings)."""
COMMAND = "from pipelines.cli.main import main; main()"
LONG_S = 600.0
"""Long enough for everything to be sent, or forwarded."""


def crowd(run: Run) -> list[Figure]:
    """P4: memory with 10,000 connections; 200,000 terminals that connect, send, get their answer and close."""
    connections, sessions = run.sized(CONNECTIONS), run.sized(SESSIONS)
    idle, sent, rate, reception, whole = [], [], [], [], []
    for _ in run.each_round("P4"):
        silent, spoken = _growth_mb(run, connections)
        idle.append(silent)
        sent.append(spoken)
        with run.site(sessions, store=AWAY) as site, run.parties.daemon(site) as server:
            settle(run, site, server, min(WARM, sessions))
            seen = run.parties.load(server, run.days(workload.SINGLE), "-n", sessions, "-c", AT_A_TIME)
            rate.append(seen.sessions / seen.seconds)
            reception.append(seen.used.reception_s / seen.sessions * TERMINALS)
            whole.append(seen.used.all_s / seen.sessions * TERMINALS)
    size = f"{connections:,} connections"
    scaled = f"from {sessions:,} sessions, {AT_A_TIME} at a time, closed with FIN, store away"
    return [
        Figure("P4", "growth of the daemon's RSS, connected and silent", idle, "MB", at_most(100), size),
        Figure("P4", "growth, each has sent a day and it is forwarded", sent, "MB", at_most(100), size),
        Figure("P4", "connect, send, acknowledged, close", rate, "sessions/s", None, scaled),
        Figure("P4", "200,000 terminals: CPU of reception", reception, "s of one core", at_most(30), scaled),
        Figure("P4", "200,000 terminals: CPU of the whole process", whole, "s of one core", None, scaled),
    ]


def _growth_mb(run: Run, connections: int) -> tuple[float, float]:
    """Growth of the daemon's RSS: with silent connections; with as many that have each sent a day, once all is forwarded.

    The second is measured on a daemon that has received and forwarded some groups of frames before, so that what every daemon
    needs once (Polars' own memory) is not counted; what was freed is given time to go back to the system.
    """
    days = run.days(workload.SINGLE)
    with run.site(connections) as site, run.parties.daemon(site) as server:

        def settled() -> None:
            wait_for(lambda: is_forwarded(site), "all is forwarded", LONG_S)
            time.sleep(SETTLE_S)

        def note() -> None:
            seen.append(memory_mb(server.pid))

        def settle_and_note() -> None:
            settled()
            note()

        seen = [memory_mb(server.pid)]
        run.parties.load(server, days, "-c", connections, "-h", "-i", during=note)
        warm = "-c", min(WARM, connections), "-l", WARM_DAYS, "-s", LONG_S, "-d", workload.DAYS // 2
        run.parties.load(server, days, *warm, "-h", during=settle_and_note)
        run.parties.load(server, days, "-c", connections, "-l", 1, "-s", LONG_S, "-h", during=settle_and_note)
        return seen[1] - seen[0], seen[3] - seen[2]


def day(run: Run) -> list[Figure]:
    """R029: memory of the daemon and of `mainflow run` with 2,000 meters for a day."""
    meters = run.sized(METERS)
    daemon, computing = [], []
    for _ in run.each_round("R029"):
        with run.site(meters) as site:
            with run.parties.daemon(site, clean=True) as server:
                seen = run.parties.load(server, run.days(workload.FULL), "-n", meters, "-c", min(AT_A_TIME, meters))
                if seen.records != meters * RECORDS:
                    raise RuntimeError(f"{seen.records} records were acknowledged, expected {meters * RECORDS}")
                wait_for(lambda site=site: is_forwarded(site), "all is forwarded", LONG_S)  # type: ignore[misc]
                daemon.append(memory_mb(server.pid, "VmHWM"))
            computing.append(_run_mb(site, meters))
    size = f"{meters:,} meters x {RECORDS} readings, Parquet; PostgreSQL not counted"
    return [
        Figure("R029", "daemon: most RSS", daemon, "MB", None, size),
        Figure("R029", "mainflow run: most RSS", computing, "MB", None, size),
        Figure("R029", "both", [one + other for one, other in zip(daemon, computing, strict=True)], "MB", at_most(4096), size),
    ]


def _run_mb(site: Site, meters: int) -> float:
    """The most RSS of `mainflow run` on the site. Raises `RuntimeError` with its words where it fails."""
    log = site.root / "run.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", "--site", str(site.root)], cwd=REPOSITORY, stdout=file, stderr=file
        )
        _, status, used = os.wait4(process.pid, 0)
    if status or f"{meters * RECORDS:,}" not in log.read_text():
        raise RuntimeError(f"mainflow run did not read the day: {log.read_text()[-2000:]}")
    return used.ru_maxrss / 1024

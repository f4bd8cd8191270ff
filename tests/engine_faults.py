"""Engines whose processes are killed in the middle of real runs of `mainflow run`, and what comes of it.

    python -m tests.engine_faults [--kind ray-worker]

A year of a small site is computed undisturbed, then again and again from nothing, each time with another kill. A worker of Ray:
the run ends well. The head of Ray, a worker process: the run ends with one sentence, its days wait, the next run ends well. Every
row that follows from readings is compared in the end. Without Ray (`pip install 'mainflow[region]'`) its kinds are left out.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pipelines.runs import touched
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import make_site
from tests.chain import COMMAND, FREE_PORTS, mainflow, tables

DAYS = 320
"""More than `cleaned.SHARED_DAYS`: workers compute them."""

PATIENCE_S = 280


class Kind(NamedTuple):
    """What is killed: descendants of the run with one of these words in their command, and what the run says then."""

    engine: str
    words: tuple[str, ...]
    sentence: str


KINDS = {
    "ray-worker": Kind("ray", ("ray::_compute_packed",), ""),
    "ray-head": Kind("ray", ("raylet/raylet", "gcs_server"), "the days stay waiting"),
    "worker-process": Kind("processes", ("multiprocessing-fork",), "a worker process ended before its work was done"),
}


def main() -> int:
    """Try the kinds asked for; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="one of them; may be repeated; without it, all")
    asked = parser.parse_args().kind or [name for name in KINDS if KINDS[name].engine != "ray" or find_spec("ray")]
    with tempfile.TemporaryDirectory(prefix="engine-faults-") as folder:
        settings = make_site(Path(folder) / "site", list(range(DAYS)))
        site = settings.folder
        mainflow("run", "--site", site.root, environment={"MAINFLOW_FIGURES_ENGINE": "local"})
        expected = tables(site.marts)
        bad = 0
        for name in asked:
            problems = list(_tried(site.root, KINDS[name]))
            bench = workbench(settings)
            if left := touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole).live:
                problems.append(f"{len(left)} days wait in the end")
            problems += [table for table, rows in tables(site.marts).items() if not rows.equals(expected[table])]
            print(f"{name}: {'; '.join(problems) or 'good'}", flush=True)
            bad += bool(problems)
    return bad > 0


def _tried(root: Path, kind: Kind) -> Iterator[str]:
    """Compute the site anew with a kill in the middle; gives what went wrong."""
    (root / "marts.duckdb").unlink()
    environment = {"MAINFLOW_FIGURES_ENGINE": kind.engine, "MAINFLOW_FIGURES_WORKERS": "2"}
    run = subprocess.Popen(
        [*COMMAND, "run", "--site", str(root)],
        env={**os.environ, **FREE_PORTS, **environment, "COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    began = time.monotonic()
    while not _at_work(run.pid, kind) and run.poll() is None and time.monotonic() - began < PATIENCE_S:
        time.sleep(0.05)
    victims = _found(run.pid, kind.words)
    for pid in victims if kind.engine == "processes" or len(kind.words) > 1 else victims[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    said, _ = run.communicate(timeout=PATIENCE_S)
    print(f"  killed {len(victims)} of {', '.join(kind.words)}, ended {time.monotonic() - killed:.0f} s later: {run.returncode}")
    if not victims:
        yield "nothing was killed"
    if not kind.sentence:
        if run.returncode:
            yield f"the run failed: {said[-500:]}"
        return
    if run.returncode == 0 or kind.sentence not in said or "Traceback" in said:
        yield f"the run ended with {run.returncode} and said {said[-1000:]}"
    mainflow("run", "--site", root, environment=environment)


def _at_work(pid: int, kind: Kind) -> bool:
    """Whether workers of the run compute."""
    return bool(_found(pid, ("ray::_compute_packed",) if kind.engine == "ray" else kind.words))


def _found(pid: int, words: tuple[str, ...]) -> list[int]:
    """The descendants of a process with one of the words in their command line."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")

    def descends(child: int) -> bool:
        return child == pid or (child in parents and descends(parents[child]))

    return sorted(
        child for child in commands if child != pid and any(word in commands[child] for word in words) and descends(child)
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a whole site costs: `mainflow run` with publication (P7), a Dagster run of one day (P13), and how soon a reading shows."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks import archive
from benchmarks.figures import Figure, at_most, ratios
from benchmarks.figures_cost import HISTORY, MONTH, SIZES, Task, archive_of, measured
from benchmarks.parties import REPOSITORY, START_S
from benchmarks.run import Run
from benchmarks.stack import COMMAND, seconds_until, up
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.site import Site

TRIES = 50
SHOWN_WITHIN_S = 60.0
PROBE_MARTS = 30
DAYS = 3
"""New days that are measured one after the other."""


def whole_run(run: Run) -> list[Figure]:
    """P7: `mainflow run` over 31 days of 2,000 meters, all marts and publication, against the bare scan of its archive."""
    from pipelines.processes.postgres import embedded

    meters = run.sized(SIZES[0])
    folder = archive_of(run, meters, MONTH)
    ours, scans, memory = [], [], []
    for _ in run.each_round("P7 whole"):
        scans.append(measured(Task("scan", folder, meters, 0, MONTH)).cpu_s)
        with run.site(0) as site:
            _register(site, archive.terminals(meters))
            shutil.copytree(folder, site.raw, dirs_exist_ok=True)
            # PostgreSQL is started here, so that its CPU is not among that of the command's processes.
            with embedded(site, 0):
                ours.append(_cpu_s_of("run", "--site", str(site.root)))
            memory.append(_children().ru_maxrss / 1024)
    size = f"{meters:,} meters × {MONTH} days"
    return [
        Figure("P7", "whole `mainflow run`, CPU", ours, "s", None, size),
        Figure("P7", "whole `mainflow run` ÷ bare scan", ratios(ours, scans), "×", at_most(20), size),
        Figure("P7", "most memory of its largest process", memory, "MB", None, size),
    ]


def new_day(run: Run) -> list[Figure]:
    """P13: a new day of 2,000 meters on 400 days of history, against making all of them, and against 40 days of history."""
    meters = run.sized(SIZES[0])
    long, short = (_all_and_a_day(run, meters, days) for days in (HISTORY, HISTORY // 10))
    size = f"{meters:,} meters"
    return [
        Figure("P13", f"all of {HISTORY} days with every table, published", [long.all_s], "s", None, size),
        Figure("P13", f"a new day on {HISTORY} days", long.days_s, "s", None, size),
        Figure("P13", "a new day ÷ all days", ratios(long.days_s, [long.all_s] * DAYS), "", at_most(1 / 100), size),
        Figure(
            "P13", f"a new day on {HISTORY} days ÷ on {HISTORY // 10}", ratios(long.days_s, short.days_s), "×", at_most(1.2), size
        ),
    ]


class _Made(NamedTuple):
    all_s: float
    days_s: list[float]


def _all_and_a_day(run: Run, meters: int, days: int) -> _Made:
    """CPU of making a site of so many days at once, and then of each of the days after them, one by one."""
    from pipelines.processes.postgres import embedded

    folder = archive_of(run, meters, days + DAYS)
    last = archive.FIRST + timedelta(days=days - 1)
    with run.site(0) as site:
        _register(site, archive.terminals(meters))
        shutil.copytree(folder, site.raw, dirs_exist_ok=True)
        with embedded(site, 0):
            run.tell(f"all of {days} days")
            whole = _cpu_s_of("run", "--site", str(site.root), "--days", f"{archive.FIRST}..{last}")
            new = []
            for day in (last + timedelta(days=number + 1) for number in range(DAYS)):
                run.tell(f"a new day on {days} days")
                new.append(_cpu_s_of("run", "--site", str(site.root), "--days", f"{day}..{day}"))
    return _Made(whole, new)


def _cpu_s_of(*arguments: str) -> float:
    before = _children()
    command(*arguments)
    after = _children()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def dagster_run(run: Run) -> list[Figure]:
    """P13: CPU of a Dagster run of one touched day of the demo, with the assets that there are and with many more."""
    own, many = [], []
    for _ in run.each_round("P13"):
        own.append(_dagster_cpu_s(run, 0))
        many.append(_dagster_cpu_s(run, PROBE_MARTS))
    return [
        Figure("P13", "Dagster run of one day", own, "s", at_most(3), "every asset of the figures, the demo's fleet"),
        Figure("P13", "Dagster run of one day with more marts", many, "s", at_most(4), f"{PROBE_MARTS} marts more"),
    ]


def freshness(run: Run) -> list[Figure]:
    """Seconds from a frame's acknowledgement to its reading in `mart.latest_status`, in `mainflow up` with 2,000 meters."""
    import psycopg

    meters = run.sized(SIZES[0])
    waited = []
    with (
        run.site(meters, daemon={"health_port": 0}) as site,
        up(site) as stack,
        psycopg.connect(stack.dsn, autocommit=True) as board,
    ):
        for number in range(max(1, round(TRIES * min(1.0, run.seconds / 3)))):
            run.tell(f"freshness: {number + 1}")
            terminal = f"{1_000_000 + number * (meters // TRIES or 1):010d}"
            waited.append(_shown_after_s(board, stack.port, terminal))
    size = f"{meters:,} meters, {len(waited)} tries, one after the other"
    return [
        Figure("fresh", "frame acknowledged → latest_status", waited, "s", at_most(30), size),
        Figure("fresh", "the slowest of them", [max(waited)], "s", at_most(SHOWN_WITHIN_S), size),
    ]


def _shown_after_s(board: Any, port: int, terminal: str) -> float:
    now = datetime.now(UTC).replace(microsecond=0)
    reading = pl.DataFrame({"ts": [now], "forward_m3": [100.0], "pressure_mpa": [0.3]})
    (frame,) = sl651.reports(terminal, reading, sent_at=now, sequence=1)
    with socket.create_connection(("127.0.0.1", port), timeout=START_S) as line:
        line.sendall(frame)
        line.recv(4096)
        query = "select reading_at from mart.latest_status where meter = %s"
        return seconds_until(lambda: board.execute(query, [f"M{terminal}"]).fetchone() == (now,), SHOWN_WITHIN_S)


def _children() -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_CHILDREN)


def command(*arguments: str) -> None:
    """Run a command of Mainflow. Raises `RuntimeError` with its output where it fails."""
    done = subprocess.run([*COMMAND, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mainflow {' '.join(arguments)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")


def _register(site: Site, terminals: pl.Series) -> None:
    """Write the fleet of an archive into the site's registry."""
    path = site.registry / "terminals.csv"
    columns = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",")
    spans = archive.spans(len(terminals)).with_columns(protocol=pl.lit("sl651"))
    spans.select(pl.col(name) if name in spans.columns else pl.lit("").alias(name) for name in columns).write_csv(path)


def _dagster_cpu_s(run: Run, more: int) -> float:
    """CPU seconds of the run alone, in a process that has loaded the definitions."""
    demo = run.folder / "demo"
    if not demo.exists():
        run.tell("demo")
        command("demo", str(demo), "--days", "10")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.whole", str(demo), str(more)], cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.splitlines()[-1])


def _run_day(demo: Path, more: int) -> float:
    """A run of the last finished day in this process, `more` copies of one mart beside those that there are."""
    from assets import columns, quality
    from ingest_daemon.contract import headers

    copied = Path(tempfile.mkdtemp(prefix="sql-", dir=demo.parent)) / "sql"
    shutil.copytree(headers.SQL, copied)
    for number in range(more):
        shutil.copy(copied / "marts" / "hourly_coefficient.sql", copied / "marts" / f"probe_{number:02}.sql")
    for module in (headers, columns, quality):
        module.SQL = copied  # type: ignore[attr-defined]
    os.environ |= {"MAINFLOW_SITE": str(demo)}
    import dagster as dg

    from pipelines.definitions import definitions

    job = definitions().resolve_job_def("figures")
    day = (datetime.now(archive.ZONE) - timedelta(days=2)).date().isoformat()
    tags = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": day}
    used = 0.0
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):  # the first makes the tables of the added marts
            before = resource.getrusage(resource.RUSAGE_SELF)
            if not job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success:
                raise RuntimeError("the run failed")
            after = resource.getrusage(resource.RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used


if __name__ == "__main__":
    print(_run_day(Path(sys.argv[1]), int(sys.argv[2])))

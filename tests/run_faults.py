"""Runs killed on purpose: two at a time, under Dagster and beside it, while late readings come in.

    python -m tests.run_faults --kills 100 --seed 1 [--days 8] [--report FILE]

At the end the days that still wait are computed, and every row of the warehouse and of PostgreSQL is compared with those of a
site with the same readings whose one run nobody disturbed.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import great_expectations  # noqa: F401 (of Dagster's checks: what is forked has it)
import polars as pl
import psycopg

from assets import calendar
from assets.publication import LEDGERS, published_tables
from ingest_daemon.contract.settings import Settings
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines.definitions import definitions
from pipelines.orchestration.resources import RANGE_END, RANGE_START, SITE
from pipelines.processes import dagster_home, servers, supervisor
from pipelines.runs import touched
from pipelines.runs.bench import workbench
from pipelines.runs.run import run_touched
from pipelines.settings import load
from tests.chain import mainflow, tables
from tests.trials import conclude, heading

KINDS = ("live", "analysis", "figures", "mainflow run")
"""Dagster's jobs, and the command."""

MEMORY = Path("/dev/shm")
"""A kill takes nothing that was written, so the sites need no disk, and a slow one would make the kills few."""

LATE = 0.5
"""Part of the days of terminals that come late."""

ALL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Outcome(NamedTuple):
    """Counts of a trial; `differing`: rows by table that one site has and the other has not."""

    seconds: float
    runs: Counter[str]
    kills: Counter[str]
    deliveries: int
    compared: int
    differing: dict[str, int]

    def text(self, seed: int) -> str:
        """The report."""
        lines = [
            *heading(seed, self.seconds),
            *(f"runs begun: {name:<13} {count:,}" for name, count in sorted(self.runs.items())),
            *(f"killed: {name:<17} {count:,}" for name, count in sorted(self.kills.items())),
            f"late deliveries           {self.deliveries:,}",
            f"rows compared             {self.compared:,}",
            f"rows that differ          {sum(self.differing.values()):,}",
            *(f"  {name:<23} {count:,}" for name, count in sorted(self.differing.items())),
            f"verdict                   {'FAILED' if self.differing else 'the same rows as if nobody had killed a run'}",
        ]
        return "\n".join(lines) + "\n"


def run(folder: Path, kills: int, seed: int, days: int) -> Outcome:
    """Kill runs, two of which work or wait at a time, until there were so many kills; then compare."""
    began = time.monotonic()
    chance = random.Random(seed)
    site, calm = folder / "killed", folder / "calm"
    mainflow("init", site)
    mainflow("simulate", "--site", site, "--days", days)
    settings = load(site)
    late = folder / "late"
    _finish(_forked(lambda: _hold_back(settings, late, seed), folder))
    dagster_home.prepare(settings.folder)
    children: list[supervisor.Child] = []
    runs: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    waiting = sorted(late.iterdir())
    chance.shuffle(waiting)
    deliveries = len(waiting)
    with servers.postgres(settings, children=children):
        whole = time.monotonic()
        _finish(_forked(lambda: _work(site, "figures"), folder))
        reach = (time.monotonic() - whole) / 3  # the first run had every day before it
        while killed.total() < kills:
            pair = [(kind, _forked(lambda kind=kind: _work(site, kind), folder)) for kind in chance.choices(KINDS, k=2)]  # type: ignore[misc]
            runs.update(kind for kind, _ in pair)
            file = waiting.pop() if waiting else None
            _finish(_forked(lambda: _touch(settings, file), folder))  # noqa: B023
            chance.shuffle(pair)
            for kind, process in pair:
                time.sleep(chance.uniform(0.0, 1.0) * reach)
                is_killed = _is_killed(process)
                killed[kind] += is_killed
                reach *= 1.05 if is_killed else 0.8  # so that most are hit, at any stage
            if chance.random() < 0.1:
                _kill_and_start(children[0])
                killed["PostgreSQL"] += 1
        for file in waiting:
            _finish(_forked(lambda: _touch(settings, file), folder))  # noqa: B023
        _finish(_forked(lambda: _work(site, "mainflow run"), folder))
        served = _served(settings)
    _copy_inputs(site, calm)
    with servers.postgres(load(calm)):
        _finish(_forked(lambda: _work(calm, "mainflow run"), folder))
        expected = _served(load(calm))
    found = _made(site) | served
    wanted = _made(calm) | expected
    differing = {name: count for name in found.keys() | wanted.keys() if (count := _differing(found.get(name), wanted.get(name)))}
    compared = sum(rows.total() for rows in wanted.values())
    return Outcome(time.monotonic() - began, runs, killed, deliveries, compared, differing)


# --- in processes of their own: what is forked after its modules are there is at work at once ---------------------------------


def _forked(work: Callable[[], None], folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    try:
        log = os.open(folder / "runs.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        work()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _finish(process: int) -> None:
    """Raises `RuntimeError` where it failed."""
    _, status = os.waitpid(process, 0)
    if status:
        raise RuntimeError(f"what had to succeed ended with {os.waitstatus_to_exitcode(status)}: see runs.log")


def _is_killed(process: int) -> bool:
    """SIGKILL; False where it had ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def _kill_and_start(server: supervisor.Child) -> None:
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        time.sleep(0.01)
    server.start()


def _hold_back(settings: Settings, late: Path, seed: int) -> None:
    """Take some days of terminals out of the archive, a file each, to be delivered later."""
    store = open_store(settings.folder, settings[StoreSettings])
    rows = store.read(*ALL)
    shutil.rmtree(settings.folder.raw)
    chance = random.Random(seed)
    late.mkdir()
    kept = []
    for number, (_, part) in enumerate(sorted(rows.group_by("terminal", pl.col("ts").dt.date()), key=lambda each: each[0])):
        if chance.random() < LATE:
            part.write_parquet(late / f"{number:04}.parquet")
        else:
            kept.append(part)
    open_store(settings.folder, settings[StoreSettings]).write(pl.concat(kept))


def _touch(settings: Settings, file: Path | None) -> None:
    """Deliver a late file; where all have come let the first days wait again."""
    if file:
        open_store(settings.folder, settings[StoreSettings]).write(pl.read_parquet(file))
    elif first := touched.first_day(settings.folder.state):
        touched.mark(settings.folder.state, [first, first + timedelta(days=1)])


def _work(site: Path, kind: str) -> None:
    """The waiting days as a run of one of `KINDS`."""
    bench = workbench(load(site))
    if kind == "mainflow run":
        run_touched(bench, "trial")
        return
    os.environ[SITE] = str(site)
    waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    days = waiting.live if kind == "live" else sorted({*waiting.live, *waiting.analysis})
    job = definitions().resolve_job_def(kind)
    with dg.DagsterInstance.from_config(str(bench.site.dagster)) as instance:
        for first, last in calendar.runs(days):
            tags = {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
            job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


# --- comparison ---------------------------------------------------------------------------------------------------------------


def _copy_inputs(site: Path, calm: Path) -> None:
    """A site that has the readings, the registry and the settings, and nothing that was made of them."""
    calm.mkdir()
    for name in ("raw", "registry"):
        shutil.copytree(site / name, calm / name)
    shutil.copy(site / "site.toml", calm)


def _made(site: Path) -> dict[str, Counter[str]]:
    return {
        f"marts.duckdb {name}": Counter(map(repr, frame.iter_rows())) for name, frame in tables(site / "marts.duckdb").items()
    }


def _served(settings: Settings) -> dict[str, Counter[str]]:
    dsn = workbench(settings).serving_dsn()
    assert dsn
    return dict(_published(dsn))


def _published(dsn: str) -> Iterator[tuple[str, Counter[str]]]:
    with psycopg.connect(dsn) as connection:
        connection.execute("set time zone 'UTC'")
        for name, *_ in published_tables():
            if name not in LEDGERS and connection.execute("select to_regclass(%s)", [f"mart.{name}"]).fetchone() != (None,):
                rows = connection.execute(f"select * from mart.{name}").fetchall()  # type: ignore[call-overload]
                yield f"PostgreSQL {name}", Counter(map(repr, rows))


def _differing(found: Counter[str] | None, wanted: Counter[str] | None) -> int:
    """Rows that only one of the two has; a table that only one has counts as one more."""
    if found is None or wanted is None:
        return 1 + (found or wanted or Counter()).total()
    return (found - wanted).total() + (wanted - found).total()


def main() -> int:
    """Kill runs, print the report; exit code 1 where rows differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.run_faults", description="runs killed on purpose; no row may differ")
    parser.add_argument("--kills", type=int, default=100, help="end after so many kills")
    parser.add_argument("--seed", type=int, default=1, help="of everything random but the machine itself")
    parser.add_argument("--days", type=int, default=8, help="days of readings of the simulated fleet")
    parser.add_argument("--report", type=Path, help="write the report into this file, too")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mainflow-run-faults-", dir=MEMORY if MEMORY.is_dir() else None))
    outcome = run(folder, options.kills, options.seed, options.days)
    return conclude(folder, outcome.text(options.seed), options.report, is_good=not outcome.differing)


if __name__ == "__main__":
    sys.exit(main())

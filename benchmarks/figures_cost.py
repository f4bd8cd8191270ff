"""What the figures cost (P7 to P10): the kernel against a bare scan, DuckDB and pandas; memory, late days, engines.

Each measurement is a process of its own: `python -m benchmarks.figures_cost` with a `Task` as JSON, which prints a `Used`.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import Figure, Unable, at_least, at_most, ratios
from benchmarks.parties import REPOSITORY
from benchmarks.run import Run

if TYPE_CHECKING:
    import duckdb

    from assets.workbench import Workbench

MONTH = 31
SIZES = (2_000, 20_000, 200_000)
REGION = 1_000_000
HISTORY = 400
LATE_DAY = 200


class Task(NamedTuple):
    """What a process measures, on which archive, from which day on."""

    what: str
    archive: str
    meters: int
    first: int
    days: int
    engine: str = "local"
    workers: int = 1


class Used(NamedTuple):
    """CPU and wall seconds, most memory (MB; of the largest process), readings read; wall seconds until workers are ready."""

    cpu_s: float
    wall_s: float
    rss_mb: float
    readings: int
    start_s: float = 0.0


def kernel(run: Run) -> list[Figure]:
    """P7: 31 days of 2,000 and of 20,000 meters: the kernel against the bare scan; 2,000 against DuckDB and pandas."""
    figures = []
    for meters in (run.sized(SIZES[0]), run.sized(SIZES[1])):
        folder = archive_of(run, meters, MONTH)
        task = Task("kernel", folder, meters, 0, MONTH)
        whats = ("scan", "kernel") if meters > SIZES[0] else ("scan", "kernel", "duckdb", "pandas")
        used: dict[str, list[Used]] = {what: [] for what in whats}
        for _ in run.each_round(f"P7, {meters:,} meters"):
            for what in whats:
                used[what].append(measured(task._replace(what=what)))
        cpu = {what: [each.cpu_s for each in rounds] for what, rounds in used.items()}
        size = f"{meters:,} meters × {MONTH} days, {used['scan'][0].readings:,} rows"
        cost = [each.cpu_s / each.readings * 1e6 for each in used["kernel"]]
        figures += [
            Figure("P7a", "CPU ÷ bare scan of 6 columns", ratios(cpu["kernel"], cpu["scan"]), "×", at_most(6), size),
            Figure("P7a", "CPU", cost, "µs a reading", None, size),
            Figure("P8", "most RSS of the kernel", [each.rss_mb for each in used["kernel"]], "MB", at_most(1024), size),
        ]
        if "duckdb" in cpu:
            figures += [
                Figure(
                    "P7c", "CPU of DuckDB's one statement ÷ ours", ratios(cpu["duckdb"], cpu["kernel"]), "×", at_least(5), size
                ),
                Figure("P7c", "CPU of pandas ÷ ours", ratios(cpu["pandas"], cpu["kernel"]), "×", at_least(6), size),
            ]
    return figures


def growth(run: Run) -> list[Figure]:
    """P8: how the CPU of one day grows from 2,000 to 200,000 meters."""
    sizes = [run.sized(meters) for meters in SIZES]
    cpu: list[list[float]] = [[] for _ in sizes]
    for _ in run.each_round("P8"):
        for meters, found in zip(sizes, cpu, strict=True):
            found.append(measured(Task("kernel", archive_of(run, meters, 1), meters, 0, 1)).cpu_s)
    return [
        Figure(
            "P8",
            "exponent of CPU in the number of meters",
            [math.log(after / before) / math.log(larger / smaller) for before, after in zip(one, other, strict=True)],
            "",
            at_most(1.05),
            f"{smaller:,} → {larger:,} meters, one day",
        )
        for smaller, larger, one, other in zip(sizes, sizes[1:], cpu, cpu[1:], strict=False)
    ]


def late_day(run: Run) -> list[Figure]:
    """P9: one late day in a history of 400 days against a month of it."""
    meters = run.sized(SIZES[0])
    folder = archive_of(run, meters, HISTORY)
    month, day, three = [], [], []
    for _ in run.each_round("P9"):
        month.append(measured(Task("kernel", folder, meters, LATE_DAY, MONTH)))
        day.append(measured(Task("kernel", folder, meters, LATE_DAY, 1)))
        three.append(measured(Task("kernel", folder, meters, LATE_DAY - 1, 3)))
    cpu = [each.cpu_s for each in month]
    size = f"{meters:,} meters × {HISTORY} days"
    rows = [each.readings / (meters * 96) for each in day]
    return [
        Figure("P9", "CPU of one unit and its edges ÷ a month", ratios([u.cpu_s for u in day], cpu), "", at_most(1 / 25), size),
        Figure("P9", "the three days that a late day touches ÷ a month", ratios([u.cpu_s for u in three], cpu), "", None, size),
        Figure("P9", "readings read for one unit", rows, "days", at_most(28 / 24), size),
    ]


def region(run: Run) -> list[Figure]:
    """P8: a day of 200,000 and of 1,000,000 meters: CPU in bare scans against that of 20,000, and memory."""
    cost: dict[int, list[float]] = {run.sized(meters): [] for meters in (SIZES[1], SIZES[2], REGION)}
    most: dict[int, list[float]] = {meters: [] for meters in cost}
    for _ in run.each_round("P8, region"):
        for meters in cost:
            task = Task("kernel", archive_of(run, meters, 1), meters, 0, 1)
            used = measured(task)
            cost[meters].append(used.cpu_s / measured(task._replace(what="scan")).cpu_s)
            most[meters].append(used.rss_mb)
    small, *large = cost
    figures = [Figure("P8", "CPU ÷ bare scan of 6 columns", cost[small], "×", None, f"{small:,} meters, one day")]
    for meters in large:
        size = f"{meters:,} meters, one day"
        figures += [
            Figure("P8", f"the same ÷ that of {small:,} meters", ratios(cost[meters], cost[small]), "×", at_most(1.1), size),
            Figure("P8", "most RSS of the kernel", most[meters], "MB", at_most(1024), size),
        ]
    return figures


def engines(run: Run) -> list[Figure]:
    """P10: two workers against one, as processes and with Ray, each of one thread, without the time they take to start."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Unable("只有一个处理器 / P10 needs two processors")
    meters = run.sized(SIZES[2])
    names = ["processes", *(["ray"] if find_spec("ray") else [])]
    one = Task("compute", archive_of(run, meters, 1), meters, 0, 1)
    alone: list[float] = []
    used: dict[str, list[Used]] = {name: [] for name in names}
    for _ in run.each_round("P10"):
        alone.append(measured(one).wall_s)
        for name in names:
            used[name].append(measured(one._replace(engine=name, workers=2)))
    size = f"{meters:,} meters, one day, units only"
    figures = []
    for name in names:
        work_s = [each.wall_s - each.start_s for each in used[name]]
        figures += [
            Figure("P10", f"{name}: one worker ÷ two, once they run", ratios(alone, work_s), "×", at_least(1.7), size),
            Figure("P10", f"{name}: with their start", ratios(alone, [each.wall_s for each in used[name]]), "×", None, size),
            Figure("P10", f"{name}: start", [each.start_s for each in used[name]], "s", None, "imports of the kernel included"),
        ]
    if "ray" in used:
        by_ray, by_processes = ([each.wall_s - each.start_s for each in used[name]] for name in ("ray", "processes"))
        figures.append(Figure("P10", "Ray ÷ processes, once they run", ratios(by_ray, by_processes), "×", at_most(1.1), size))
    else:
        run.tell("P10: without Ray; pip install 'mainflow[region]'")
    return figures


def archive_of(run: Run, meters: int, days: int) -> str:
    """The folder of an archive, made by a process of its own so that its memory is not ours."""
    folder = run.folder / f"archive-{meters}x{days}"
    if not folder.exists():
        run.tell(f"archive of {meters:,} meters × {days} days")
        measured(Task("archive", str(folder), meters, 0, days))
    return str(folder)


def measured(task: Task) -> Used:
    """Measure in a process of its own. Raises `RuntimeError` with its last words where it fails."""
    command = [sys.executable, "-m", "benchmarks.figures_cost", json.dumps(task)]
    # A worker computes with one thread of Polars; so does the one that others are compared with.
    threads = {"POLARS_MAX_THREADS": "1"} if task.what == "compute" else {}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, **threads})
    if done.returncode:
        raise RuntimeError(f"{task}: {done.stderr[-2000:]}")
    return Used(*json.loads(done.stdout.splitlines()[-1]))


# --- in the measured process --------------------------------------------------------------------------------------------------


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _measure(work: Callable[[], int]) -> Used:
    Path("/proc/self/clear_refs").write_text("5")  # the most memory from here on: what was prepared does not count
    cpu, began = _cpu_s(), time.perf_counter()
    readings = work()
    own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    most = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return Used(_cpu_s() - cpu, time.perf_counter() - began, most / 1024, readings)


def _make_archive(task: Task) -> Used:
    from benchmarks.archive import write_archive

    return _measure(lambda: write_archive(Path(task.archive), task.meters, task.days))


@contextmanager
def _prepared(task: Task) -> Iterator[tuple["Workbench", "duckdb.DuckDBPyConnection", list[date]]]:
    """A workbench on the archive with a warehouse that knows the fleet and has no figures yet."""
    import polars as pl

    from assets import registry_history, rules, tables, warehouse
    from assets.engines import Engine
    from assets.workbench import Workbench
    from benchmarks import archive
    from ingest_daemon.contract import registry_files as registry
    from ingest_daemon.contract.site import Site
    from ingest_daemon.stores.parquet import ParquetStore

    days = [archive.FIRST + timedelta(days=task.first + number) for number in range(task.days)]
    with tempfile.TemporaryDirectory(prefix="warehouse-", dir=Path(task.archive).parent) as name:
        site = Site(Path(name))
        store = ParquetStore(Path(task.archive))
        bench = Workbench(
            site, "", archive.ZONE, timedelta(hours=2), store, lambda: None, "", 0, engine=Engine(task.engine, task.workers)
        )
        with warehouse.opened(site.marts, str(archive.ZONE)) as connection:
            connection.execute("create schema registry").fetchall()
            for table in registry.FILES.keys() - rules.REPLACED_BY.keys():
                warehouse.replace_all(
                    connection, f"registry.{table}", pl.DataFrame(schema=registry.schema(registry.FILES[table]))
                )
            spans = archive.spans(task.meters)
            warehouse.replace_all(connection, "registry.span", spans)
            warehouse.replace_all(connection, "registry.timeline", registry_history.timeline(spans, archive.ZONE))
            tables.prepare(connection)
            _load_compiled_code()
            yield bench, connection, days


def _load_compiled_code() -> None:
    """What a process does once, like its imports: it is not counted."""
    import numpy as np

    from assets import kernel
    from assets.kernel import Changes, Criteria, Day, Facts, Readings, raw

    whole, half, index = np.zeros(2, np.int64), np.ones(2), np.zeros(2, np.int32)
    one, flow = whole[:1], half[:1]
    facts = Facts(np.zeros(1, bool), flow, flow, flow, flow, one + 1, one + 1, one + 60_000_000, one)
    at_us = np.array([1, 60_000_001], np.int64)
    own = raw.Raw(at_us, half, half, half, half, whole > 0)
    within = raw.window(at_us, np.array([0, 2]), 0, 60_000_001)
    raw.doubtful(own, within, facts)
    raw.is_sorted(index, at_us)
    taken: Readings
    taken, _ = raw.taken(own, within, facts, raw.Clock(one, one))
    none = np.empty(0, np.int64)
    changes, day = Changes(index[:0], none, none, none, none), Day(np.array([0, 60_000_001]))
    kernel.compute(taken, facts, changes, day, Criteria(0, 0, 0.1, 50_000), 7_200_000_000)


def _kernel(task: Task) -> Used:
    from assets import cleaned

    with _prepared(task) as (bench, connection, days):

        def work() -> int:
            readings, _ = cleaned.make(bench, connection, days)
            connection.execute("checkpoint").fetchall()
            return readings

        return _measure(work)


def _figures(task: Task) -> Used:
    """The kernel's hours and days as Parquet files beside the archive, to compare."""
    from assets import cleaned

    out = Path(f"{task.archive}-figures")
    out.mkdir(exist_ok=True)
    with _prepared(task) as (bench, connection, days):
        readings, _ = cleaned.make(bench, connection, days)
        for table, name in (("clock_hour", "hour"), ("unit_day", "day")):
            connection.execute(f"copy (from {table}) to '{out}/{name}.parquet'").fetchall()
    return Used(0, 0, 0, readings)


def _compute(task: Task) -> Used:
    from assets import cleaned
    from benchmarks.figures_cost import ready  # by this name, not as part of __main__, workers find it

    with _prepared(task) as (bench, connection, days):
        began = time.perf_counter()
        for _ in bench.engine.results(ready, range(task.workers)):
            pass
        start_s = time.perf_counter() - began
        used = _measure(lambda: sum(done.readings for done in cleaned.computed(bench, connection, days)))
        return used._replace(start_s=start_s)


def ready(_: int) -> None:
    """What a worker does before it can compute."""
    _load_compiled_code()


SCAN = """
select count(*), max(terminal), max(ts), sum(forward_m3), sum(reverse_m3), sum(flow_m3h), sum(pressure_mpa)
from read_parquet('{files}', hive_partitioning = false)"""

STATEMENT = """
create table figures as
with point as (
    select terminal, ts, max(forward_m3) as forward_m3, max(pressure_mpa) as pressure_mpa
    from read_parquet('{files}', hive_partitioning = false)
    group by terminal, ts
),

step as (
    select
        terminal,
        ts,
        pressure_mpa,
        forward_m3 - lag(forward_m3) over (partition by terminal order by ts) as volume_m3,
        epoch(ts - lag(ts) over (partition by terminal order by ts)) as seconds
    from point
),

flow as (
    select
        *,
        volume_m3 / seconds * 3600 as flow_m3h,
        date_trunc('hour', ts - interval 1 microsecond) as hour_start,
        date_trunc('day', ts - interval 1 microsecond) as day
    from step
    where volume_m3 >= 0 and seconds <= 7200
)

select
    terminal,
    day,
    hour_start,
    sum(volume_m3) as volume_m3,
    max(flow_m3h) as flow_max_m3h,
    arg_max(ts, flow_m3h) as flow_max_at,
    min(flow_m3h) as flow_min_m3h,
    arg_min(ts, flow_m3h) as flow_min_at,
    max(pressure_mpa) as pressure_max_mpa,
    min(pressure_mpa) as pressure_min_mpa,
    avg(pressure_mpa) as pressure_mean_mpa,
    count(*) as readings
from flow
group by grouping sets ((terminal, day, hour_start), (terminal, day))"""
"""Less than the kernel's work: no holes beyond two hours, no bridging, no cut of a step at an hour, no intervals kept."""


def _duckdb(task: Task) -> Used:
    return _statement(task, STATEMENT, "select sum(readings) from figures where hour_start is null")


def _scan(task: Task) -> Used:
    return _statement(task, SCAN, None)


def _statement(task: Task, statement: str, count: str | None) -> Used:
    import duckdb

    folder = tempfile.TemporaryDirectory(prefix="warehouse-", dir=Path(task.archive).parent)
    with folder as name, duckdb.connect(Path(name) / "figures.duckdb") as connection:
        connection.execute("set timezone = 'Asia/Shanghai'").fetchall()

        def work() -> int:
            found = connection.execute(statement.format(files=f"{task.archive}/readings/*/*.parquet")).fetchall()
            if count:
                connection.execute("checkpoint").fetchall()
                found = connection.execute(count).fetchall()
            return int(found[0][0])

        return _measure(work)


def _pandas(task: Task) -> Used:
    pandas = import_module("pandas")

    def work() -> int:
        columns = ["terminal", "ts", "forward_m3", "pressure_mpa"]
        files = sorted(Path(task.archive).glob("readings/*/*.parquet"))
        rows = pandas.concat([pandas.read_parquet(file, columns=columns, partitioning=None) for file in files])
        rows = rows.sort_values(["terminal", "ts"]).drop_duplicates(["terminal", "ts"], keep="last")
        steps = rows.groupby("terminal", sort=False)[["forward_m3", "ts"]].diff()
        seconds = steps["ts"].dt.total_seconds()
        rows["volume_m3"], rows["flow_m3h"] = steps["forward_m3"], steps["forward_m3"] / seconds * 3600
        rows = rows[(rows["volume_m3"] >= 0) & (seconds <= 7200)]
        local = rows["ts"].dt.tz_convert("Asia/Shanghai") - pandas.Timedelta(microseconds=1)
        for name in ("h", "D"):
            groups = rows.groupby(["terminal", local.dt.floor(name)], sort=False)
            groups.agg({"volume_m3": "sum", "flow_m3h": ["max", "min"], "pressure_mpa": ["max", "min", "mean"], "ts": "count"})
            if name == "D":
                peaks = groups["flow_m3h"]
                peaks.idxmax(), peaks.idxmin()
        return len(rows)

    return _measure(work)


TASKS = {
    "archive": _make_archive,
    "kernel": _kernel,
    "figures": _figures,
    "compute": _compute,
    "scan": _scan,
    "duckdb": _duckdb,
    "pandas": _pandas,
}

if __name__ == "__main__":
    chosen = Task(*json.loads(sys.argv[1]))
    print(json.dumps(TASKS[chosen.what](chosen)))

"""The hourly and daily figures against Spark SQL, on the same archive, processors and days; and whether both say the same."""

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure, Unable, at_least, at_most, ratios
from benchmarks.figures_cost import MONTH, SIZES, Task, archive_of, measured
from benchmarks.parties import REPOSITORY
from benchmarks.run import Run

INSTALL_S = 1_200.0
TIMES = 2
"""Spark makes the figures so often in one session: the first time compiles, the last is what a session of days would cost."""

COMPARED = """
with ours as (
    select
        substr(hour.meter, 2) as terminal,
        hour_start,
        hour.volume_nl / 1e12 as volume_m3,
        hour.pressure_min_pa / 1e6 as pressure_min_mpa
    from read_parquet('{ours}/hour.parquet') as hour
    join read_parquet('{ours}/day.parquet') as day using (meter, day)
    where hour.coverage = 1 and day.clean and fall_count + impossible_rise_count + bridged_count + reset_count + refused_count = 0
)

select
    (select count(*) from read_parquet('{ours}/hour.parquet')) as hours,
    count(*) as compared,
    count(*) filter (
        abs(ours.volume_m3 - theirs.volume_m3) > 1e-6 or abs(ours.pressure_min_mpa - theirs.pressure_min_mpa) > 1e-6
    ) as different
from ours
join read_parquet('{theirs}/hour/*.parquet') as theirs using (terminal, hour_start)
where abs(theirs.known_s - 3600) < 1e-3"""
"""Hours that are known throughout, on days without anything that the kernel does not believe: Spark's statement cannot tell."""

COMPARED_DAYS = """
select
    (select count(*) from read_parquet('{ours}/day.parquet')) as days,
    count(*) as compared,
    count(*) filter (
        abs(ours.volume_nl / 1e12 - theirs.volume_m3) > 1e-6
        or abs(ours.flow_max_m3h - theirs.flow_max_m3h) > 1e-6
        or abs(ours.flow_min_m3h - theirs.flow_min_m3h) > 1e-6
        or abs(ours.pressure_max_pa / 1e6 - theirs.pressure_max_mpa) > 1e-6
        or abs(ours.pressure_min_pa / 1e6 - theirs.pressure_min_mpa) > 1e-6
    ) as different
from read_parquet('{ours}/day.parquet') as ours
join read_parquet('{theirs}/day/*.parquet') as theirs on theirs.terminal = substr(ours.meter, 2) and theirs.day = ours.day
where
    abs(theirs.known_s - 86400) < 1e-3 and ours.clean
    and fall_count + impossible_rise_count + bridged_count + reset_count + refused_count = 0"""


class Told(NamedTuple):
    """What Spark took: wall and CPU seconds of its start, and of each time."""

    spark: str
    start: tuple[float, float]
    times: list[tuple[float, float]]


def against_spark(run: Run) -> list[Figure]:
    """Hourly and daily figures of 31 days of 2,000 meters: Spark SQL's CPU and wall time in parts of the kernel's."""
    python = _python(run)
    meters, cores = run.sized(SIZES[0]), len(os.sched_getaffinity(0))
    archive = archive_of(run, meters, MONTH)
    out = run.folder / "spark"
    out.mkdir(exist_ok=True)
    task = Task("kernel", archive, meters, 0, MONTH, "processes", cores)
    ours, theirs = [], []
    for _ in run.each_round("Spark"):
        ours.append(measured(task))
        theirs.append(_spark(python, archive, out, cores))
    measured(task._replace(what="figures"))
    cpu, wall = [used.cpu_s for used in ours], [used.wall_s for used in ours]
    size = f"{meters:,} meters × {MONTH} days, {cores} cores, Spark {theirs[0].spark}"
    return [
        Figure("spark", "CPU of Spark SQL ÷ ours", ratios([told.times[-1][1] for told in theirs], cpu), "×", at_least(10), size),
        Figure(
            "spark",
            "wall time of Spark SQL ÷ ours",
            ratios([told.times[-1][0] for told in theirs], wall),
            "×",
            at_least(10),
            size,
        ),
        Figure(
            "spark",
            "CPU of Spark SQL the first time in its session ÷ ours",
            ratios([told.times[0][1] for told in theirs], cpu),
            "×",
        ),
        Figure("spark", "wall time the first time ÷ ours", ratios([told.times[0][0] for told in theirs], wall), "×"),
        Figure("spark", "CPU of our kernel", cpu, "s", None, size),
        Figure("spark", "wall time of our kernel", wall, "s", None, size),
        Figure("spark", "start of Spark's session, CPU; in no ratio", [told.start[1] for told in theirs], "s"),
        Figure("spark", "start of Spark's session, wall time; in no ratio", [told.start[0] for told in theirs], "s"),
        *_compared(archive, out),
    ]


def _compared(archive: str, out: Path) -> list[Figure]:
    import duckdb

    figures = []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'Asia/Shanghai'").fetchall()
        for what, statement in (("hours", COMPARED), ("days", COMPARED_DAYS)):
            ours = connection.execute(statement.format(ours=f"{archive}-figures", theirs=out)).fetchall()
            ((count, compared, different),) = ours
            figures += [
                Figure("spark", f"{what} compared, of all", [compared / count], "", at_least(0.8), f"{compared:,} of {count:,}"),
                Figure("spark", f"{what} that differ by more than 1e-6", [different], "", at_most(0)),
            ]
    return figures


def _spark(python: Path, archive: str, out: Path, cores: int) -> Told:
    command = [str(python), str(REPOSITORY / "benchmarks" / "spark_figures.py"), archive, str(out), str(cores), str(TIMES)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Spark: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Told(found["spark"], found["start"], found["times"])


def _python(run: Run) -> Path:
    """A Python with pyspark: `SPARK_PYTHON`, else one of its own beside the results. Raises `Unable` with what is missing."""
    if given := os.environ.get("SPARK_PYTHON"):
        return Path(given)
    folder = run.folder.parent / "pyspark"
    python = folder / "bin" / "python"
    if not shutil.which("java"):
        raise Unable("没有 Java 17 / Spark needs Java 17 or newer on PATH (Debian: apt-get install openjdk-17-jre-headless)")
    if not (folder / "installed").exists():
        run.tell("pyspark is installed")
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "pyspark"], capture_output=True, text=True, timeout=INSTALL_S
        )
        if done.returncode:
            raise Unable(f"pip could not install pyspark: {done.stderr.strip()[-500:]}")
        (folder / "installed").touch()
    return python

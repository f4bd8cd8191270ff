"""The hourly and daily figures of an archive by Spark SQL: run by a Python that has pyspark, which knows nothing else of ours.

    python benchmarks/spark_figures.py FOLDER OUT CORES TIMES

It reads the files of the archive FOLDER, writes OUT/hour and OUT/day as Parquet TIMES times in one session, and prints a line of
JSON: seconds and CPU seconds of the start of the session and of each time.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

HOUR = """
with point as (
    select terminal, ts, max(forward_m3) as forward_m3, max(pressure_mpa) as pressure_mpa
    from reading
    group by terminal, ts
),

step as (
    select
        terminal,
        ts,
        pressure_mpa,
        lag(ts) over (partition by terminal order by ts) as before_at,
        forward_m3 - lag(forward_m3) over (partition by terminal order by ts) as volume_m3
    from point
),

flow as (
    select *, (unix_micros(ts) - unix_micros(before_at)) / 1e6 as seconds
    from step
    where volume_m3 >= 0 and unix_micros(ts) - unix_micros(before_at) <= 7200000000
),

piece as (
    select
        *,
        explode(
            sequence(date_trunc('hour', before_at), date_trunc('hour', ts - interval 1 microsecond), interval 1 hour)
        ) as hour_start
    from flow
),

share as (
    select
        *,
        (unix_micros(least(ts, hour_start + interval 1 hour)) - unix_micros(greatest(before_at, hour_start))) / 1e6 as inside_s,
        case when ts <= hour_start + interval 1 hour then pressure_mpa end as own_mpa
    from piece
)

select
    terminal,
    to_date(hour_start) as day,
    hour_start,
    sum(volume_m3 * inside_s / seconds) as volume_m3,
    sum(inside_s) as known_s,
    max(volume_m3 / seconds * 3600) as flow_max_m3h,
    max_by(ts, volume_m3 / seconds * 3600) as flow_max_at,
    min(volume_m3 / seconds * 3600) as flow_min_m3h,
    min_by(ts, volume_m3 / seconds * 3600) as flow_min_at,
    max(own_mpa) as pressure_max_mpa,
    min(own_mpa) as pressure_min_mpa,
    sum(own_mpa) as pressure_sum_mpa,
    count(own_mpa) as pressures
from share
group by terminal, to_date(hour_start), hour_start"""
"""Less than the kernel's work: no bridging of wrong readings, no reverse flow, no intervals kept, no counts of quality."""

DAY = """
select
    terminal,
    day,
    sum(volume_m3) as volume_m3,
    sum(known_s) as known_s,
    max(flow_max_m3h) as flow_max_m3h,
    max_by(flow_max_at, flow_max_m3h) as flow_max_at,
    min(flow_min_m3h) as flow_min_m3h,
    min_by(flow_min_at, flow_min_m3h) as flow_min_at,
    max(pressure_max_mpa) as pressure_max_mpa,
    min(pressure_min_mpa) as pressure_min_mpa,
    sum(pressure_sum_mpa) / sum(pressures) as pressure_mean_mpa,
    sum(pressures) as readings
from hour
group by terminal, day"""


def main(folder: Path, out: Path, cores: int, times: int) -> None:
    """Print what the start and each time took."""
    from pyspark.sql import SparkSession  # type: ignore[import-not-found, unused-ignore]

    began = time.perf_counter()
    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.sql.session.timeZone", "Asia/Shanghai")
        .config("spark.sql.shuffle.partitions", 2 * cores)
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", str(out))
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.sql("select 1").collect()
    java: int = session.sparkContext._gateway.proc.pid
    used = [(time.perf_counter() - began, _cpu_s(java))]
    files = [str(path) for path in sorted(folder.glob("readings/*/*.parquet"))]
    for _ in range(times):
        began, cpu = time.perf_counter(), _cpu_s(java)
        session.read.parquet(*files).createOrReplaceTempView("reading")
        session.sql(HOUR).write.mode("overwrite").parquet(str(out / "hour"))
        session.read.parquet(str(out / "hour")).createOrReplaceTempView("hour")
        session.sql(DAY).write.mode("overwrite").parquet(str(out / "day"))
        used.append((time.perf_counter() - began, _cpu_s(java) - cpu))
    told: dict[str, Any] = {"spark": session.version, "start": used[0], "times": used[1:]}
    session.stop()
    print(json.dumps(told))


def _cpu_s(java: int) -> float:
    """CPU seconds of this process and of Spark's."""
    ticks = Path(f"/proc/{java}/stat").read_text().rpartition(")")[2].split()[11:13]
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + sum(map(int, ticks)) / 100


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

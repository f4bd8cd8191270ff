"""PostgreSQL as the boards use it (P12): cost of publishing a month of intervals, and how long panels over years take.

The tables are made in DuckDB with the product's columns and published by the product into its own embedded PostgreSQL.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import psycopg

from assets import publication, tables, warehouse
from assets.partitions import Partitions
from benchmarks.figures import Figure, at_most
from benchmarks.run import Run
from ingest_daemon.contract.site import Site
from pipelines.processes.postgres import embedded

METERS = 2_000
INTERVAL_DAYS, HOURLY_DAYS, DAILY_DAYS = 31, 365, 3 * 365
FIRST = date(2024, 1, 1)
ZONE = ZoneInfo("Asia/Shanghai")
HOURLY_METERS = 200
"""Meters with a year of hours: 1.75 M rows; a meter's rows lie on pages of their own, whatever the number of meters."""
REPEATS = 5
"""Times that a panel asks in a round; a round's value is the median."""

ROWS = f"""
select
    'M' || lpad(cast(m as varchar), 6, '0') as meter,
    date '{FIRST}' + cast(d as integer) as day,
    timezone('Asia/Shanghai', cast(date '{FIRST}' + cast(d as integer) as timestamp)) as starts_at,
    d,
    hash(m, d) % 1000000 as noise
from range({{days}}) as days (d), range({{meters}}) as meters (m)"""

UNIT_INTERVAL = f"""
insert into unit_interval by name
select
    meter,
    day,
    starts_at,
    [cast(i * 900000 as integer) for i in range(1, 97)] as end_ms,
    [cast(900000 as integer) for i in range(1, 97)] as length_ms,
    [cast(hash(noise, i) % 10000 * 2500000 as bigint) for i in range(1, 97)] as volume_nl,
    [cast(null as bigint) for i in range(1, 97)] as reverse_nl,
    [cast(4520300000000 + (d * 96 + i) * 2500000 + hash(noise, i) % 10000 as bigint) for i in range(1, 97)] as register_ul,
    [cast(300000 + hash(i, noise) % 50000 as integer) for i in range(1, 97)] as pressure_pa,
    [cast(null as double) for i in range(1, 97)] as device_flow_m3h,
    [cast(0 as integer) for i in range(1, 97)] as flags
from ({ROWS})"""

# Years grow day by day: rows lie in the order of days.
HOURLY_USAGE = f"""
create table hourly_usage as
select
    meter, starts_at + to_hours(h) as hour_start, day, (noise + h) / 1e4 as volume_m3, 0.0::double as reverse_m3,
    1.0::double as coverage, true as clean
from ({ROWS}), range(24) as hours (h)
order by day, meter, hour_start"""

DAILY_USAGE = f"""
create table daily_usage as
select
    meter, day, noise / 1e3 as volume_m3, 0.0::double as reverse_m3, noise / 1e4 as flow_max_m3h, noise / 1e5 as flow_min_m3h,
    noise / 2.4e4 as flow_mean_m3h, 1.0::double as coverage, true as complete, true as clean
from ({ROWS})
order by day, meter"""


SETTLE_S = 1.0
"""A closed session's process has ended after this, and its CPU is counted."""


class Panel(NamedTuple):
    """What a board asks, and the most milliseconds that it may take."""

    what: str
    query: str
    goal_ms: float
    rows: int


@contextmanager
def _warehouse(path: Path, days: int) -> Iterator[tuple[duckdb.DuckDBPyConnection, Partitions]]:
    partitions = Partitions(tuple(FIRST + timedelta(number) for number in range(days)), ZONE)
    with warehouse.opened(path, str(ZONE)) as connection:
        tables.prepare(connection)
        partitions.prepare(connection)
        yield connection, partitions


def serving(run: Run) -> list[Figure]:
    """P12: cost of publishing 31 days of intervals, and panels over a year of hours and three years of days."""
    meters = run.sized(METERS)
    folder = Path(tempfile.mkdtemp(prefix="serving-", dir=run.folder))
    with embedded(Site(folder / "site"), 0) as dsn:
        return _publish(run, dsn, folder, meters) + _panels(run, dsn, folder, meters)


def _publish(run: Run, dsn: str, folder: Path, meters: int) -> list[Figure]:
    cpu, server_cpu, size = [], [], []
    with _warehouse(folder / "intervals.duckdb", INTERVAL_DAYS) as (connection, partitions):
        connection.execute(UNIT_INTERVAL.format(days=INTERVAL_DAYS, meters=meters)).fetchall()
        for _ in run.each_round("P12 publish"):
            with psycopg.connect(dsn) as server:
                server.execute("drop schema if exists mart cascade")
            started, server_started = time.process_time(), _server_cpu_s(folder)
            publication.publish(connection, dsn, partitions)
            cpu.append(time.process_time() - started)
            time.sleep(SETTLE_S)
            server_cpu.append(_server_cpu_s(folder) - server_started)
            size.append(_size_mb(dsn, "unit_interval"))
    intervals = meters * INTERVAL_DAYS * 96
    note = f"{meters:,} meters x {INTERVAL_DAYS} days at 15 min, {intervals / 1e6:.2f} M intervals"
    return [
        Figure("P12", "publish intervals: own CPU", cpu, "s", None, note),
        Figure("P12", "publish intervals: CPU of PostgreSQL", server_cpu, "s", None, note),
        Figure("P12", "intervals in PostgreSQL", size, "MB", None, note),
        Figure("P12", "intervals in PostgreSQL, each", [mb * 1e6 / intervals for mb in size], "bytes", None, note),
    ]


def _panels(run: Run, dsn: str, folder: Path, meters: int) -> list[Figure]:
    hourly_meters = run.sized(HOURLY_METERS)
    with _warehouse(folder / "figures.duckdb", 0) as (connection, partitions):
        connection.execute(HOURLY_USAGE.format(days=HOURLY_DAYS, meters=hourly_meters)).fetchall()
        connection.execute(DAILY_USAGE.format(days=DAILY_DAYS, meters=meters)).fetchall()
        publication.publish(connection, dsn, partitions)
    meter = f"M{hourly_meters // 2:06d}"
    end = FIRST + timedelta(INTERVAL_DAYS)
    panels = [
        Panel(
            f"one of {hourly_meters} meters x 1 year hourly",
            f"select hour_start, volume_m3 from mart.hourly_usage where meter = '{meter}' order by hour_start",
            50,
            HOURLY_DAYS * 24,
        ),
        Panel(
            f"{meters:,} meters x 3 years, daily total",
            "select day, sum(volume_m3) from mart.daily_usage group by day order by day",
            200,
            DAILY_DAYS,
        ),
        Panel(
            "30 days of intervals of one meter",
            f"select interval_end, flow_m3h, pressure_mpa from mart.intervals('{meter}', '{end - timedelta(30)}', '{end}') "
            "order by interval_end",
            50,
            30 * 96 + 1,
        ),
    ]
    figures = []
    with psycopg.connect(dsn, autocommit=True) as reader:
        reader.execute(f"set time zone '{ZONE}'")
        reader.execute("vacuum analyze")  # as autovacuum does within minutes of a publication
        for panel in panels:
            values = [_panel_ms(reader, panel) for _ in run.each_round(f"P12 {panel.what}")]
            figures.append(Figure("P12", panel.what, values, "ms", at_most(panel.goal_ms), f"median of {REPEATS} a round"))
    return figures


def _panel_ms(reader: psycopg.Connection, panel: Panel) -> float:
    """Raises `RuntimeError` where the panel gets other than the rows it should."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = len(reader.execute(panel.query).fetchall())
        taken.append((time.perf_counter() - started) * 1000)
        if found != panel.rows:
            raise RuntimeError(f"{panel.what}: {found} rows, expected {panel.rows}: {panel.query}")
    return statistics.median(taken)


def _server_cpu_s(folder: Path) -> float:
    """CPU of the ended processes of the server: a session counts once it is closed."""
    pid = (Site(folder / "site").postgres / "postmaster.pid").read_text().split()[0]
    ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    return sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


def _size_mb(dsn: str, table: str) -> float:
    with psycopg.connect(dsn) as reader:
        row = reader.execute("select pg_total_relation_size(%s::regclass)", [f"mart.{table}"]).fetchone()
    assert row is not None
    return float(row[0]) / 1e6

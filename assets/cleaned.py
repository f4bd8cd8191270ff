"""The units of touched days: raw readings of each day and its edges through the kernel, by the engine that the site chose.

    parts, some days × a bucket of meters ──`computed`─▶ intervals, hours, histograms: a file a day and bucket (interval_files.py)
                                                      ▶ days, last readings ──`make`──▶ marts.duckdb

A part holds the facts of its meters and takes its days in stretches that read the archive once. What comes out depends neither on
the engine, nor on the number of workers, nor on the cut.
"""

import math
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyarrow as pa

from assets import calendar, interval_files, ledgers, registry_history, rules, units, warehouse
from assets.engines import LOCAL
from assets.workbench import Workbench
from ingest_daemon.contract.schema import READING, Reason
from ingest_daemon.stores import RawStore, StoreAway
from ingest_daemon.stores.storage import Storage

STRETCH_METER_DAYS = 8_000
"""So many meters × days are read and computed at a time: bounds the memory."""

BUCKET_METERS = 5_000
"""A part has at most so many meters, where the store can read some terminals apart."""

PART_METER_DAYS, PART_DAYS = 20_000, 16
"""A part has about so many meters × days, and at most so many days."""

MEMORY = "200MB"
"""Of DuckDB while units are made; what does not fit lies beside the warehouse for that time."""

SHARED_METER_DAYS, SHARED_DAYS = 100_000, 300
"""Fewer meters × days, and fewer days, are not worth the seconds that workers take to start."""

KEPT_TABLES = ("unit_day", "reverse_interval")
"""The tables of units that lie in the warehouse; the others are files."""

LAST_ORIGIN = ("battery_v", "signal", "status", "received_at", "channel", "stream", "frame")
"""Columns of `LATEST` that the figures do not read: they are looked up for the last readings only."""

LATEST: dict[str, pl.DataType] = {name: dtype for name, dtype in units.LAST.items() if name != "terminal"} | {
    name: READING[name] for name in LAST_ORIGIN
}
"""The last reading of each meter as the device gave it, and its last pressure that can be believed."""


class Part(NamedTuple):
    """What a worker computes at a time: consecutive days of a bucket of meters, with the history of their facts."""

    days: list[date]
    bucket: int
    buckets: int
    spans: pl.DataFrame

    @property
    def name(self) -> str:
        """Of the bucket among those of its days."""
        return f"{self.bucket:03}-of-{self.buckets:03}"

    def terminals(self, meters: pl.DataFrame) -> list[str] | None:
        """The terminals to read for some of the meters; None: all."""
        return meters["terminal"].unique().to_list() if self.buckets > 1 else None


class Done(NamedTuple):
    """What a part gives: its rows of `KEPT_TABLES`, the last reading of each meter in it (`LATEST`), the numbers of readings read
    and of rows in files."""

    days: list[date]
    name: str
    rows: dict[str, pa.Table]
    last: pl.DataFrame
    readings: int
    filed: int


def make(bench: Workbench, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> tuple[int, int]:
    """Every unit of the days: a local day × a bucket of meters. Gives the readings read and the rows written.

    Raises `StoreAway`, `WorkerEnded`.
    """
    read = written = 0
    last = [pl.DataFrame(schema=LATEST)]
    with _bounded(connection):
        for days, parts in groupby(computed(bench, connection, touched), attrgetter("days")):
            names = set()
            with warehouse.transaction(connection):  # a day has the rows of all its buckets, or those of before
                for table in KEPT_TABLES:
                    connection.execute(f"delete from {table} where day in (select unnest(?::date[]))", [days]).fetchall()
                for done in parts:
                    for table, rows in done.rows.items():
                        warehouse.append(connection, table, rows)
                        written += rows.num_rows
                    names.add(done.name)
                    last.append(done.last)
                    read += done.readings
                    written += done.filed
                interval_files.keep(bench.unit_files, days, names)
    interval_files.show(connection, bench.unit_files)
    _keep_latest(connection, pl.concat(last), touched)
    return read, written


@contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """DuckDB with one thread, as several insert no faster and cost a fifth more, and with little memory: it would keep what was
    written until the run ends."""
    connection.execute("set threads = 1").fetchall()
    connection.execute(f"set memory_limit = '{MEMORY}'").fetchall()
    try:
        yield
    finally:
        connection.execute("reset threads").fetchall()
        connection.execute(f"set memory_limit = '{warehouse.MEMORY}'").fetchall()


def computed(bench: Workbench, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> Iterator[Done]:
    """The results of the days by their parts; their intervals are in files. Raises `StoreAway`, `WorkerEnded`."""
    bench.unit_files.make_root()
    work = Work(
        bench.store,
        bench.unit_files,
        bench.zone,
        bench.max_hole,
        warehouse.frame(connection, "select * from registry.replacements"),
        _conflicts(bench.site.quarantine / f"{Reason.CONFLICT}.jsonl"),
        {day: units.Criteria(*values) for day, values in rules.values(connection, units.CRITERIA, touched).items()},
    )
    ((meters,),) = connection.execute("select count(distinct meter) from registry.span").fetchall()
    is_much = meters * len(touched) >= SHARED_METER_DAYS or len(touched) >= SHARED_DAYS
    engine = bench.engine if is_much else LOCAL
    return engine.results(work.compute, parts(bench.store, connection, touched))


def parts(store: RawStore, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> Iterator[Part]:
    """The days and the fleet cut into parts, those of the same days one after another.

    Meters go to buckets by the store's own part of their first terminal, and by that: a bucket reads its own files, and its own
    part of a sorted one.
    """
    firsts = warehouse.frame(connection, "select meter, min(terminal) as terminal from registry.span group by meter")
    own_part = pl.Series("part", store.buckets_of(firsts["terminal"].to_list()), pl.Int64)
    meters = firsts.with_columns(own_part).sort("part", "terminal", "meter")["meter"]
    fleet = len(meters)
    buckets = max(1, math.ceil(fleet / BUCKET_METERS)) if store.cuts_by_terminal else 1
    numbered = pl.DataFrame({"meter": meters, "bucket": pl.int_range(fleet, eager=True) * buckets // max(1, fleet)})
    with warehouse.registered(connection, "incoming", numbered):
        connection.execute(
            "create or replace temp table fleet as select * from registry.span join incoming using (meter) order by bucket, meter"
        ).fetchall()
    del firsts, own_part, meters, numbered
    for days in blocks(touched, math.ceil(fleet / buckets)):
        for bucket in range(buckets):
            spans = warehouse.frame(connection, f"select * exclude (bucket) from fleet where bucket = {bucket}")
            yield Part(days, bucket, buckets, spans)
    connection.execute("drop table fleet").fetchall()


def blocks(days: Sequence[date], meters: int) -> list[list[date]]:
    """Consecutive days, some at a time, as many in each block of a run as can be."""
    most = max(1, min(PART_DAYS, PART_METER_DAYS // max(1, meters)))
    blocks = []
    for first, last in calendar.runs(days):
        run = calendar.days_between(first, last)
        size = math.ceil(len(run) / math.ceil(len(run) / most))
        blocks += [run[start : start + size] for start in range(0, len(run), size)]
    return blocks


class Work(NamedTuple):
    """What computing any part needs."""

    store: RawStore
    files: Storage
    zone: ZoneInfo
    max_hole: timedelta
    replacements: pl.DataFrame
    conflicts: pl.DataFrame
    criteria: dict[date, units.Criteria]

    def compute(self, part: Part) -> Done:
        """The units of the part. Done twice, it gives the same. Raises `StoreAway`."""
        if not self.files.exists():  # a machine without the readings would compute holes
            place = self.files.where()
            raise StoreAway(
                f"{socket.gethostname()} does not see {place}: a worker needs the site's folder, or the lake, at this path"
            )
        days = part.days
        kept = {name: [getattr(units.EMPTY, name)] for name in KEPT_TABLES}
        last, read, filed = [pl.DataFrame(schema=units.LAST)], 0, 0
        look_back = _LookBack(self.store, calendar.midnight(days[-1], self.zone))
        is_near = pl.col("ts").is_between(self._window(days[0])[0], self._window(days[-1])[1])
        conflicts = self.conflicts.filter(is_near)
        for own_days, meters in stretches(registry_history.Facts(part.spans, self.zone, self.max_hole), days):
            first, end = self._window(own_days[0])[0], self._window(own_days[-1])[1]
            readings = self.store.read(first, end, columns=units.COLUMNS, terminals=part.terminals(meters))
            read += readings.height
            stretch = units.Stretch(readings, meters, self.replacements, conflicts, self.zone, self.max_hole)
            for day in own_days:
                unit = stretch.unit(day, self.criteria[day], look_back)
                filed += interval_files.write(self.files, day, part.name, unit.tables)
                last.append(unit.last)
                for name, tables in kept.items():
                    tables.append(getattr(unit.tables, name))
        rows = {name: pa.concat_tables(tables) for name, tables in kept.items()}
        return Done(days, part.name, rows, _with_origin(self.store, _later(pl.concat(last))), read, filed)

    def _window(self, day: date) -> tuple[datetime, datetime]:
        """The day and the longest hole to either side."""
        return (
            calendar.midnight(day, self.zone) - self.max_hole,
            calendar.midnight(day + timedelta(days=1), self.zone) + self.max_hole,
        )


def _conflicts(path: Path) -> pl.DataFrame:
    """Times of readings that a later arrival contradicted: `terminal`, `ts`."""
    lines = ledgers.lines(path, {"terminal": pl.String(), "ts": pl.String()})
    return lines.select("terminal", ts=pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC", strict=False))


def stretches(facts: registry_history.Facts, days: Sequence[date]) -> Iterator[tuple[list[date], pl.DataFrame]]:
    """Consecutive days in which no fact changes, as many as are read at a time, with the facts."""
    stretch, held = [days[0]], facts.of(days[0])
    for day in days[1:]:
        meters = facts.of(day)
        if (len(stretch) + 1) * meters.height > STRETCH_METER_DAYS or not meters.equals(held):
            yield stretch, held
            stretch = []
        stretch.append(day)
        held = meters
    yield stretch, held


class _LookBack:
    """Readings of terminals before a day of a part (`units.LookBack`); each terminal is read once a part.

    A register that stands at 0 is looked up on every day.
    """

    def __init__(self, store: RawStore, until: datetime) -> None:
        self._store, self._until = store, until
        self._start: datetime | None = None
        self._known: set[str] = set()
        self._readings = pl.DataFrame(schema={name: READING[name] for name in units.COLUMNS})

    def __call__(self, terminals: list[str], start: datetime, end: datetime) -> pl.DataFrame:
        if new := set(terminals) - self._known:
            self._start = self._start or start
            found = self._store.read(self._start, self._until, columns=units.COLUMNS, terminals=new)
            self._readings = pl.concat([self._readings, found])
            self._known |= new
        return self._readings.filter(pl.col("terminal").is_in(terminals) & pl.col("ts").is_between(start, end))


def _later(rows: pl.DataFrame) -> pl.DataFrame:
    """Of last readings the greatest event time of each meter; its pressure likewise."""
    pressure = rows.filter(pl.col("pressure_at").is_not_null()).sort("pressure_at").group_by("meter", maintain_order=True)
    return (
        rows.sort("reading_at", maintain_order=True)
        .group_by("meter", maintain_order=True)
        .last()
        .drop("pressure_mpa", "pressure_at")
        .join(pressure.agg(pl.col("pressure_mpa", "pressure_at").last()), on="meter", how="left")
        .select(rows.columns)
        .sort("meter")
    )


def _keep_latest(connection: duckdb.DuckDBPyConnection, last: pl.DataFrame, days: Sequence[date]) -> None:
    """Merge the days' last readings into `latest_reading`: one row a meter, the greatest event time wins; pressure likewise."""
    known = connection.sql("select * from latest_reading").pl()
    known = known.filter(~pl.col("day").is_in(list(days))).cast(LATEST)
    warehouse.replace_all(connection, "latest_reading", _later(pl.concat([known, last])))


def _with_origin(store: RawStore, last: pl.DataFrame) -> pl.DataFrame:
    """Last readings with the columns that were not read for figures (`LATEST`); a UTC day at a time."""
    points = last.group_by(pl.col("reading_at").dt.date(), maintain_order=True).agg(
        "terminal", first=pl.col("reading_at").min(), last=pl.col("reading_at").max()
    )
    wanted = ["terminal", "ts", *LAST_ORIGIN]
    found = [pl.DataFrame(schema={name: READING[name] for name in wanted})]
    keys = last.select("terminal", ts="reading_at")
    for terminals, first, end in points.select("terminal", "first", "last").iter_rows():
        read = store.read(first, end, columns=wanted, terminals=terminals if store.cuts_by_terminal else None)
        found.append(read.join(keys, on=["terminal", "ts"], how="semi"))
    origin = pl.concat(found)
    joined = last.join(origin, left_on=["terminal", "reading_at"], right_on=["terminal", "ts"], how="left")
    return joined.select(*LATEST)

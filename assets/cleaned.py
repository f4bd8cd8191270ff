"""The units of touched days: raw readings of each day and its edges through the kernel, by worker processes or in this one.

    blocks of days ──`computed`, each in one worker──▶ intervals, histograms: a file a day (interval_files.py)
                                                     ▶ hours, days, last readings ──`make`──▶ marts.duckdb

A block takes its days in stretches that read the archive once. What comes out does not depend on how many workers there are.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyarrow as pa

from assets import calendar, interval_files, ledgers, registry_history, rules, units, warehouse
from assets.workbench import Workbench
from assets.workers import results
from ingest_daemon.contract.schema import READING, Reason
from ingest_daemon.stores import RawStore
from ingest_daemon.stores.storage import Storage

STRETCH_METER_DAYS = 8_000
"""So many meters × days are read and computed at a time: bounds the memory."""

BUCKETS = 4
"""A day is read in so many parts at most: what came today is not sorted by terminal yet, so each part reads all of it."""

BLOCK_METER_DAYS, BLOCK_DAYS = 20_000, 16
"""A block has about so many meters × days, and at most so many days."""

WRITE_MEMORY = "300MB"
"""Of DuckDB while units are written; what does not fit lies beside the warehouse for that time."""

SHARED_METER_DAYS, SHARED_DAYS = 100_000, 300
"""Fewer meters × days, and fewer days, are not worth the seconds that workers take to start."""

KEPT_TABLES = ("unit_hour", "unit_day", "reverse_interval")
"""The tables of units that lie in the warehouse; the others are files."""

LAST_ORIGIN = ("battery_v", "signal", "status", "received_at", "channel", "stream", "frame")
"""Columns of `LATEST` that the figures do not read: they are looked up for the last readings only."""

LATEST: dict[str, pl.DataType] = {name: dtype for name, dtype in units.LAST.items() if name != "terminal"} | {
    name: READING[name] for name in LAST_ORIGIN
}
"""The last reading of each meter as the device gave it, and its last pressure that can be believed."""


class Done(NamedTuple):
    """What a block gives: its days' rows of `KEPT_TABLES`, the last reading of each meter in it (`units.LAST`), the numbers of
    readings read and of rows in files."""

    days: Sequence[date]
    rows: dict[str, pa.Table]
    last: pl.DataFrame
    readings: int
    filed: int


def make(bench: Workbench, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> tuple[int, int]:
    """Every unit of the days: a local day × a bucket of meters. Gives the readings read and the rows written.

    Raises `StoreAway`, `WorkerEnded`.
    """
    read = written = 0
    last = [pl.DataFrame(schema=units.LAST)]
    for done in computed(bench, connection, touched):
        last.append(done.last)
        read += done.readings
        written += done.filed
        written += _write(connection, done)
    interval_files.keep(bench.unit_files, touched, {interval_files.WHOLE})
    interval_files.show(connection, bench.unit_files)
    _keep_latest(bench.store, connection, pl.concat(last), touched)
    return read, written


def _write(connection: duckdb.DuckDBPyConnection, done: Done) -> int:
    """Replace the rows of the block's days in the warehouse; gives the rows written."""
    connection.execute("set threads = 1").fetchall()  # several insert no faster, and cost a fifth more
    connection.execute(f"set memory_limit = '{WRITE_MEMORY}'").fetchall()  # or it keeps all that was written until the run ends
    try:
        return sum(warehouse.replace_rows(connection, name, rows, "day", done.days) for name, rows in done.rows.items())
    finally:
        connection.execute("reset threads").fetchall()
        connection.execute("reset memory_limit").fetchall()


def computed(bench: Workbench, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> Iterator[Done]:
    """The results of the days, some at a time; their intervals are in files. Raises `StoreAway`, `WorkerEnded`."""
    spans = warehouse.frame(connection, "select * from registry.span")
    meters = spans["meter"].n_unique()
    block = _Block(
        bench.store,
        bench.unit_files,
        bench.site.quarantine / f"{Reason.CONFLICT}.jsonl",
        bench.zone,
        bench.max_hole,
        registry_history.Facts(spans, bench.zone, bench.max_hole),
        warehouse.frame(connection, "select * from registry.replacements"),
        {day: units.Criteria(*values) for day, values in rules.values(connection, units.CRITERIA, touched).items()},
    )
    is_much = meters * len(touched) >= SHARED_METER_DAYS or len(touched) >= SHARED_DAYS
    workers = bench.workers if is_much else 1
    return results(block.compute, blocks(touched, meters), workers)


def blocks(days: Sequence[date], meters: int) -> list[list[date]]:
    """Consecutive days, some at a time, as many in each block of a run as can be."""
    most = max(1, min(BLOCK_DAYS, BLOCK_METER_DAYS // max(1, meters)))
    blocks = []
    for first, last in calendar.runs(days):
        run = calendar.days_between(first, last)
        size = math.ceil(len(run) / math.ceil(len(run) / most))
        blocks += [run[start : start + size] for start in range(0, len(run), size)]
    return blocks


class _Block(NamedTuple):
    """What computing days needs."""

    store: RawStore
    files: Storage
    conflicts: Path
    zone: ZoneInfo
    max_hole: timedelta
    facts: registry_history.Facts
    replacements: pl.DataFrame
    criteria: dict[date, units.Criteria]

    def compute(self, days: Sequence[date]) -> Done:
        """Every unit of consecutive days. Raises `StoreAway`."""
        kept = {name: [getattr(units.EMPTY, name)] for name in KEPT_TABLES}
        last, read, filed = [pl.DataFrame(schema=units.LAST)], 0, 0
        look_back = _LookBack(self, calendar.midnight(days[-1], self.zone))
        conflicts = self._conflicts(self._window(days[0])[0], self._window(days[-1])[1])
        for own_days, meters in stretches(self.facts, days):
            first, end = self._window(own_days[0])[0], self._window(own_days[-1])[1]
            found: dict[date, list[units.Unit]] = {day: [] for day in own_days}
            for own, terminals in buckets(self.store, meters):
                readings = self.store.read(first, end, columns=units.COLUMNS, terminals=terminals)
                read += readings.height
                stretch = units.Stretch(readings, own, self.replacements, conflicts, self.zone, self.max_hole)
                for day in own_days:
                    found[day].append(stretch.unit(day, self.criteria[day], look_back))
            for day, of_day in found.items():
                tables = units.joined([units.EMPTY, *(unit.tables for unit in of_day)])
                filed += interval_files.write(self.files, day, interval_files.WHOLE, tables)
                for name, parts in kept.items():
                    parts.append(getattr(tables, name))
                last += [unit.last for unit in of_day]
        rows = {name: pa.concat_tables(parts) for name, parts in kept.items()}
        return Done(days, rows, _later(pl.concat(last)), read, filed)

    def _window(self, day: date) -> tuple[datetime, datetime]:
        """The day and the longest hole to either side."""
        return (
            calendar.midnight(day, self.zone) - self.max_hole,
            calendar.midnight(day + timedelta(days=1), self.zone) + self.max_hole,
        )

    def _conflicts(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Times of readings that a later arrival contradicted: `terminal`, `ts`."""
        lines = ledgers.lines(self.conflicts, {"terminal": pl.String(), "ts": pl.String()})
        times = lines.select("terminal", ts=pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC", strict=False))
        return times.filter(pl.col("ts").is_between(start, end))


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


def buckets(store: RawStore, meters: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, list[str] | None]]:
    """The meters cut into buckets for one stretch, with their terminals (None: all).

    By the store's own parts and by terminals, so that each bucket reads its own files, and its own part of a sorted one.
    """
    firsts = meters.group_by("meter").agg(pl.col("terminal").min())
    own_part = pl.Series("part", store.buckets_of(firsts["terminal"].to_list()), pl.Int64)
    order = firsts.with_columns(own_part).sort("part", "terminal", "meter")["meter"]
    if len(order) <= STRETCH_METER_DAYS or not store.cuts_by_terminal:
        yield meters, None
        return
    size = math.ceil(len(order) / min(BUCKETS, math.ceil(len(order) / STRETCH_METER_DAYS)))
    for start in range(0, len(order), size):
        own = meters.filter(pl.col("meter").is_in(order.slice(start, size).implode()))
        yield own, own["terminal"].unique().to_list()


class _LookBack:
    """Readings of terminals before a day of a block (`units.LookBack`); each terminal is read once a block.

    A register that stands at 0 is looked up on every day.
    """

    def __init__(self, block: _Block, until: datetime) -> None:
        self._block, self._until = block, until
        self._start: datetime | None = None
        self._known: set[str] = set()
        self._readings = pl.DataFrame(schema={name: READING[name] for name in units.COLUMNS})

    def __call__(self, terminals: list[str], start: datetime, end: datetime) -> pl.DataFrame:
        if new := set(terminals) - self._known:
            self._start = self._start or start
            found = self._block.store.read(self._start, self._until, columns=units.COLUMNS, terminals=new)
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


def _keep_latest(store: RawStore, connection: duckdb.DuckDBPyConnection, last: pl.DataFrame, days: Sequence[date]) -> None:
    """Merge the days' last readings into `latest_reading`: one row a meter, the greatest event time wins; pressure likewise."""
    known = connection.sql("select * from latest_reading").pl()
    known = known.filter(~pl.col("day").is_in(list(days))).cast(LATEST)
    last = _with_origin(store, _later(last))
    merged = _later(pl.concat([known, last.select(*LATEST)]))
    warehouse.replace_all(connection, "latest_reading", merged)


def _with_origin(store: RawStore, last: pl.DataFrame) -> pl.DataFrame:
    """Last readings with the columns that were not read for figures; a UTC day at a time."""
    points = last.group_by(pl.col("reading_at").dt.date(), maintain_order=True).agg(
        first=pl.col("reading_at").min(), last=pl.col("reading_at").max()
    )
    wanted = ["terminal", "ts", *LAST_ORIGIN]
    found = [pl.DataFrame(schema={name: READING[name] for name in wanted})]
    keys = last.select("terminal", ts="reading_at")
    for first, end in points.select("first", "last").iter_rows():
        found.append(store.read(first, end, columns=wanted).join(keys, on=["terminal", "ts"], how="semi"))
    return last.join(pl.concat(found), left_on=["terminal", "reading_at"], right_on=["terminal", "ts"], how="left")

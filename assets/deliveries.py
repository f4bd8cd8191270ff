"""How the readings of each meter and local day were delivered: when they came, battery, signal and status word.

One pass over the raw readings of a day at a time, by meters as units assign them (`units.assigned`).
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter

import duckdb
import polars as pl

from assets import calendar, cleaned, registry_history, units, warehouse
from assets.workbench import Workbench
from ingest_daemon.contract.schema import TIMESTAMP

COLUMNS = ("terminal", "ts", "received_at", "battery_v", "signal", "status")
"""What of a reading its delivery needs."""

SOON, LATE = timedelta(hours=24), timedelta(hours=72)

DELIVERY_DAY: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "readings": pl.Int64(),
    "within_24h": pl.Int64(),
    "within_72h": pl.Int64(),
    "lag_min_s": pl.Float64(),
    "lag_median_s": pl.Float64(),
    "first_received_at": TIMESTAMP,
    "battery_min_v": pl.Float64(),
    "signal_min": pl.Int64(),
    "status_bits": pl.Int64(),
}
"""Readings of a meter and day, those that came within so many hours, least and median time from device to receipt, first receipt,
lowest battery and signal, and the status bits that any reading had; null where no reading has it."""

LAG = pl.col("received_at") - pl.col("ts")

FIGURES = (
    pl.len().cast(pl.Int64).alias("readings"),
    (LAG <= SOON).sum().cast(pl.Int64).alias("within_24h"),
    (LAG <= LATE).sum().cast(pl.Int64).alias("within_72h"),
    (LAG.dt.total_microseconds().min() / 1e6).alias("lag_min_s"),
    (LAG.dt.total_microseconds().median() / 1e6).alias("lag_median_s"),
    pl.col("received_at").min().alias("first_received_at"),
    pl.col("battery_v").min().alias("battery_min_v"),
    pl.col("signal").min().alias("signal_min"),
    pl.col("status").drop_nulls().bitwise_or().alias("status_bits"),
)


def make(bench: Workbench, connection: duckdb.DuckDBPyConnection, touched: Sequence[date]) -> int:
    """Replace `delivery_day` of the days. Gives the rows written. Raises `StoreAway`."""
    written = 0
    for days, parts in groupby(cleaned.parts(bench.store, connection, touched), attrgetter("days")):
        found = [rows for part in parts for rows in _of_part(bench, part)]
        rows = pl.concat([pl.DataFrame(schema=DELIVERY_DAY), *found]).sort("day", maintain_order=True)
        written += warehouse.replace_rows(connection, "delivery_day", rows, "day", days)
    return written


def _of_part(bench: Workbench, part: cleaned.Part) -> Iterator[pl.DataFrame]:
    """The rows of a part. A reading at midnight closes the day before."""
    day = (pl.col("ts") - calendar.TICK).dt.convert_time_zone(bench.zone.key).dt.date().alias("day")
    for days, meters in cleaned.stretches(registry_history.Facts(part.spans, bench.zone, bench.max_hole), part.days):
        start, end = calendar.midnight(days[0], bench.zone), calendar.midnight(days[-1] + timedelta(days=1), bench.zone)
        names = meters["meter"].unique().sort()
        readings = bench.store.read(start + calendar.TICK, end, columns=COLUMNS, terminals=part.terminals(meters))
        rows = units.assigned(readings, meters, {meter: place for place, meter in enumerate(names)})
        found = rows.frame.with_columns(place=pl.Series(rows.meter)).group_by("place", day, maintain_order=True).agg(*FIGURES)
        yield found.select(names.gather(found["place"]).alias("meter"), *list(DELIVERY_DAY)[1:])

"""The rules of both raw stores: which rows can be a point, which spans of time arrived, which of two points wins.

Pure functions on columns, so that two engines give identical answers; no file and no network here.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.contract.schema import FIELDS, READING, TIMESTAMP

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

ALL = tuple(READING)
KEY = ["terminal", "ts"]
LATER = ["received_at", "frame"]
"""What says which of two readings of one point came later."""
POSITION = ["stream", "frame"]
"""Where the journal holds the frame that gave a reading; unique."""
SPAN_GAP = timedelta(hours=1)
"""Event times further apart than this belong to two spans, so that one old reading does not touch all days since."""


class Sifted(NamedTuple):
    """Rows that can be stored, with the columns of `READING`, and those that cannot, with `detail` besides."""

    good: pl.DataFrame
    refused: pl.DataFrame


def sift(readings: pl.DataFrame) -> Sifted:
    """Part the rows that no store can hold from the others, and put the others in the order of their arrival.

    Device times are cut to whole milliseconds, the finest that both stores keep.
    """
    finite = [
        pl.when(pl.col(field.name).is_finite().not_()).then(pl.lit(f"{field.name} is not a finite number"))
        for field in FIELDS
        if field.dtype.is_float() and readings[field.name].null_count() < readings.height
    ]
    names = readings["terminal"].cast(pl.String).unique()  # far fewer than rows
    bad_names = names.filter(names.is_null() | names.str.contains(r"^$|[\x00-\x1f\x7f\\]"))
    if len(bad_names):
        bad_name = pl.col("terminal").is_in(bad_names.implode(), nulls_equal=True)
        finite.append(pl.when(bad_name).then(pl.lit("terminal: expected a number without control characters or backslashes")))
    detail = pl.coalesce(
        pl.when(pl.col("ts").is_null() | pl.col("received_at").is_null()).then(pl.lit("ts and received_at must be times")),
        *reversed(finite),
    )
    rows = readings.select(pl.col(name).cast(dtype) for name, dtype in READING.items())
    details = rows.select(detail=detail).to_series()
    if details.null_count() < len(details):
        good, refused = rows.filter(details.is_null()), rows.with_columns(details).filter(details.is_not_null())
    else:
        good, refused = rows, rows.head(0).with_columns(detail=pl.lit(None, pl.String))
    good = good.with_columns(pl.col("ts").dt.truncate("1ms"))
    in_order = good.select((_same_or_later("received_at", pl.lit(True)) & _same_or_later("frame", _same("received_at"))).all())
    return Sifted(good if in_order.item() else good.sort("received_at", "frame", maintain_order=True), refused)


def _same(name: str) -> pl.Expr:
    return pl.col(name) == pl.col(name).shift()


def _same_or_later(name: str, where: pl.Expr) -> pl.Expr:
    """Whether a row's value is not less than that of the row before, `where` that matters."""
    return ((pl.col(name) >= pl.col(name).shift()) | ~where).fill_null(True)


def runs(readings: pl.DataFrame) -> pl.DataFrame:
    """Consecutive readings of one terminal at rising times, a row each: `terminal`, `first` and `last` time, `rows`."""
    follows = (pl.col("terminal") == pl.col("terminal").shift()) & (pl.col("ts") > pl.col("ts").shift())
    starts = readings.select(follows.fill_null(False).not_().arg_true().cast(pl.Int64)).to_series()
    ends = starts.shift(-1, fill_value=readings.height)
    return pl.DataFrame(
        {
            "terminal": readings["terminal"].gather(starts),
            "first": readings["ts"].gather(starts),
            "last": readings["ts"].gather(ends - 1),
            "rows": ends - starts,
        }
    )


def overlaps(table: pl.DataFrame) -> pl.Series:
    """Terminals with two runs that overlap in time, so that a point may come twice. `table`: of `runs`."""
    before = pl.col("last").cum_max().shift().over("terminal")
    in_time = table.sort("terminal", "first")
    return in_time.filter((pl.col("first") <= before).fill_null(False))["terminal"].unique()


def spans(times: pl.Series) -> pl.DataFrame:
    """Contiguous spans of the given times: `start`, `end` (UTC, both ends touched), sorted."""
    sorted_times = times.unique().sort().alias("ts").to_frame()
    span = (pl.col("ts").diff() > SPAN_GAP).fill_null(False).cum_sum().alias("span")
    return (
        sorted_times.group_by(span, maintain_order=True)
        .agg(pl.col("ts").first().alias("start"), pl.col("ts").last().alias("end"))
        .select(pl.col("start", "end").cast(TIMESTAMP))
    )


def merge(rows: pl.DataFrame, columns: Sequence[str] = ALL, within: Mask | None = None) -> pl.DataFrame:
    """One row a (terminal, ts), sorted by both: the later arrival wins field by field, and a null never overwrites.

    Later is by `received_at`, then `frame`, then the order of the rows. This is InfluxDB's upsert, in columns. `columns`: of the
    result, as far as the rows have them. `within`: which rows count, all by default.
    """
    wanted = rows.select(name for name in columns if name in rows.columns)
    names, ranks = _ranks(rows["terminal"])
    key = _point_keys(ranks, rows["ts"])
    places = np.arange(len(key)) if within is None or within.all() else np.flatnonzero(within)
    if len(places) == len(key) and (key[1:] > key[:-1]).all():
        return wanted
    # Files hold long sorted runs, of which a stable sort makes use.
    order = places[np.argsort(key[places], kind="stable")]
    key = key[order]
    again = np.append(False, key[1:] == key[:-1])[: len(key)]
    taken = order[~again]
    # Only the few rows that share a point are weighed: grouping every row would cost more than the whole read.
    is_shared = again | np.append(again[1:], False)[: len(key)]
    points = (np.cumsum(~again) - 1)[is_shared & ~again]
    shared, begins = _by_arrival(rows.select(LATER), order[is_shared], ~again[is_shared])
    found = []
    for column in wanted:
        own = taken
        if len(points):
            own = taken.copy()
            own[points] = _last_known(column, shared, begins)
        found.append(names.gather(ranks[own]) if column.name == "terminal" else _gathered(column, own))
    return pl.DataFrame(found)


def _by_arrival(later: pl.DataFrame, rows: Ints, begins: Mask) -> tuple[Ints, Ints]:
    """Rows that share points in the order of their arrival in each point, and where the points begin, and their end.

    `rows`: by point; `begins`: whether a point begins there.
    """
    arrived = later[rows].select(pl.all().to_physical().fill_null(np.iinfo(np.int64).min))
    point = np.cumsum(begins)
    order = np.lexsort((rows, arrived["frame"].to_numpy(), arrived["received_at"].to_numpy(), point))
    return rows[order], np.append(np.flatnonzero(begins), len(rows))


def _last_known(column: pl.Series, rows: Ints, begins: Ints) -> Ints:
    """Of each point the last of its rows in which the column is known; the first where it is known in none."""
    if not column.null_count():
        return rows[begins[1:] - 1]
    places = np.where(column.is_not_null().to_numpy()[rows], np.arange(len(rows)), np.repeat(begins[:-1], np.diff(begins)))
    return rows[np.maximum.accumulate(places)[begins[1:] - 1]]


def _gathered(column: pl.Series, places: Ints) -> pl.Series:
    """The values at these places; numpy takes whole columns of numbers several times as fast as Polars."""
    if (column.dtype.is_numeric() or column.dtype.is_temporal()) and not column.null_count():
        return pl.Series(column.name, np.take(column.to_physical().to_numpy(), places)).cast(column.dtype)
    if column.dtype.is_float():  # no store holds a NaN
        return pl.Series(column.name, np.take(column.to_numpy(), places), nan_to_null=True)
    return column.gather(places)


def _ranks(terminals: pl.Series) -> tuple[pl.Series, Ints]:
    """The terminals sorted, and the rank of each row's among them."""
    found = terminals.rle().struct.unnest()  # a terminal's readings come together, so there are far fewer runs than rows
    ranks = (found["value"].rank("dense") - 1).to_numpy().astype(np.int64)
    return found["value"].unique().sort().alias("terminal"), np.repeat(ranks, found["len"].to_numpy())


def _point_keys(ranks: Ints, ts: pl.Series) -> Ints:
    """An integer of each row's (terminal, ts) that sorts as they do."""
    times = ts.to_physical().to_numpy()
    times = times - times.min(initial=np.iinfo(np.int64).max)
    span = int(times.max(initial=0)) + 1
    if (int(ranks.max(initial=0)) + 1) * span > np.iinfo(np.int64).max:
        times = ts.rank("dense").to_numpy().astype(np.int64)
        span = len(times) + 1
    return np.asarray(ranks * span + times)

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


def merge(rows: pl.DataFrame, columns: Sequence[str] = ALL) -> pl.DataFrame:
    """One row a (terminal, ts), sorted by both: the later arrival wins field by field, and a null never overwrites.

    Later is by `received_at`, then `frame`, then the order of the rows. This is InfluxDB's upsert, in columns. `columns`: of the
    result, as far as the rows have them.
    """
    wanted = [name for name in columns if name in rows.columns]
    key = point_keys(rows)
    if (key[1:] > key[:-1]).all():
        return rows.select(wanted)
    # Files hold long sorted runs, of which a stable sort makes use.
    order = np.argsort(key, kind="stable")
    key = key[order]
    again = np.append(False, key[1:] == key[:-1])
    found: pl.DataFrame = rows.select(wanted)[order[~again]]
    if not again.any():
        return found
    # Only the few rows that share a point are grouped: grouping every row would cost more than the whole read.
    shared = again | np.append(again[1:], False)
    groups = rows[order[shared]].sort(*KEY, *LATER, maintain_order=True).group_by(KEY, maintain_order=True)
    merged = groups.agg(pl.all().drop_nulls().last())
    places = pl.Series(np.flatnonzero(shared[~again]))
    return found.with_columns(found[name].scatter(places, merged[name]) for name in wanted if name not in KEY)


def point_keys(rows: pl.DataFrame) -> NDArray[np.int64]:
    """An integer of each row's (terminal, ts) that sorts as they do."""
    found = rows["terminal"].rle().struct.unnest()  # a terminal's readings come together, so there are far fewer runs than rows
    ranks = (found["value"].rank("dense") - 1).to_numpy().astype(np.int64)
    times = rows["ts"].to_physical().to_numpy()
    times = times - times.min(initial=np.iinfo(np.int64).max)
    span = int(times.max(initial=0)) + 1
    if (int(ranks.max(initial=0)) + 1) * span > np.iinfo(np.int64).max:
        times = rows["ts"].rank("dense").to_numpy().astype(np.int64)
        span = len(times) + 1
    return np.asarray(np.repeat(ranks * span, found["len"].to_numpy()) + times)

"""InfluxDB line protocol of readings and arrivals, made in columns."""

from itertools import chain

import polars as pl

from ingest_daemon.contract.schema import FIELDS, MEASUREMENT, TERMINAL_TAG, Field

ARRIVAL = "arrival"
"""Measurement of the spans of event time that arrived."""


def reading_lines(readings: pl.DataFrame) -> pl.Series:
    """A line for each reading, time in ms: floats always as floats, integers with `i`, missing fields left out.

    The text that all readings of a frame share is made once and repeated.
    """
    common = ["terminal", "received_at", "channel", "stream", "frame"]
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in common)
    begins = begins | (pl.int_range(pl.len()) == 0)
    tag = pl.col("terminal")
    for special in (",", "=", " "):
        tag = tag.str.replace_all(special, "\\" + special, literal=True)
    channel = pl.col("channel").str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    origin = [
        pl.format("received_us={}i", pl.col("received_at").dt.epoch("us")),
        pl.format('channel="{}"', channel),
        pl.format('stream="{}"', pl.col("stream")),
        pl.format("frame={}i", pl.col("frame")),
    ]
    start = pl.format(MEASUREMENT + "," + TERMINAL_TAG + "={} {}", tag, pl.concat_str(origin, separator=",", ignore_nulls=True))
    begun = readings.select(begins).to_series()
    starts = readings.filter(begun).select(start).to_series()
    start_of_row = pl.lit(starts.gather(begun.cum_sum() - 1))
    fields = chain.from_iterable(_field(readings, field) for field in FIELDS)
    return readings.select(pl.concat_str([start_of_row, *fields, pl.lit(" "), pl.col("ts").dt.epoch("ms")])).to_series()


def _field(readings: pl.DataFrame, field: Field) -> list[pl.Expr]:
    """The text of a field in pieces, as few as its missing values allow: each piece that is made and copied costs."""
    begin, value, end = f",{field.name}=", pl.col(field.name), [] if field.dtype.is_float() else [pl.lit("i")]
    missing = readings[field.name].null_count()
    if missing == readings.height:
        return []
    if missing:
        return [pl.concat_str(pl.lit(begin), value, *end).fill_null("")]
    return [pl.lit(begin), value, *end]


def arrival_lines(spans: pl.DataFrame, first_ns: int) -> pl.Series:
    """A line for each span, one nanosecond apart from `first_ns` on."""
    line = pl.format(
        ARRIVAL + " start={}i,end={}i {}",
        pl.col("start").dt.epoch("ms"),
        pl.col("end").dt.epoch("ms"),
        pl.int_range(pl.len(), dtype=pl.Int64) + first_ns,
    )
    return spans.select(line).to_series()

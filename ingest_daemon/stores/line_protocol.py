"""InfluxDB line protocol of readings and arrivals, made in columns."""

import polars as pl

from ingest_daemon.contract.schema import FIELDS, MEASUREMENT, TERMINAL_TAG

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
    starts = readings.filter(begins).select(start).to_series()
    fields = [
        pl.format("," + field.name + ("={}" if field.dtype.is_float() else "={}i"), pl.col(field.name))
        for field in FIELDS
        if readings[field.name].null_count() < readings.height
    ]
    line = pl.concat_str(
        [
            starts.gather(readings.select(begins.cum_sum() - 1).to_series()),
            *fields,
            pl.format(" {}", pl.col("ts").dt.epoch("ms")),
        ],
        ignore_nulls=True,
    )
    return readings.select(line).to_series()


def arrival_lines(spans: pl.DataFrame, first_ns: int) -> pl.Series:
    """A line for each span, one nanosecond apart from `first_ns` on."""
    line = pl.format(
        ARRIVAL + " start={}i,end={}i {}",
        pl.col("start").dt.epoch("ms"),
        pl.col("end").dt.epoch("ms"),
        pl.int_range(pl.len(), dtype=pl.Int64) + first_ns,
    )
    return spans.select(line).to_series()

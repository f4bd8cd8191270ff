"""`ops.latest_reading` in PostgreSQL: the newest reading of each terminal. The daemon writes it, boards and views read it."""

import polars as pl

from ingest_daemon.contract.schema import FIELDS, READING

FIELD_NAMES = [field.name for field in FIELDS]
"""The measured values."""

_TYPES = {pl.Float64(): "double precision", pl.Int64(): "bigint", pl.String(): "text"}

COLUMNS = {
    name: "text" if name == "meter" else _TYPES.get(READING[name], "timestamptz")
    for name in ("terminal", "meter", "ts", *FIELD_NAMES, "received_at", "channel", "stream", "frame")
}
"""Columns and their types of PostgreSQL, but for `updated_at`."""

"""Comparison of readings with the point that they meet."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from ingest_daemon.contract.schema import FIELDS, READING, Reason
from ingest_daemon.forwarding.quarantine import QuarantineEntry
from ingest_daemon.forwarding.triage import quarantine_entry
from ingest_daemon.journal.records import Record
from ingest_daemon.stores.points import KEY

_BEFORE = {field.name: f"{field.name}_before" for field in FIELDS}
"""Column of a field's last known value before a reading."""


class Compared(NamedTuple):
    """Readings to store, entries of those that contradict a stored one (which are stored, too), number of exact duplicates."""

    readings: pl.DataFrame
    kept: list[QuarantineEntry]
    duplicates: int


def with_verdicts(readings: pl.DataFrame) -> pl.DataFrame:
    """The readings with three judgements against the earlier rows of the same point, and with these rows' last values.

    `again`: there is an earlier row. `differs`: a field that was given has another value now. `adds`: an empty one is given now.
    """
    before = readings.with_columns(
        *(pl.col(name).forward_fill().shift().over(KEY).alias(old) for name, old in _BEFORE.items()),
        again=pl.int_range(pl.len()).over(KEY) > 0,
    )
    return before.with_columns(
        differs=pl.any_horizontal((pl.col(name) != pl.col(old)).fill_null(False) for name, old in _BEFORE.items()),
        adds=pl.any_horizontal(pl.col(name).is_not_null() & pl.col(old).is_null() for name, old in _BEFORE.items()),
    )


def compare(stream: str, records: Sequence[Record], readings: pl.DataFrame, stored: pl.DataFrame) -> Compared:
    """Compare each reading with the point before it: first the stored one (columns of `READING`), then earlier rows of the group.

    A field that was empty and is now given completes the point; one given twice with different values is a contradiction.
    """
    both = pl.concat([stored.with_columns(index=pl.lit(None, pl.Int64)), readings.with_columns(pl.col("index").cast(pl.Int64))])
    judged = with_verdicts(both).filter(pl.col("index").is_not_null())
    kept = [
        quarantine_entry(Reason.CONFLICT, stream, records, row["index"], row["terminal"], row["ts"], _changes(row))
        for row in judged.filter("differs").iter_rows(named=True)
    ]
    new = judged.filter(~pl.col("again") | pl.col("differs") | pl.col("adds"))
    return Compared(new.select(*READING, "index"), kept, len(judged) - len(new))


def _changes(row: Mapping[str, Any]) -> str:
    pairs = [(name, row[old], row[name]) for name, old in _BEFORE.items()]
    return "; ".join(f"{name}: {old} → {new}" for name, old, new in pairs if None not in (old, new) and old != new)

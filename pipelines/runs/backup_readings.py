"""Raw readings of a store that is a server, as Parquet files of a backup, and from there into a server again.

readings/<start>.parquet    what the store holds of the `PIECE` of device time from then on, UTC
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from ingest_daemon.contract.log import LOG
from ingest_daemon.stores import RawStore
from ingest_daemon.stores.points import ALL, LATER, merge

FOLDER = "readings"
PIECE = timedelta(hours=6)
"""Of 200,000 meters at 15 minutes these are 4.8 million readings: what memory holds at a time."""


def name_of(start: datetime) -> str:
    """The file of the piece that starts then."""
    return f"{start:%Y-%m-%dT%H}.parquet"


def touched(store: RawStore, cursor: str | None) -> tuple[list[datetime], str]:
    """Starts of the pieces in which readings arrived since the cursor (None: of all), and the new cursor. Raises `StoreAway`."""
    spans, cursor = store.arrivals(cursor)
    first, last = pl.col("start").dt.truncate(PIECE), pl.col("end").dt.truncate(PIECE)
    starts = spans.select(piece=pl.datetime_ranges(first, last, PIECE)).explode("piece", empty_as_null=False)
    return starts["piece"].unique().sort().to_list(), cursor


def pieces(store: RawStore, starts: list[datetime]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Name and readings of each piece that has any. Raises `StoreAway`."""
    for start in starts:
        readings = store.read(start, start + PIECE - timedelta(milliseconds=1))
        if readings.height:
            yield name_of(start), readings


def write_back(folder: Path, store: RawStore) -> int:
    """Put the readings of a folder into the store and delete the files; gives their number.

    What came to the store meanwhile is later and stays; after an interruption it goes on where it ended. Raises `StoreAway`,
    `OSError`.
    """
    written = 0
    for path in sorted(folder.glob("*.parquet")):
        kept = pl.read_parquet(path)
        there = store.read(kept["ts"].min(), kept["ts"].max())  # type: ignore[arg-type]
        missing = merge(pl.concat([kept, there])).join(there, on=list(ALL), how="anti", nulls_equal=True)
        if missing.height:
            refused = store.write(missing.sort(LATER))
            for terminal, ts, detail in refused.select("terminal", "ts", "detail").iter_rows():
                LOG.warning("%s: the store refuses the reading of %s at %s: %s", path.name, terminal, ts, detail)
        written += missing.height
        path.unlink()
    if folder.exists():
        folder.rmdir()
    return written

"""The raw store: where decoded readings lie, one point a (terminal, device time), whichever engine keeps them.

`parquet.py`, `influxdb.py` and `lake.py` each offer the `RawStore` functions; which one a site uses is a setting.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ingest_daemon.contract.site import Site
from ingest_daemon.stores.layout import check_layout
from ingest_daemon.stores.settings import S3, StoreSettings

if TYPE_CHECKING:
    import polars as pl

    from ingest_daemon.stores.storage import Storage


class StoreAway(Exception):
    """The store cannot take or give data now (refused, hanging, 5xx, wrong token): wait, keep everything, try again."""


class Arrivals(NamedTuple):
    """Arrivals since a cursor: spans of event time (`start`, `end`, UTC, both ends touched) and the new cursor."""

    spans: "pl.DataFrame"
    cursor: str


class RawStore(Protocol):
    """Raw readings of a site. The columns are those of `schema.READING`."""

    def write(self, readings: "pl.DataFrame") -> "pl.DataFrame":
        """Store readings durably and note their spans as arrived; idempotent.

        Returns the rows that the store refuses for good, with a column `detail` (the store's words); usually none.
        Raises `StoreAway`.
        """
        ...

    def withdraw(self, points: "pl.DataFrame") -> None:
        """Delete points (columns `KEY` and `POSITION` of `points`) whose frames now decode differently; their spans have arrived.

        Raises `StoreAway`, or `RuntimeError` where the store cannot.
        """
        ...

    @property
    def cuts_by_terminal(self) -> bool:
        """Whether the readings of a tenth of the terminals cost about a tenth to read."""
        ...

    def buckets_of(self, terminals: Sequence[str]) -> list[int]:
        """The part of each day in which the readings of each terminal lie; 0 where a day is not cut. Raises `StoreAway`."""
        ...

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ..., terminals: Collection[str] | None = None
    ) -> "pl.DataFrame":
        """Readings with start <= ts <= end, one row a (terminal, ts), sorted by both; later arrivals have won.

        `columns`: of `schema.READING`, all by default. `terminals`: only of these.

        Raises `StoreAway`.
        """
        ...

    def arrivals(self, cursor: str | None) -> Arrivals:
        """Spans of event time written since `cursor` (None: since the beginning). Raises `StoreAway`."""
        ...

    def check(self) -> str:
        """One sentence about the store's state for `mainflow doctor`. Raises `StoreAway` saying what is wrong."""
        ...


def open_store(site: Site, settings: StoreSettings) -> RawStore:
    """The raw store that the site's settings name. Raises `ValueError` where the site has another layout."""
    check_layout(site)
    if settings.kind == "influxdb":  # its client is imported only where it is used: it costs every command a third of a second
        from ingest_daemon.stores.influxdb import InfluxStore

        return InfluxStore(settings)
    if (lake := open_lake(settings)) is not None:
        from ingest_daemon.stores.lake import LakeStore

        return LakeStore(lake, settings.share, site, settings.lake_buckets)
    from ingest_daemon.stores.parquet import ParquetStore

    return ParquetStore(site.raw)


def open_lake(settings: StoreSettings) -> "Storage | None":
    """The root of the lake that the settings name; None where they name another store."""
    if settings.kind != "lake":
        return None
    from ingest_daemon.stores.storage import LocalStorage

    if not settings.lake.startswith(S3):
        return LocalStorage(Path(settings.lake))
    from ingest_daemon.stores.object_storage import Access, ObjectStorage

    access = Access(settings.s3_endpoint, settings.s3_region, settings.s3_key_id, settings.s3_secret)
    return ObjectStorage(settings.lake.removeprefix(S3), access)

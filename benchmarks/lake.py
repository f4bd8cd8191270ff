"""What a lake costs against the embedded archive: the same readings written and read through both, CPU of this process."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from benchmarks import archive
from benchmarks.figures import Figure, ratios
from benchmarks.run import Run
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore, open_store
from ingest_daemon.stores.parquet import ParquetStore
from ingest_daemon.stores.settings import StoreSettings

METERS, DAYS = 20_000, 3
METERS_PER_BUCKET = 2_000
GROUP = 65_536
"""Readings of one write, as of a busy daemon."""

COLUMNS = ("terminal", "ts", "forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa")


def lake(run: Run) -> list[Figure]:
    """Lake ÷ embedded archive: writes, a day of all terminals, a day of one bucket; in S3_BUCKET of the object store, too."""
    meters = run.sized(METERS)
    archive.write_archive(run.folder / "lake-source", meters, DAYS)
    first = datetime(archive.FIRST.year, archive.FIRST.month, archive.FIRST.day, tzinfo=UTC)
    rows = ParquetStore(run.folder / "lake-source").read(first, first + timedelta(days=DAYS + 2)).sort("received_at", "frame")
    buckets = max(2, meters // METERS_PER_BUCKET)
    (run.folder / "lake").mkdir()
    places = {"folder": str(run.folder / "lake")}
    if "S3_BUCKET" in os.environ:
        places["object store"] = f"s3://{os.environ['S3_BUCKET']}/{run.folder.name}"
    stores: dict[str, RawStore] = {"archive": ParquetStore(run.folder / "lake-archive")}
    for name, place in places.items():
        chosen = StoreSettings(
            kind="lake", lake=place, share="a", lake_buckets=buckets, s3_endpoint=os.environ.get("S3_ENDPOINT", "")
        )
        stores[name] = open_store(Site(run.folder / name.replace(" ", "-")), chosen)
    note = f"{meters:,} meters, {rows.height:,} readings, {buckets} buckets"
    written = {name: [cpu_s(_write, store, rows)] for name, store in stores.items()}
    names = rows["terminal"].unique().sort().to_list()
    own = [name for name, part in zip(names, stores["folder"].buckets_of(names), strict=True) if part == 1]
    whole: dict[str, list[float]] = {name: [] for name in stores}
    one: dict[str, list[float]] = {name: [] for name in stores}
    day = (first + timedelta(days=1), first + timedelta(days=2))
    for _ in run.each_round("lake"):
        for name, store in stores.items():
            whole[name].append(cpu_s(store.read, *day, columns=COLUMNS))
            one[name].append(cpu_s(store.read, *day, columns=COLUMNS, terminals=own))
    return [
        Figure("lake", f"{what}, {name} ÷ archive", ratios(used[name], used["archive"]), "×", None, note)
        for name in places
        for what, used in (("writes", written), ("a day of all", whole), ("a day of one bucket", one))
    ]


def cpu_s(call: Callable[..., Any], *given: Any, **named: Any) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    call(*given, **named)
    return time.process_time() - before


def _write(store: RawStore, rows: pl.DataFrame) -> None:
    for group in rows.iter_slices(GROUP):
        store.write(group)

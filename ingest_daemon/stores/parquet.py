"""The embedded raw store: a folder of Parquet files by UTC day of the device time, and a list of arrivals.

    readings/day=YYYY-MM-DD/<sequence>.<checksum>.parquet
                                                 every row as it was written; the merge of points is made when reading
                                                 a day that is over is joined into one file, sorted by terminal and time
                                                 checksum: CRC-32 of the file; those of before have none
    arrivals.csv                                 start,end of each span of event time; the byte offset is the cursor

One process writes (the daemon); any number may read at any moment. `points.py` defines a point and which of two wins.
"""

import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from ingest_daemon.contract.files import parquet_bytes, replace_file, sync_folder, whole_lines
from ingest_daemon.contract.schema import READING, TIMESTAMP
from ingest_daemon.stores import Arrivals, StoreAway
from ingest_daemon.stores.points import ALL, KEY, LATER, POSITION, merge, sift, spans

FILES_PER_DAY = 32
"""A day's folder with more files than this is compacted."""

ROW_GROUP = 16_384
"""Rows of a sorted file that are skipped as one where the terminals asked for are not among them."""

OPEN_DAYS = 2
"""A day begins: those before it, this many excepted, are over. Terminals that report daily have reported by then."""

READ_TRIES = 20
"""Attempts to read: a file that vanishes meanwhile was compacted into another, so the folder is listed again."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"


class ParquetStore:
    """The raw store in `folder`."""

    cuts_by_terminal = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readings = folder / "readings"
        self._arrivals = folder / "arrivals.csv"
        self._torn_line_cut = False
        self._whole: set[tuple[Path, int, int]] = set()
        """Files that were found whole, by their time and size: each is looked through once a process."""

    def write(self, readings: pl.DataFrame) -> pl.DataFrame:
        """See `RawStore.write`. Durable when it returns: files, their folders and the arrival are synced, in this order."""
        good, refused = sift(readings)
        if good.is_empty():
            return refused
        with self._away("cannot be written"):
            days = good.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True, include_key=False)
            for (day,), rows in days.items():
                folder = self._readings / f"day={day}"
                begins = not folder.exists()
                _make_folder(folder)
                _write_file(folder, rows)
                if len(_files(folder)) > FILES_PER_DAY:
                    self._join(folder, _newest(folder))
                if begins:
                    self._finish_before(day)
            self._note(spans(good["ts"]))
        return refused

    def withdraw(self, points: pl.DataFrame) -> None:
        """See `RawStore.withdraw`. The days are rewritten; a kill in between leaves the old rows, to be withdrawn again."""
        with self._away("cannot be written"):
            for (day,), rows in points.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True).items():
                files = _files(self._readings / f"day={day}")
                self._look_through(files)
                held = pl.read_parquet(files, hive_partitioning=False, glob=False).unique(keep="last", maintain_order=True)
                _write_file(
                    self._readings / f"day={day}", held.join(rows, on=[*KEY, *POSITION], how="anti", maintain_order="left")
                )
                for file in files:
                    file.unlink()
            self._note(spans(points["ts"]))

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ALL, terminals: Collection[str] | None = None
    ) -> pl.DataFrame:
        """See `RawStore.read`. One scan over the folders of the days touched."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        wanted = pl.col("ts").is_between(start, end)
        if terminals is not None:
            wanted &= pl.col("terminal").is_in(list(terminals))
            if terminals:  # lets a sorted file skip the rows of others
                wanted &= pl.col("terminal").is_between(pl.lit(min(terminals)), pl.lit(max(terminals)))
        scanned = [name for name in ALL if name in {*KEY, *LATER, *columns}]
        with self._away("cannot be read"):
            for attempt in range(1, READ_TRIES + 1):
                files = [file for folder in self._day_folders(start.date(), end.date()) for file in _files(folder)]
                if not files:
                    return pl.DataFrame(schema=READING).select(columns)
                try:
                    self._look_through(files)
                    rows = pl.scan_parquet(files, hive_partitioning=False, glob=False).filter(wanted).select(scanned).collect()
                except FileNotFoundError:
                    if attempt == READ_TRIES:
                        raise
                except pl.exceptions.PolarsError as error:
                    bad = ", ".join(str(file) for file in files if not _readable(file))
                    raise StoreAway(
                        f"the Parquet archive cannot be read; restore these files or move them away: {bad}: {error}"
                    ) from error
                else:
                    return merge(rows, columns)
        raise AssertionError("unreachable")

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`. A cursor that is not the end of a line belongs to another archive: all is new."""
        with self._away("cannot be read"):
            if not self._arrivals.exists():
                return Arrivals(pl.DataFrame(schema={"start": TIMESTAMP, "end": TIMESTAMP}), "0")
            # From the byte before, which must be the end of a line.
            offset = max(int(cursor or 0) - 1, 0)
            data = _tail(self._arrivals, offset)
            if offset and not data.startswith(b"\n"):
                offset, data = 0, _tail(self._arrivals, 0)
        whole = data.rfind(b"\n") + 1
        return Arrivals(_parse_spans(data[:whole].lstrip(b"\n")), str(offset + whole))

    def check(self) -> str:
        """See `RawStore.check`."""
        with self._away("cannot be read"):
            days = [folder.name.removeprefix("day=") for folder in self._day_folders(date.min, date.max)]
        if not days:
            return f"Parquet 归档 {self._folder}：尚无数据 / Parquet archive {self._folder}: no readings yet"
        held = f"{days[0]} … {days[-1]} ({len(days)} d)"
        return f"Parquet 归档 {self._folder}：{held} / Parquet archive {self._folder}: {held}"

    def _day_folders(self, first: date, last: date) -> list[Path]:
        try:
            names = sorted(os.listdir(self._readings))
        except FileNotFoundError:
            return []
        return [self._readings / name for name in names if f"day={first}" <= name <= f"day={last}"]

    def _finish_before(self, day: date) -> None:
        """Join the files of the last day that is over when `day` begins."""
        for folder in self._day_folders(date.min, day - timedelta(days=OPEN_DAYS))[-1:]:
            files = _files(folder)
            if len(files) > 1:
                self._join(folder, files)

    def _join(self, folder: Path, files: list[Path]) -> None:
        """Join the newest `files` of a day into one, then delete them; a kill in between leaves duplicates, merged by every read.

        Every distinct row is kept: a row that lost against a later one may still win a field against one that comes later
        but was received before. Damaged files are left alone.
        """
        if not all(map(is_whole, files)):
            return
        rows = pl.read_parquet(files, hive_partitioning=False, glob=False).unique(keep="last", maintain_order=True)
        _write_file(folder, rows.sort("terminal", "ts", maintain_order=True))
        for file in files:
            file.unlink()

    def damaged(self) -> list[Path]:
        """Every file of the archive that is not as it was written. Raises `StoreAway`."""
        with self._away("cannot be read"):
            return [file for folder in self._day_folders(date.min, date.max) for file in _files(folder) if not is_whole(file)]

    def _look_through(self, files: list[Path]) -> None:
        """Raises `StoreAway` naming the files that are not as they were written."""
        stats = {file: file.stat() for file in files}
        new = {file: (file, stat.st_mtime_ns, stat.st_size) for file, stat in stats.items()}
        looked = {file: seen for file, seen in new.items() if seen not in self._whole}
        if bad := [file for file in looked if not is_whole(file)]:
            raise StoreAway(
                f"files of the Parquet archive are damaged (their bytes do not give the checksum in their names): "
                f"{', '.join(map(str, bad))}; restore them from a backup, or move them away and run `mainflow journal replay`"
            )
        self._whole.update(looked.values())

    def _note(self, arrived: pl.DataFrame) -> None:
        """Append the spans; a line that a kill tore is cut off first, once a process."""
        existed = self._arrivals.exists()
        with self._arrivals.open("ab") as file:
            if not self._torn_line_cut:
                file.truncate(whole_lines(self._arrivals))
                self._torn_line_cut = True
            try:
                file.write(arrived.write_csv(include_header=False, datetime_format=TIME_FORMAT).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                self._torn_line_cut = False
                raise
        if not existed:
            sync_folder(self._folder)

    @contextmanager
    def _away(self, what: str) -> Iterator[None]:
        """Raise `StoreAway` for a full or broken disk, so that callers wait for it as for an absent server."""
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreAway(f"the Parquet archive {self._folder} {what}: {error}") from error


def _files(folder: Path) -> list[Path]:
    """A day's files in the order of writing; half-written ones have another suffix."""
    return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".parquet")]


def _readable(file: Path) -> bool:
    try:
        pl.read_parquet(file, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def is_whole(file: Path) -> bool:
    """Whether a file gives the checksum in its name; one of before, without one, whether it can be read. Raises `OSError`."""
    checksum = file.name.split(".")[1]
    return f"{zlib.crc32(file.read_bytes()):08x}" == checksum if checksum != "parquet" else _readable(file)


def _write_file(folder: Path, rows: pl.DataFrame) -> None:
    files = _files(folder)
    sequence = int(files[-1].name.split(".")[0]) + 1 if files else 1
    content = parquet_bytes(rows, row_group=ROW_GROUP)
    replace_file(folder / f"{sequence:08}.{zlib.crc32(content):08x}.parquet", [content])


def _newest(folder: Path) -> list[Path]:
    """The newest files, up to one that outweighs all newer ones together: so a row is rewritten a logarithmic number of times."""
    files = _files(folder)
    weight = 0
    newest = files[-1:]
    for index in range(len(files) - 1, -1, -1):
        size = files[index].stat().st_size
        if size <= weight:
            newest = files[index:]
        weight += size
    return newest


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, and sync the entry of each new one."""
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _tail(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def _parse_spans(lines: bytes) -> pl.DataFrame:
    if not lines:
        return pl.DataFrame(schema={"start": TIMESTAMP, "end": TIMESTAMP})
    text = pl.read_csv(
        lines,
        has_header=False,
        new_columns=["start", "end"],
        schema_overrides=[pl.String(), pl.String()],
    )
    return text.select(pl.col("start", "end").str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC"))

"""The embedded raw store: a folder of Parquet files by UTC day of the device time, and a list of arrivals. In a lake (`lake.py`)
each daemon has such a folder, where a day is cut into buckets of terminals besides: `day=YYYY-MM-DD/bucket=NNN/`.

    readings/day=YYYY-MM-DD/<sequence>-<first>.<checksum>.parquet
                                                 every row as it was written; the merge of points is made when reading
                                                 a day that is over is joined into one file, sorted by terminal and time
                                                 first: the file stands for all from this sequence to its own
                                                 checksum: CRC-32 of the file
                                                 those of before have neither, and stand for all before them
    counts/day=YYYY-MM-DD                        the newest sequence of the day (a line a bucket), so that a lost file is missed
                                                 a day without it is not looked through
    arrivals.csv                                 start,end of each span of event time; the byte offset is the cursor

One process writes (the daemon); any number may read at any moment. `points.py` defines a point and which of two wins.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.files import parquet_bytes
from ingest_daemon.contract.schema import READING, TIMESTAMP
from ingest_daemon.stores import Arrivals, StoreAway
from ingest_daemon.stores.points import ALL, KEY, LATER, POSITION, merge, sift, spans
from ingest_daemon.stores.storage import LocalStorage, Storage

READINGS, COUNTS, ARRIVALS = "readings", "counts", "arrivals.csv"

FILES_PER_DAY = 32
"""A day's folder with more files than this is compacted."""

ROW_GROUP = 16_384
"""Rows of a sorted file that are skipped as one where the terminals asked for are not among them."""

OPEN_DAYS = 2
"""A day begins: those before it, this many excepted, are over. Terminals that report daily have reported by then."""

READ_TRIES = 20
"""Attempts to read: a file that vanishes meanwhile was compacted into another, so the folder is listed again."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"

NO_SPANS = pl.DataFrame(schema={"start": TIMESTAMP, "end": TIMESTAMP})


class New(NamedTuple):
    """Rows for a new file of a folder that has the files `held`, in place of the `sources` where there are some."""

    rows: pl.DataFrame
    held: Sequence[str]
    sources: Sequence[str] = ()


class FilesMissing(StoreAway):
    """Files of the archive are not there any more; the text names them and what to do."""


class ParquetStore:
    """The raw store in a folder: of a site, or the share of one daemon in a lake, where each day is cut into `buckets`."""

    cuts_by_terminal = True

    def __init__(self, place: Path | Storage, buckets: int | None = None) -> None:
        self._storage: Storage = LocalStorage(place) if isinstance(place, Path) else place
        self._buckets = buckets
        self._whole: set[tuple[str, tuple[int, int]]] = set()
        """Files that were found whole, with their stamp: each is looked through once a process."""

    def buckets_of(self, terminals: Sequence[str]) -> list[int]:
        """See `RawStore.buckets_of`."""
        return bucket_of(terminals, self._buckets) if self._buckets is not None else [0] * len(terminals)

    def write(self, readings: pl.DataFrame) -> pl.DataFrame:
        """See `RawStore.write`. Durable when it returns: files, their folders and the arrival are synced, in this order."""
        good, refused = sift(readings)
        if good.is_empty():
            return refused
        with self._away("cannot be written"):
            days = good.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True, include_key=False)
            for (day,), rows in days.items():
                held = self._cells(f"day={day}")
                new = {cell: New(part, held.get(cell, [])) for cell, part in self._cut(f"day={day}", rows)}
                added = self._add(f"day={day}", new)
                for cell, file in added.items():
                    if len(files := [*held.get(cell, []), file]) > FILES_PER_DAY:
                        self._join(f"day={day}", cell, self._newest(files), files)
                if not held:
                    self._finish_before(day)
            self._storage.append(ARRIVALS, _lines(spans(good["ts"])))
        return refused

    def withdraw(self, points: pl.DataFrame) -> None:
        """See `RawStore.withdraw`. The days are rewritten; a kill in between leaves the old rows, to be withdrawn again."""
        with self._away("cannot be written"):
            for (day,), rows in points.with_columns(day=pl.col("ts").dt.date()).partition_by("day", as_dict=True).items():
                held = self._held([f"day={day}"])
                for cell, part in self._cut(f"day={day}", rows):
                    if not (files := held.get(cell, [])):
                        continue
                    self._look_through(files)
                    left = _distinct(self.scan(files)).join(part, on=[*KEY, *POSITION], how="anti", maintain_order="left")
                    self._add(f"day={day}", {cell: New(left, files, files)})
                    self._storage.delete(files)
            self._storage.append(ARRIVALS, _lines(spans(points["ts"])))

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ALL, terminals: Collection[str] | None = None
    ) -> pl.DataFrame:
        """See `RawStore.read`. One scan over the folders of the days touched."""
        with self._away("cannot be read"):
            return read_points(lambda: [self], start, end, columns, terminals)

    def files(self, first: date, last: date, terminals: Collection[str] | None = None) -> list[str]:
        """The files of the days that can hold readings of these terminals. Raises `FilesMissing`, `StoreAway`, `OSError`."""
        days = sorted({name for folder in (READINGS, COUNTS) for name in self._days(folder, first, last)})
        cells = self._held(days)
        if self._buckets is not None and terminals is not None:
            wanted = {bucket_name(bucket) for bucket in bucket_of(terminals, self._buckets)}
            cells = {cell: files for cell, files in cells.items() if cell.rpartition("/")[2] in wanted}
        files = [file for own in cells.values() for file in own]
        self._look_through(files)
        return files

    def scan(self, files: Sequence[str]) -> pl.LazyFrame:
        """The rows of files of the archive, one file after the other. Raises `FileNotFoundError`, `StoreAway`."""
        sources = self._storage.sources(files)
        self._refuse(
            [file for file, source in zip(files, sources, strict=True) if isinstance(source, bytes) and not _gives(file, source)]
        )
        return _scan(sources)

    def unreadable(self, files: Sequence[str]) -> list[str]:
        """Those of the files that are no Parquet file any more, as a person finds them."""
        return [self._storage.where(file) for file in files if not _is_parquet(self._storage.read(file))]

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`. A cursor that is not the end of a line is of another list of arrivals, or this one was lost:
        all that the archive holds is new."""
        with self._away("cannot be read"):
            # From the byte before, which must be the end of a line.
            offset = max(int(cursor) - 1, 0) if cursor and cursor.isdecimal() else 0
            data = self._storage.tail(ARRIVALS, offset)
            is_lost = cursor is None and data is None
            if offset and not (data or b"").startswith(b"\n"):
                is_lost, offset, data = True, 0, self._storage.tail(ARRIVALS, 0)
            data = data or b""
            whole = data.rfind(b"\n") + 1
            listed = self._held_spans() if is_lost else _parse_spans(data[:whole].lstrip(b"\n"))
        return Arrivals(listed, str(offset + whole))

    def _held_spans(self) -> pl.DataFrame:
        """The spans of everything in the archive."""
        found = [NO_SPANS]
        for day in self._days(READINGS, date.min, date.max):
            if files := [file for own in self._cells(day).values() for file in own]:
                found.append(spans(self.scan(files).select("ts").collect()["ts"]))
        return pl.concat(found)

    def check(self) -> str:
        """See `RawStore.check`."""
        place = self._storage.where()
        with self._away("cannot be read"):
            days = self.days()
        if not days:
            return f"Parquet 归档 {place}：尚无数据 / Parquet archive {place}: no readings yet"
        held = f"{days[0]} … {days[-1]} ({len(days)} d)"
        return f"Parquet 归档 {place}：{held} / Parquet archive {place}: {held}"

    def days(self) -> list[str]:
        """The UTC days of which there are readings, all of their files being there. Raises `FilesMissing`, `OSError`."""
        days = self._days(READINGS, date.min, date.max)
        self._held(sorted({*days, *self._days(COUNTS, date.min, date.max)}))
        return [day.removeprefix("day=") for day in days]

    def damaged(self) -> list[str]:
        """Every file of the archive that is not as it was written, below `readings`. Raises `StoreAway`."""
        with self._away("cannot be read"):
            cells = (self._cells(day) for day in self._days(READINGS, date.min, date.max))
            files = (file for held in cells for own in held.values() for file in own)
            return [file.removeprefix(f"{READINGS}/") for file in files if not self._is_whole(file)]

    def _cut(self, day: str, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """The rows of a day by the folder that they belong to."""
        if self._buckets is None:
            yield day, rows
            return
        names = rows["terminal"].unique()
        of_names = pl.DataFrame({"terminal": names, "bucket": bucket_of(names, self._buckets)})
        parts = rows.join(of_names, on="terminal", maintain_order="left").partition_by("bucket", as_dict=True, include_key=False)
        for (bucket,), part in parts.items():
            yield f"{day}/{bucket_name(bucket)}", part

    def _days(self, folder: str, first: date, last: date) -> list[str]:
        """The names `day=…` in a folder from the first day to the last."""
        names = self._storage.names(folder)
        return [name for name in names if f"day={first}" <= name <= f"day={last}" and name[-4:] != ".new"]

    def _cells(self, day: str) -> dict[str, list[str]]:
        """The files of a day by the folder that they lie in, in the order of writing; half-written ones have another suffix."""
        cells: dict[str, list[str]] = {}
        for file in self._storage.below(f"{READINGS}/{day}"):
            if file.endswith(".parquet"):
                cells.setdefault(file.removeprefix(f"{READINGS}/").rpartition("/")[0], []).append(file)
        return cells

    def _held(self, days: Sequence[str]) -> dict[str, list[str]]:
        """The files of these days by folder. Raises `FilesMissing` where some are not there any more."""
        held, lost = {}, []
        for day in days:
            counted = self._counted(day)  # before the files are listed: a new file is there before it is counted
            cells = self._cells(day)
            held.update(cells)
            for cell, count in counted.items():
                if gaps := _gaps(cells.get(cell, []), count):
                    lost.append(f"{self._storage.where(f'{READINGS}/{cell}')}: {', '.join(gaps)}")
        if lost:
            raise FilesMissing(
                f"files of the Parquet archive are missing ({'; '.join(lost)}); restore them from a backup; where there is none, "
                f"remove the file of each of these days in {self._storage.where(COUNTS)} and run `mainflow journal replay`: "
                "figures are then made from what is left"
            )
        return held

    def _counted(self, day: str) -> dict[str, int]:
        """The newest sequence of each folder of a day; none of one that is not counted, or that a power cut emptied."""
        try:
            lines = self._storage.read(f"{COUNTS}/{day}").decode().split("\n")
        except FileNotFoundError:
            return {}
        cells = [day] if self._buckets is None else [f"{day}/{bucket_name(bucket)}" for bucket in range(self._buckets)]
        return {cell: int(line) for cell, line in zip(cells, lines, strict=False) if line.strip("0")}

    def _note_counts(self, day: str, counts: Mapping[str, int]) -> None:
        if self._buckets is None:
            text = f"{counts[day]}\n"
        else:
            text = "".join(f"{counts.get(f'{day}/{bucket_name(bucket)}', '')}\n" for bucket in range(self._buckets))
        # Not synced: an older count misses less, and is never wrong.
        self._storage.put({f"{COUNTS}/{day}": text.encode()}, durable=False)

    def _add(self, day: str, new: Mapping[str, New]) -> dict[str, str]:
        """Write a new file in each of these folders of a day, and count it; gives the files."""
        counts = self._counted(day)
        files, contents = {}, {}
        for cell, (rows, held, sources) in new.items():
            newest = max([counts.get(cell, 0), *(_stands_for(file)[1] for file in held)]) + 1
            # Without a count the file stands for whatever came before: of a version without counts, or its loss was accepted.
            first = min((_stands_for(file)[0] for file in sources), default=newest) if cell in counts else 1
            content = parquet_bytes(rows, row_group=ROW_GROUP)
            files[cell] = f"{READINGS}/{cell}/{newest:08}-{first:08}.{zlib.crc32(content):08x}.parquet"
            contents[files[cell]] = content
            counts[cell] = newest
        self._storage.put(contents)
        self._note_counts(day, counts)
        return files

    def _finish_before(self, day: date) -> None:
        """Join the files of the last day that is over when `day` begins."""
        for name in self._days(READINGS, date.min, day - timedelta(days=OPEN_DAYS))[-1:]:
            for cell, files in self._cells(name).items():
                if len(files) > 1:
                    self._join(name, cell, files, files)

    def _join(self, day: str, cell: str, files: list[str], held: list[str]) -> None:
        """Join the newest `files` of those `held` in a folder into one, then delete them; a kill in between leaves duplicates,
        merged by every read.

        Every distinct row is kept: a row that lost against a later one may still win a field against one that comes later
        but was received before. Damaged files, and those beside a lost one, are left alone.
        """
        if _gaps(files, 0, begin=min(_stands_for(file)[0] for file in files)):
            return
        sources = self._storage.sources(files)
        contents: Sequence[Path | bytes] = sources
        if not all(map(_gives, files, contents)):
            return
        rows = _distinct(_scan(sources)).sort("terminal", "ts", maintain_order=True)
        self._add(day, {cell: New(rows, held, files)})
        self._storage.delete(files)

    def _newest(self, files: list[str]) -> list[str]:
        """The newest files, up to one that outweighs all newer ones together: so a row is rewritten a logarithmic number of
        times."""
        sizes = self._storage.sizes(files)
        weight = 0
        newest = files[-1:]
        for index in range(len(files) - 1, -1, -1):
            if sizes[index] <= weight:
                newest = files[index:]
            weight += sizes[index]
        return newest

    def _look_through(self, files: list[str]) -> None:
        """Raises `StoreAway` naming the files that are not as they were written."""
        stamps = {file: stamp for file in files if (stamp := self._storage.stamp(file)) is not None}
        looked = {file: (file, stamp) for file, stamp in stamps.items() if (file, stamp) not in self._whole}
        self._refuse([file for file in looked if not self._is_whole(file)])
        self._whole.update(looked.values())

    def _refuse(self, bad: Sequence[str]) -> None:
        if bad:
            raise StoreAway(
                f"files of the Parquet archive are damaged (their bytes do not give the checksum in their names): "
                f"{', '.join(map(self._storage.where, bad))}; restore them from a backup, or move them away, remove "
                f"the file of their day in {self._storage.where(COUNTS)} and run `mainflow journal replay`"
            )

    def _is_whole(self, file: str) -> bool:
        """Whether a file gives the checksum in its name; one of before, without one, whether it can be read. Raises `OSError`."""
        (source,) = self._storage.sources([file])
        return _gives(file, source)

    def _away(self, what: str) -> AbstractContextManager[None]:
        return away(f"the Parquet archive {self._storage.where()} {what}")


@contextmanager
def away(what: str) -> Iterator[None]:
    """Raise `StoreAway` saying `what` for a full or broken disk, or a place that does not answer or refuses: callers wait for it
    as for an absent server."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreAway(f"{what}: {error}") from error


def read_points(
    shares: Callable[[], Sequence[ParquetStore]],
    start: datetime,
    end: datetime,
    columns: Sequence[str],
    terminals: Collection[str] | None,
) -> pl.DataFrame:
    """See `RawStore.read`: the points of all shares, as one scan over the folders of the days touched. Raises `OSError`, too."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    wanted = pl.lit(True)
    if terminals is not None:
        wanted = pl.col("terminal").is_in(list(terminals))
        if terminals:  # lets a sorted file skip the rows of others
            wanted &= pl.col("terminal").is_between(pl.lit(min(terminals)), pl.lit(max(terminals)))
    scanned = [name for name in ALL if name in {*KEY, *LATER, *columns}]
    found: list[tuple[ParquetStore, list[str]]] = []
    for attempt in range(1, READ_TRIES + 1):
        try:
            held = [(share, share.files(start.date(), end.date(), terminals)) for share in shares()]
            found = [(share, files) for share, files in held if files]
            if not found:
                return pl.DataFrame(schema=READING).select(columns)
            scans = [share.scan(files).filter(wanted).select(scanned) for share, files in found]
            rows = pl.concat(scans).collect()
        except (FileNotFoundError, FilesMissing):
            if attempt == READ_TRIES:
                raise
        except pl.exceptions.PolarsError as error:
            bad = ", ".join(name for share, files in found for name in share.unreadable(files))
            raise StoreAway(
                f"the Parquet archive cannot be read; restore these files or move them away: {bad}: {error}"
            ) from error
        else:
            return merge(rows, columns, rows["ts"].is_between(start, end).to_numpy())
    raise AssertionError("unreachable")


def bucket_of(terminals: Iterable[str], buckets: int) -> list[int]:
    """The bucket of each terminal in a lake of so many: the same on every machine and for ever."""
    return [zlib.crc32(terminal.encode()) % buckets for terminal in terminals]


def bucket_name(bucket: int) -> str:
    """The folder of a bucket."""
    return f"bucket={bucket:03}"


def _scan(sources: list[Path] | list[bytes]) -> pl.LazyFrame:
    return pl.scan_parquet(sources, hive_partitioning=False, glob=False)


def _distinct(rows: pl.LazyFrame) -> pl.DataFrame:
    """The distinct rows of files, in the order of their last writing."""
    return rows.collect().unique(keep="last", maintain_order=True)


def _gives(file: str, source: Path | bytes) -> bool:
    """Whether a file gives the checksum in its name; one of before, without one, whether it can be read. Raises `OSError`."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    checksum = file.rpartition("/")[2].split(".")[1]
    return f"{zlib.crc32(content):08x}" == checksum if checksum != "parquet" else _is_parquet(content)


def _is_parquet(content: bytes) -> bool:
    try:
        pl.read_parquet(content)
    except pl.exceptions.PolarsError:
        return False
    return True


def _stands_for(file: str) -> tuple[int, int]:
    """The first and the last sequence whose rows are in a file."""
    sequence, _, first = file.rpartition("/")[2].split(".")[0].partition("-")
    return int(first or 1), int(sequence)


def _gaps(files: Sequence[str], newest: int, *, begin: int = 1) -> list[str]:
    """The sequences from `begin` to `newest` that no file stands for, as texts."""
    gaps, reached = [], begin - 1
    for first, last in [*sorted(map(_stands_for, files)), (newest + 1, newest)]:
        if first > reached + 1:
            gaps.append(f"{reached + 1:08}" + (f"–{first - 1:08}" if first - 1 > reached + 1 else ""))
        reached = max(reached, last)
    return gaps


def _lines(arrived: pl.DataFrame) -> bytes:
    return arrived.write_csv(include_header=False, datetime_format=TIME_FORMAT).encode()


def _parse_spans(lines: bytes) -> pl.DataFrame:
    if not lines:
        return NO_SPANS
    text = pl.read_csv(
        lines,
        has_header=False,
        new_columns=["start", "end"],
        schema_overrides=[pl.String(), pl.String()],
    )
    return text.select(pl.col("start", "end").str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC"))

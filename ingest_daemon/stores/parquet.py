"""The embedded raw store: a folder of Parquet files by UTC day of the device time, and a list of arrivals.

    readings/day=YYYY-MM-DD/<sequence>-<first>.<checksum>.parquet
                                                 every row as it was written; the merge of points is made when reading
                                                 a day that is over is joined into one file, sorted by terminal and time
                                                 first: the file stands for all from this sequence to its own
                                                 checksum: CRC-32 of the file
                                                 those of before have neither, and stand for all before them
    counts/day=YYYY-MM-DD                        the newest sequence of the day, so that a lost file is missed
                                                 a day without it is not looked through
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

NO_SPANS = pl.DataFrame(schema={"start": TIMESTAMP, "end": TIMESTAMP})


class FilesMissing(StoreAway):
    """Files of the archive are not there any more; the text names them and what to do."""


class ParquetStore:
    """The raw store in `folder`."""

    cuts_by_terminal = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readings = folder / "readings"
        self._counts = folder / "counts"
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
                self._add_file(folder, rows)
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
                folder = self._readings / f"day={day}"
                files = _files(folder)
                self._look_for_all(day, day)
                self._look_through(files)
                held = pl.read_parquet(files, hive_partitioning=False, glob=False).unique(keep="last", maintain_order=True)
                self._add_file(folder, held.join(rows, on=[*KEY, *POSITION], how="anti", maintain_order="left"), files)
                for file in files:
                    file.unlink()
            self._note(spans(points["ts"]))

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ALL, terminals: Collection[str] | None = None
    ) -> pl.DataFrame:
        """See `RawStore.read`. One scan over the folders of the days touched."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        wanted = pl.lit(True)
        if terminals is not None:
            wanted = pl.col("terminal").is_in(list(terminals))
            if terminals:  # lets a sorted file skip the rows of others
                wanted &= pl.col("terminal").is_between(pl.lit(min(terminals)), pl.lit(max(terminals)))
        scanned = [name for name in ALL if name in {*KEY, *LATER, *columns}]
        with self._away("cannot be read"):
            for attempt in range(1, READ_TRIES + 1):
                try:
                    self._look_for_all(start.date(), end.date())
                    files = [file for folder in self._day_folders(start.date(), end.date()) for file in _files(folder)]
                    if not files:
                        return pl.DataFrame(schema=READING).select(columns)
                    self._look_through(files)
                    rows = pl.scan_parquet(files, hive_partitioning=False, glob=False).filter(wanted).select(scanned).collect()
                except (FileNotFoundError, FilesMissing):
                    if attempt == READ_TRIES:
                        raise
                except pl.exceptions.PolarsError as error:
                    bad = ", ".join(str(file) for file in files if not _readable(file))
                    raise StoreAway(
                        f"the Parquet archive cannot be read; restore these files or move them away: {bad}: {error}"
                    ) from error
                else:
                    return merge(rows, columns, rows["ts"].is_between(start, end).to_numpy())
        raise AssertionError("unreachable")

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`. A cursor that is not the end of a line is of another list of arrivals, or this one was lost:
        all that the archive holds is new."""
        with self._away("cannot be read"):
            # From the byte before, which must be the end of a line.
            offset = max(int(cursor or 0) - 1, 0)
            data = _tail(self._arrivals, offset)
            is_lost = cursor is None and not self._arrivals.exists()
            if offset and not data.startswith(b"\n"):
                is_lost, offset, data = True, 0, _tail(self._arrivals, 0)
            whole = data.rfind(b"\n") + 1
            listed = self._held_spans() if is_lost else _parse_spans(data[:whole].lstrip(b"\n"))
        return Arrivals(listed, str(offset + whole))

    def _held_spans(self) -> pl.DataFrame:
        """The spans of everything in the archive."""
        days = filter(None, map(_files, self._day_folders(date.min, date.max)))
        return pl.concat(
            [
                NO_SPANS,
                *(spans(pl.read_parquet(files, columns=["ts"], hive_partitioning=False, glob=False)["ts"]) for files in days),
            ]
        )

    def check(self) -> str:
        """See `RawStore.check`."""
        with self._away("cannot be read"):
            self._look_for_all(date.min, date.max)
            days = [folder.name.removeprefix("day=") for folder in self._day_folders(date.min, date.max)]
        if not days:
            return f"Parquet 归档 {self._folder}：尚无数据 / Parquet archive {self._folder}: no readings yet"
        held = f"{days[0]} … {days[-1]} ({len(days)} d)"
        return f"Parquet 归档 {self._folder}：{held} / Parquet archive {self._folder}: {held}"

    def _day_folders(self, first: date, last: date) -> list[Path]:
        return [self._readings / name for name in _days(self._readings, first, last)]

    def _add_file(self, folder: Path, rows: pl.DataFrame, sources: Sequence[Path] = ()) -> None:
        """Write a new file of a day, in place of the `sources` where there are some, and count it."""
        counted = _counted(self._counts / folder.name)
        newest = max([counted or 0, *(_stands_for(file)[1] for file in _files(folder))])
        # Without a count the file stands for whatever came before: of a version without counts, or its loss was accepted.
        first = min((_stands_for(file)[0] for file in sources), default=newest + 1) if counted is not None else 1
        content = parquet_bytes(rows, row_group=ROW_GROUP)
        replace_file(folder / f"{newest + 1:08}-{first:08}.{zlib.crc32(content):08x}.parquet", [content])
        _make_folder(self._counts)
        # Not synced: an older count misses less, and is never wrong.
        replace_file(self._counts / folder.name, [f"{newest + 1}\n".encode()], durable=False)

    def _look_for_all(self, first: date, last: date) -> None:
        """Raises `FilesMissing` where files of these days are not there any more."""
        lost = []
        for name in _days(self._counts, first, last):
            counted = _counted(self._counts / name)  # before the files are listed: a new file is there before it is counted
            if counted is not None and (gaps := _gaps(_files(self._readings / name), counted)):
                lost.append(f"{self._readings / name}: {', '.join(gaps)}")
        if lost:
            raise FilesMissing(
                f"files of the Parquet archive are missing ({'; '.join(lost)}); restore them from a backup; where there is none, "
                f"remove the file of each of these days in {self._counts} and run `mainflow journal replay`: figures are then "
                "made from what is left"
            )

    def _finish_before(self, day: date) -> None:
        """Join the files of the last day that is over when `day` begins."""
        for folder in self._day_folders(date.min, day - timedelta(days=OPEN_DAYS))[-1:]:
            files = _files(folder)
            if len(files) > 1:
                self._join(folder, files)

    def _join(self, folder: Path, files: list[Path]) -> None:
        """Join the newest `files` of a day into one, then delete them; a kill in between leaves duplicates, merged by every read.

        Every distinct row is kept: a row that lost against a later one may still win a field against one that comes later
        but was received before. Damaged files, and those beside a lost one, are left alone.
        """
        if not all(map(is_whole, files)) or _gaps(files, 0, begin=min(_stands_for(file)[0] for file in files)):
            return
        rows = pl.read_parquet(files, hive_partitioning=False, glob=False).unique(keep="last", maintain_order=True)
        self._add_file(folder, rows.sort("terminal", "ts", maintain_order=True), files)
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
                f"{', '.join(map(str, bad))}; restore them from a backup, or move them away, remove "
                f"the file of their day in {self._counts} and run `mainflow journal replay`"
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
    """A day's files in the order of writing, none where there is no folder; half-written ones have another suffix."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".parquet")]
    except FileNotFoundError:
        return []


def _days(folder: Path, first: date, last: date) -> list[str]:
    """The names `day=…` in a folder from the first day to the last."""
    try:
        return [name for name in sorted(os.listdir(folder)) if f"day={first}" <= name <= f"day={last}" and name[-4:] != ".new"]
    except FileNotFoundError:
        return []


def _counted(path: Path) -> int | None:
    """The number in a file of a day's count; None where there is none, or a power cut emptied it."""
    try:
        return int(path.read_bytes() or 0) or None
    except FileNotFoundError:
        return None


def _stands_for(file: Path) -> tuple[int, int]:
    """The first and the last sequence whose rows are in a file."""
    sequence, _, first = file.name.split(".")[0].partition("-")
    return int(first or 1), int(sequence)


def _gaps(files: Sequence[Path], newest: int, *, begin: int = 1) -> list[str]:
    """The sequences from `begin` to `newest` that no file stands for, as texts."""
    gaps, reached = [], begin - 1
    for first, last in [*sorted(map(_stands_for, files)), (newest + 1, newest)]:
        if first > reached + 1:
            gaps.append(f"{reached + 1:08}" + (f"–{first - 1:08}" if first - 1 > reached + 1 else ""))
        reached = max(reached, last)
    return gaps


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
    """The content from an offset on; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


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

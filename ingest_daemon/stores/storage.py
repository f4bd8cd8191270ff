"""Where files of readings and figures lie: a folder of this machine here, an object store in `object_storage.py`.

What touches files stands here; what decides about them (sequences, counts, joins) stands in `parquet.py`.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from ingest_daemon.contract.files import replace_file, sync_folder, whole_lines

Content: TypeAlias = bytes | memoryview


class Storage(Protocol):
    """Files below one root, by relative paths with slashes. Another process, on another machine, can open it: it is pickled.

    Every function raises `OSError`, or `StoreAway` where an object store does not answer or refuses.
    """

    def where(self, path: str = "") -> str:
        """A file or folder in words that a person finds it by."""
        ...

    def at(self, folder: str) -> "Storage":
        """The storage of a folder below."""
        ...

    def exists(self) -> bool:
        """Whether the root is there: a folder; of an object store the bucket."""
        ...

    def make_root(self) -> None:
        """Make the root where only its last folder is missing."""
        ...

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, sorted; nothing where there is no folder."""
        ...

    def below(self, folder: str) -> list[str]:
        """The paths of all files in a folder and its folders, sorted; nothing where there is no folder."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file. Raises `FileNotFoundError`."""
        ...

    def sources(self, paths: Sequence[str]) -> list[Path] | list[bytes]:
        """What a reader of Parquet opens for each of the files: paths, or the contents. Raises `FileNotFoundError`."""
        ...

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Bytes of each file. Raises `FileNotFoundError`."""
        ...

    def stamp(self, path: str) -> tuple[int, int] | None:
        """What changes with a file; None where `sources` gives the content. Raises `FileNotFoundError`."""
        ...

    def put(self, contents: Mapping[str, Content], *, durable: bool = True) -> None:
        """Replace each file whole, folders are made as needed; `durable`: they survive a power cut once this returns."""
        ...

    def delete(self, paths: Collection[str]) -> None:
        """Delete files; one that is not there is deleted already."""
        ...

    def append(self, path: str, lines: bytes) -> None:
        """Add whole lines to a log, durable when it returns; a line that a kill or a full disk tore goes first. One writer."""
        ...

    def tail(self, path: str, offset: int) -> bytes | None:
        """The content of a log from an offset on; None where there is no log."""
        ...


class LocalStorage:
    """A folder of this machine, or one that several share."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._torn_line_cut: set[str] = set()
        """Logs whose last line is whole: looked at once a process, and again after a failed write."""

    def where(self, path: str = "") -> str:
        """See `Storage.where`."""
        return str(self._root / path)

    def at(self, folder: str) -> "LocalStorage":
        """See `Storage.at`."""
        return LocalStorage(self._root / folder)

    def exists(self) -> bool:
        """See `Storage.exists`."""
        return self._root.is_dir()

    def make_root(self) -> None:
        """See `Storage.make_root`."""
        self._root.mkdir(exist_ok=True)

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            return sorted(os.listdir(self._root / folder))
        except FileNotFoundError:
            return []

    def below(self, folder: str) -> list[str]:
        """See `Storage.below`."""
        found: list[str] = []
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    found += self.below(path) if entry.is_dir() else [path]
        except FileNotFoundError:
            pass
        return sorted(found)

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        return (self._root / path).read_bytes()

    def sources(self, paths: Sequence[str]) -> list[Path]:
        """See `Storage.sources`."""
        return [self._root / path for path in paths]

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """See `Storage.sizes`."""
        return [(self._root / path).stat().st_size for path in paths]

    def stamp(self, path: str) -> tuple[int, int] | None:
        """See `Storage.stamp`."""
        stat = (self._root / path).stat()
        return stat.st_mtime_ns, stat.st_size

    def put(self, contents: Mapping[str, Content], *, durable: bool = True) -> None:
        """See `Storage.put`."""
        for path, content in contents.items():
            file = self._root / path
            _make_folder(file.parent)
            replace_file(file, [content], durable=durable)

    def delete(self, paths: Collection[str]) -> None:
        """See `Storage.delete`."""
        for path in paths:
            (self._root / path).unlink(missing_ok=True)

    def append(self, path: str, lines: bytes) -> None:
        """See `Storage.append`."""
        log = self._root / path
        existed = log.exists()
        _make_folder(log.parent)
        with log.open("ab") as file:
            if path not in self._torn_line_cut:
                file.truncate(whole_lines(log))
                self._torn_line_cut.add(path)
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                self._torn_line_cut.discard(path)
                raise
        if not existed:
            sync_folder(log.parent)

    def tail(self, path: str, offset: int) -> bytes | None:
        """See `Storage.tail`."""
        try:
            with (self._root / path).open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return None


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, and sync the entry of each new one."""
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)

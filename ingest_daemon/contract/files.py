"""Files that a kill leaves whole: replaced in one step, or cut back to their last whole line; and those that are damaged yet."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ingest_daemon.contract.log import LOG

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

MEND = "; mend or remove it"

Compression = Literal["zstd", "lz4"]
"""How Parquet is packed: small, or quick."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def open_folder(folder: Path) -> Iterator[str]:
    """A short name of a folder, good within the `with` block: the address of a socket has at most 107 bytes. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def replace_file(path: Path, pieces: Iterable[bytes | memoryview], *, durable: bool = True, private: bool = False) -> None:
    """Replace a file by the pieces in order; `durable`: it survives a power cut once this returns.

    `private`: no other user may read it. A folder in its place is set aside. Raises `OSError` naming the file.
    """
    beside = path.with_name(path.name + ".new")
    if beside.is_dir():
        set_aside(beside)
    if private:
        beside.unlink(missing_ok=True)  # one that a kill left might be open to others
    try:
        with open(beside, "wb", opener=_for_us_alone if private else None) as file:
            file.writelines(pieces)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)
        with suppress(OSError):
            beside.unlink(missing_ok=True)  # a full disk needs the room
        raise
    try:
        beside.replace(path)
    except IsADirectoryError:
        set_aside(path)
        beside.replace(path)
    if durable:
        sync_folder(path.parent)


def set_aside(path: Path) -> Path:
    """Rename what is in a file's or folder's place, adding the time; gives the new path. Raises `OSError`."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    path.rename(aside)
    LOG.warning("%s is set aside as %s", path, aside.name)
    return aside


def make_folder(path: Path) -> None:
    """Make a folder where it is missing; a file in its place is set aside. Raises `OSError`."""
    if path.exists() and not path.is_dir():
        set_aside(path)
    path.mkdir(parents=True, exist_ok=True)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def parquet_bytes(rows: "pl.DataFrame", *, row_group: int | None = None, compression: "Compression" = "zstd") -> memoryview:
    """The content of a Parquet file. `row_group`: rows that a reader takes or skips as one."""
    buffer = BytesIO()
    rows.write_parquet(buffer, compression=compression, row_group_size=row_group)
    return buffer.getbuffer()


def write_parquet(path: Path, rows: "pl.DataFrame", *, row_group: int | None = None, compression: "Compression" = "zstd") -> None:
    """Replace a Parquet file durably, see `parquet_bytes`. Raises `OSError`."""
    replace_file(path, [parquet_bytes(rows, row_group=row_group, compression=compression)])


def whole_lines(path: Path, step: int = 65536) -> int:
    """Offset after the last whole line of a file, searched from its end. Raises `OSError`."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end:
            start = max(0, end - step)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def write_json(path: Path, value: Any, *, durable: bool, private: bool = False) -> None:
    """Replace a JSON file; `durable` and `private` as for `replace_file`. Raises `OSError`."""
    replace_file(path, [json.dumps(value, ensure_ascii=False).encode()], durable=durable, private=private)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where the file is absent. Raises `OSError`, or `ValueError` naming the file."""
    return parsed_json(path, lambda value: value)


def parsed_json(path: Path, parse: Callable[[Any], T]) -> T | None:
    """What `parse` makes of a JSON file; None where that is absent. Raises `OSError`, or `ValueError` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}){MEND}") from None
    try:
        return parse(value)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path} has not the content that belongs there ({error!r}){MEND}") from None


def rebuilt_json(path: Path, parse: Callable[[Any], T], instead: str) -> T | None:
    """As `parsed_json`, of a file that can be made again: a damaged one is set aside, and counts as absent.

    `instead`: what is done then, for the log.
    """
    try:
        return parsed_json(path, parse)
    except (ValueError, IsADirectoryError) as error:
        LOG.warning("%s: %s", str(error).removesuffix(MEND), instead)
        set_aside(path)
        return None


def glance(path: Path, parse: Callable[[Any], T]) -> T | None:
    """As `parsed_json`, of a file that another process keeps for others to look at: a damaged one counts as absent."""
    try:
        return parsed_json(path, parse)
    except (ValueError, OSError):
        return None

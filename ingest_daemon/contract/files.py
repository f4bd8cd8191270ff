"""Files that a kill leaves whole: replaced in one step, or cut back to their last whole line."""

import json
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

Compression = Literal["zstd", "lz4"]
"""How Parquet is packed: small, or quick."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, pieces: Iterable[bytes | memoryview], *, durable: bool = True, private: bool = False) -> None:
    """Replace a file by the pieces in order; `durable`: it survives a power cut once this returns.

    `private`: no other user may read it. Raises `OSError`.
    """
    beside = path.with_name(path.name + ".new")
    if private:
        beside.unlink(missing_ok=True)  # one that a kill left might be open to others
    with open(beside, "wb", opener=_for_us_alone if private else None) as file:
        file.writelines(pieces)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
    if durable:
        sync_folder(path.parent)


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
    """The value in a JSON file; None where the file is absent. Raises `ValueError` naming the file where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend or remove it") from None

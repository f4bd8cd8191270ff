"""Files that are replaced in one step: a reader or a kill meets the old content or the new one, never half of it."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, pieces: Iterable[bytes | memoryview], *, durable: bool = True) -> None:
    """Replace a file by the pieces in order; `durable`: it survives a power cut once this returns. Raises `OSError`."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.writelines(pieces)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
    if durable:
        sync_folder(path.parent)


def write_json(path: Path, value: Any, *, durable: bool) -> None:
    """Replace a JSON file; `durable` as for `replace_file`. Raises `OSError`."""
    replace_file(path, [json.dumps(value, ensure_ascii=False).encode()], durable=durable)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where the file is absent. Raises `ValueError` naming the file where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend or remove it") from None

"""Small files in `state/` and what the daemon says about itself: atomic JSON, the site's lock, counters, limited log lines.

No journal and no protocol here.
"""

import json
import os
from pathlib import Path
from typing import Any


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, *, durable: bool) -> None:
    """Replace a JSON file atomically; `durable`: it survives a power cut once this returns. Raises `OSError`."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
    if durable:
        sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where the file is absent. Raises `ValueError` naming the file where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend or remove it") from None

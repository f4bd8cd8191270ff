"""Loops over readings as machine code (docs/adr/0015-compiled-kernel.md), and where the code is kept between runs."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])

OWN = Path(__file__).parent


def _kept_code() -> Path | None:
    """The folder for this version of the kernel; None where no place can be written.

    numba looks at a function's own file only: the folder's name stands for all files whose constants the code holds.
    """
    version = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(OWN.glob("*.py")))).hexdigest()[:12]
    own_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for place in (OWN / "__pycache__", Path(own_cache) / "mainflow"):
        folder = place / f"compiled-{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


KEPT = _kept_code()
if KEPT is not None:
    numba.config.CACHE_DIR = str(KEPT)  # type: ignore[attr-defined]


def compiled(function: Function) -> Function:
    """The function as machine code, compiled at its first call; results are Python's: no fast mathematics, nothing fused."""
    return cast(Function, numba.njit(cache=KEPT is not None, nogil=True, error_model="numpy")(function))

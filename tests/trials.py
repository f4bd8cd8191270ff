"""What the trials that are commands (`python -m tests.faults` …) share: their report's head, their end, a small disk."""

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

MACHINE = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def heading(seed: int, seconds: float, width: int = 26) -> list[str]:
    """The first lines of a report; `width`: of the column of names."""
    told = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": MACHINE, "seed, minutes": f"{seed}, {seconds / 60:.1f}"}
    return [f"{name:<{width}}{value}" for name, value in told.items()]


def conclude(folder: Path, text: str, report: Path | None, *, is_good: bool) -> int:
    """Show the report, write it into a file where one is asked for, and clear up after a good trial; gives the exit code."""
    print(text, end="", flush=True)
    if report:
        report.write_text(text)
    if not is_good:
        print(f"what was left behind: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


@contextlib.contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of its own on a new folder. Raises `PermissionError` where none may be mounted."""
    at.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(at)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PermissionError(f"no small disk can be mounted at {at}: {error}") from None
    if mounted.returncode:
        raise PermissionError(f"no small disk can be mounted at {at} (root is needed): {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)

"""Work for engines in tests. Each worker imports this, so it imports little."""

import os
import signal
from pathlib import Path

from ingest_daemon.stores import StoreAway


def square(number: int) -> int:
    return number * number


def threads(_: int) -> int:
    """The threads of Polars in a worker."""
    import polars as pl

    return pl.thread_pool_size()


def killed_at_3(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def away_at_3(number: int) -> int:
    if number == 3:
        raise StoreAway("the archive cannot be read")
    return number


def killed_once(mark: Path) -> int:
    """Ends its process the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(mark.name)


def head_killed_at_3(number: int) -> int:
    """Ends the Ray in which it is computed, when that was started by the run: its scheduler and its head."""
    if number == 3:
        driver = _parent(os.getppid())
        for entry in Path("/proc").iterdir():
            is_own = entry.name.isdecimal() and _parent(int(entry.name)) == driver
            if is_own and (entry / "comm").read_text().strip() in ("raylet", "gcs_server"):
                os.kill(int(entry.name), signal.SIGKILL)
    return number


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0

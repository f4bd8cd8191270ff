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

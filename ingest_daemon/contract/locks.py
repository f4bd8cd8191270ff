"""Locks that a process holds until it ends, whatever ends it: unlike a process number they cannot become another's."""

import fcntl
import os
from pathlib import Path

from ingest_daemon.contract.files import set_aside


def take(lock: Path) -> int | None:
    """Hold a lock file, made if absent, until this process ends; its handle, None where another process holds it."""
    handle = opened(lock)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def opened(lock: Path) -> int:
    """A handle of a lock file, made if absent; a folder in its place is set aside. Raises `OSError`."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    if lock.is_dir():
        set_aside(lock)
    return os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock file."""
    try:
        handle = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False

"""Locks that a process holds until it ends, whatever ends it: unlike a process number they cannot become another's."""

import fcntl
import os
from pathlib import Path


def take(lock: Path) -> int | None:
    """Hold a lock file, made if absent, until this process ends; its handle, None where another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


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

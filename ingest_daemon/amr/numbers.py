"""Numbers for terminals of other systems: given once, to one caller, never again.

`state/amr/terminals.jsonl` has a line for each time numbers were given: first and last, source, time. It is read and written
under a lock, and numbers count once their line is on disk. After a restore of an older site the numbers that the registry names
are passed over.
"""

import errno
import fcntl
import json
import os
import re
from datetime import UTC, datetime

from ingest_daemon.amr.state import folder
from ingest_daemon.contract import locks
from ingest_daemon.contract.files import sync_folder, whole_lines
from ingest_daemon.contract.site import Site

PREFIX, DIGITS = "AMR", 7
"""No protocol's stations have numbers that begin so: their digits are decimal or hexadecimal."""

MOST = 10_000


def allocate(site: Site, count: int, source: str = "") -> list[str]:
    """New numbers in order. Raises `OSError`, `ValueError` where the ledger is damaged."""
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} numbers: expected 1 to {MOST:,} at a time")
    path = folder(site) / "terminals.jsonl"
    lock = locks.opened(path.with_suffix(".lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            os.ftruncate(handle, whole_lines(path))  # what a kill left of a line was given to nobody
            os.lseek(handle, 0, os.SEEK_END)
            first = max(_last_given(path.read_bytes(), str(path)), _last_used(site)) + 1
            line = {"first": first, "last": first + count - 1, "source": source, "at": datetime.now(UTC).isoformat()}
            text = (json.dumps(line, ensure_ascii=False) + "\n").encode()
            if os.write(handle, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(handle)
            sync_folder(path.parent)
        finally:
            os.close(handle)
    finally:
        os.close(lock)
    return [f"{PREFIX}{number:0{DIGITS}}" for number in range(first, first + count)]


def _last_given(ledger: bytes, where: str) -> int:
    lines = ledger.splitlines()
    try:
        return int(json.loads(lines[-1])["last"]) if lines else 0
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the last line of {where} is damaged ({error}): mend it, so that no number is given twice") from None


def _last_used(site: Site) -> int:
    """The highest number that the registry's files name anywhere."""
    pattern = re.compile(rf"\b{PREFIX}(\d{{{DIGITS}}})\b".encode())
    files = [path for name in ("terminals", "tags") if (path := site.registry / f"{name}.csv").is_file()]
    return max((int(number) for path in files for number in pattern.findall(path.read_bytes())), default=0)

"""The ledger of what was kept aside instead of stored: `kept/<reason>.jsonl`, one JSON line each. Nothing else writes there."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ingest_daemon.state import sync_folder


class Entry(NamedTuple):
    """What is kept aside: why, where its frame lies in the journal, when it came, whose it is, what was wrong, its bytes."""

    reason: str
    stream: str
    position: int
    received_us: int
    terminal: str
    ts: datetime | None
    detail: str
    raw: bytes

    def line(self) -> bytes:
        """The entry as a line of its ledger; times are ISO 8601 in UTC."""
        fields = {
            "stream": self.stream,
            "position": self.position,
            "received_at": datetime.fromtimestamp(self.received_us / 1e6, UTC).isoformat(),
            "terminal": self.terminal,
            "ts": self.ts.isoformat() if self.ts else None,
            "detail": self.detail,
            "hex": self.raw.hex().upper(),
        }
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def keep(folder: Path, entries: Iterable[Entry]) -> Counter[str]:
    """Append the entries to their ledgers and sync them; gives how many a reason. Raises `OSError`, and then none counts as kept.

    A line that a kill tore is cut off first: its group is forwarded again, so it is written again.
    """
    ledgers: dict[str, list[bytes]] = {}
    for entry in entries:
        ledgers.setdefault(entry.reason, []).append(entry.line())
    for reason, lines in ledgers.items():
        _append(folder / f"{reason}.jsonl", b"".join(lines))
    return Counter({reason: len(lines) for reason, lines in ledgers.items()})


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("ab+") as file:
        end = _whole_lines(path)
        file.truncate(end)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, end)
            raise
    if fresh:
        sync_folder(path.parent)


def _whole_lines(path: Path, step: int = 65536) -> int:
    """Offset after the last whole line."""
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

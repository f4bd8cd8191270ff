"""The ledger of what was kept aside instead of stored: `kept/<reason>.jsonl`, one JSON line each. Nothing else writes there.

`kept/adopted.jsonl` names those frames of `UNKNOWN_TERMINAL` that were stored later, once their terminal was registered.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.envelope import Way, head, opened
from ingest_daemon.schema import Reason
from ingest_daemon.state import sync_folder

_ADOPTED = "adopted.jsonl"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Place = tuple[str, int]
"""Stream and position of a frame."""


class Entry(NamedTuple):
    """What is kept aside: why, where its frame lies in the journal, when it came, whose it is, what was wrong, way and bytes."""

    reason: str
    stream: str
    position: int
    received_us: int
    terminal: str
    ts: datetime | None
    detail: str
    way: Way
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
            "way": head(self.way).decode().rstrip("\n"),
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


def strangers(folder: Path) -> Iterator[Entry]:
    """Frames of unknown terminals that were not adopted yet, each once, in the order of the ledger."""
    seen = {(line["stream"], line["position"]) for line in _lines(folder / _ADOPTED)}
    for line in _lines(folder / f"{Reason.UNKNOWN_TERMINAL}.jsonl"):
        place = line["stream"], line["position"]
        if place not in seen:
            seen.add(place)
            received_us = (datetime.fromisoformat(line["received_at"]) - _EPOCH) // timedelta(microseconds=1)
            way, raw = opened(line["way"].encode() + b"\n" + bytes.fromhex(line["hex"]))
            yield Entry(Reason.UNKNOWN_TERMINAL, *place, received_us, line["terminal"], None, line["detail"], way, raw)


def told(folder: Path) -> set[tuple[str, ...]]:
    """The signs (`sign`) of everything in the ledgers."""
    found = set()
    for reason in Reason:
        for line in _lines(folder / f"{reason}.jsonl"):
            found.add(_sign(reason, line["stream"], line["position"], line["terminal"], line["ts"]))
    return found


def sign(entry: Entry) -> tuple[str, ...]:
    """By what an entry is known again: its frame, terminal and time; a contradiction by the point that it is about alone."""
    return _sign(entry.reason, entry.stream, entry.position, entry.terminal, entry.ts.isoformat() if entry.ts else None)


def _sign(reason: str, stream: str, position: int, terminal: str, ts: str | None) -> tuple[str, ...]:
    place = () if reason == Reason.CONFLICT else (stream, str(position))
    return (str(reason), *place, terminal, ts or "")


def note_adopted(folder: Path, places: Mapping[Place, str]) -> None:
    """Note that the frames (with their terminals) are stored; `strangers` does not give them again.

    Raises `OSError`, and then none is noted.
    """
    now = datetime.now(UTC).isoformat()
    fields = [
        {"stream": stream, "position": position, "terminal": terminal, "adopted_at": now}
        for (stream, position), terminal in places.items()
    ]
    _append(folder / _ADOPTED, b"".join(json.dumps(line).encode() + b"\n" for line in fields))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a ledger; none where it is absent."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


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

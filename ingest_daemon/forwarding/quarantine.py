"""The quarantine: what was not stored, and why; one JSON line each in `quarantine/<reason>.jsonl`. Nothing else writes there.

`quarantine/adopted.jsonl` names those frames of `UNKNOWN_TERMINAL` that were stored later, once their terminal was registered.

What nobody acknowledges is sent again and again. So a ledger is **merged** now and then: lines that tell the same become the
first of them, with `frames` (how many), `last_position` and `last_received_at`. Bytes that differ are never merged: none is lost.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.contract.files import sync_folder
from ingest_daemon.contract.schema import Reason
from ingest_daemon.journal.envelope import RecordHeader, encode_header, parse_record

MERGE_BYTES = 1 << 20
"""A ledger that grows over this size, over twice that, four times that and so on, is looked through for what repeats."""

_ADOPTED = "adopted.jsonl"
_SAME = ("stream", "terminal", "ts", "detail", "way", "hex")
"""Lines in which these agree tell the same."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

JournalPosition = tuple[str, int]
"""Stream and position of a frame."""


class QuarantineEntry(NamedTuple):
    """What is kept aside: why, where its frame lies in the journal, when it came, whose it is, what was wrong, way and bytes.

    Of one that was read from a ledger: `frames`, how often the same came, and `last_us`, when last.
    """

    reason: str
    stream: str
    position: int
    received_us: int
    terminal: str
    ts: datetime | None
    detail: str
    way: RecordHeader
    raw: bytes
    frames: int = 1
    last_us: int = 0

    def line(self) -> bytes:
        """The entry as a line of its ledger; times are ISO 8601 in UTC."""
        fields = {
            "stream": self.stream,
            "position": self.position,
            "received_at": datetime.fromtimestamp(self.received_us / 1e6, UTC).isoformat(),
            "terminal": self.terminal,
            "ts": self.ts.isoformat() if self.ts else None,
            "detail": self.detail,
            "way": encode_header(self.way).decode().rstrip("\n"),
            "hex": self.raw.hex().upper(),
        }
        return _packed(fields)


def add_entries(folder: Path, entries: Iterable[QuarantineEntry]) -> Counter[str]:
    """Append the entries to their ledgers and sync them; gives how many a reason. Raises `OSError`, and then none counts as kept.

    A line that a kill tore is cut off first: its group is forwarded again, so it is written again.
    """
    ledgers: dict[str, list[bytes]] = {}
    for entry in entries:
        ledgers.setdefault(entry.reason, []).append(entry.line())
    for reason, lines in ledgers.items():
        path, data = folder / f"{reason}.jsonl", b"".join(lines)
        if _is_due(path, len(data)):
            _merge(path)
        _append(path, data)
    return Counter({reason: len(lines) for reason, lines in ledgers.items()})


class UnknownTerminal(NamedTuple):
    """An unregistered terminal: receive time of its first and last frame (µs since 1970 UTC), and number of frames."""

    first_us: int
    last_us: int
    frames: int


def counts(folder: Path) -> dict[str, int]:
    """Number of entries by reason, without adopted ones; an entry written twice after a kill counts once."""
    found = {}
    for reason in Reason:
        if not (folder / f"{reason}.jsonl").exists():
            continue
        if reason is Reason.UNKNOWN_TERMINAL:
            found[str(reason)] = sum(entry.frames for entry in unadopted_entries(folder))
        else:
            found[str(reason)] = frames(folder, reason)
    return found


def unknown_terminals(folder: Path) -> dict[str, UnknownTerminal]:
    """The unregistered terminals whose frames wait for adoption, by number."""
    found: dict[str, UnknownTerminal] = {}
    for entry in unadopted_entries(folder):
        before = found.get(entry.terminal) or UnknownTerminal(entry.received_us, entry.last_us, 0)
        first_us, last_us = min(before.first_us, entry.received_us), max(before.last_us, entry.last_us)
        found[entry.terminal] = UnknownTerminal(first_us, last_us, before.frames + entry.frames)
    return found


def unadopted_entries(folder: Path) -> Iterator[QuarantineEntry]:
    """Frames of unknown terminals that were not adopted yet, each once, in the order of the ledger."""
    done = {(line["stream"], line["position"]) for line in _lines(folder / _ADOPTED)}
    for line in _distinct(folder / f"{Reason.UNKNOWN_TERMINAL}.jsonl"):
        place = line["stream"], line["position"]
        if place not in done:
            done.add(place)
            way, raw = parse_record(line["way"].encode() + b"\n" + bytes.fromhex(line["hex"]))
            came = _Came.of(line)
            first_us, last_us = _microseconds(line["received_at"]), _microseconds(came.last_received_at)
            kept = QuarantineEntry(Reason.UNKNOWN_TERMINAL, *place, first_us, line["terminal"], None, line["detail"], way, raw)
            yield kept._replace(frames=came.frames, last_us=last_us)


def frames(folder: Path, reason: Reason) -> int:
    """How many entries came to a ledger; one written twice after a kill counts once."""
    return sum(_Came.of(line).frames for line in _distinct(folder / f"{reason}.jsonl"))


def entry_keys(folder: Path) -> set[tuple[str, ...]]:
    """The signs (`sign`) of everything in the ledgers."""
    found = set()
    for reason in Reason:
        for line in _lines(folder / f"{reason}.jsonl"):
            found.add(_entry_key(reason, line["stream"], line["position"], line["terminal"], line["ts"]))
    return found


def entry_key(entry: QuarantineEntry) -> tuple[str, ...]:
    """By what an entry is known again: its frame, terminal and time; a contradiction by the point that it is about alone."""
    return _entry_key(entry.reason, entry.stream, entry.position, entry.terminal, entry.ts.isoformat() if entry.ts else None)


def _entry_key(reason: str, stream: str, position: int, terminal: str, ts: str | None) -> tuple[str, ...]:
    place = () if reason == Reason.CONFLICT else (stream, str(position))
    return (str(reason), *place, terminal, ts or "")


def mark_adopted(folder: Path, places: Mapping[JournalPosition, str]) -> None:
    """Note that the frames (with their terminals) are stored; `strangers` does not give them again.

    Raises `OSError`, and then none is noted.
    """
    now = datetime.now(UTC).isoformat()
    fields = [
        {"stream": stream, "position": position, "terminal": terminal, "adopted_at": now}
        for (stream, position), terminal in places.items()
    ]
    _append(folder / _ADOPTED, b"".join(_packed(line) for line in fields))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a ledger; none where it is absent."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


class _Came(NamedTuple):
    """How often the same came; position and receive time (ISO 8601) of the last."""

    frames: int
    last_position: int
    last_received_at: str

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "_Came":
        """What a line tells, merged or not."""
        last = line.get("last_position", line.get("position", 0)), line.get("last_received_at", line.get("received_at", ""))
        return cls(line.get("frames", 1), *last)

    def plus(self, later: "_Came") -> "_Came":
        """This and what came later; not what was counted before: a group forwarded again after a kill is written again."""
        if later.last_position <= self.last_position:
            return self
        return _Came(self.frames + later.frames, later.last_position, later.last_received_at)


def _distinct(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger without those that were written again after a kill."""
    last: dict[bytes, int] = {}
    for line in _lines(path):
        same, position = _same(line), _Came.of(line).last_position
        if position > last.get(same, -1):
            last[same] = position
            yield line


def _is_due(path: Path, added: int) -> bool:
    if not path.exists():
        return False
    size = path.stat().st_size
    return (size // MERGE_BYTES).bit_length() < ((size + added) // MERGE_BYTES).bit_length()


def _merge(path: Path) -> None:
    """Merge a ledger where that at least halves it. A kill leaves the old one or the new one. Raises `OSError`.

    So a ledger is never larger than `MERGE_BYTES` or four times what it tells, and merging costs about what writing did.
    """
    came: dict[bytes, _Came] = {}
    size = least = 0
    for raw, line in _tolerant(path):
        same = _same(line or raw)
        size, least = size + len(raw), least + (0 if same in came else len(raw))
        came[same] = came[same].plus(_Came.of(line)) if same in came else _Came.of(line)
    if 2 * least > size:
        return
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        for raw, line in _tolerant(path):
            if found := came.pop(_same(line or raw), None):
                file.write(raw if found == _Came.of(line) else _packed({**line, **found._asdict()}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def _tolerant(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines of a ledger and what they say: nothing where a line is damaged, which is no reason to lose it."""
    with path.open("rb") as file:
        for raw in file:
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if raw.endswith(b"\n"):
                yield raw, line if isinstance(line, dict) else {}


def _same(line: Mapping[str, Any] | bytes) -> bytes:
    """A digest in which lines that tell the same agree."""
    entry_keys = line if isinstance(line, bytes) else repr([line.get(name) for name in _SAME]).encode()
    return blake2b(entry_keys, digest_size=16).digest()


def _microseconds(moment: str) -> int:
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)


def _packed(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


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

"""The quarantine: what was not stored, and why; one JSON line each in `quarantine/<reason>.jsonl`. Nothing else writes there.

`quarantine/adopted.jsonl` names those frames of `UNKNOWN_TERMINAL` that were stored later, once their terminal was registered.

A frame that is not acknowledged is sent again and again. So a ledger is **merged** now and then: equal lines become the first
of them, with `frames` (how many), `last_position` and `last_received_at`; bytes that differ are never merged. Where all ledgers
together outgrow their budget, the largest loses its older half.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.contract.files import replace_file, sync_folder, whole_lines
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.schema import Reason
from ingest_daemon.journal.envelope import RecordHeader, encode_header, parse_record
from ingest_daemon.journal.records import JournalPosition

MERGE_BYTES = 1 << 20
"""A ledger is merged when it grows over this size, over twice that, four times that and so on."""

DISK_SHARE = 0.1
"""Largest share of the whole disk that the ledgers may take, whatever the budget."""

_LIMITED = RateLimitedLog()
_ADOPTED = "adopted.jsonl"
_SAME = ("stream", "terminal", "ts", "detail", "way", "hex")
"""Lines in which these agree are equal."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QuarantineEntry(NamedTuple):
    """A frame or reading in quarantine: reason, journal position, receive time, terminal, device time, detail, header, bytes.

    Of one that was read from a ledger: `frames`, the number of equal ones, and `last_us`, the receive time of the last.
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


class Added(NamedTuple):
    """Number of entries added, and of older ones dropped for the budget, a reason."""

    counts: Counter[str]
    dropped: Counter[str]


def add_entries(folder: Path, entries: Iterable[QuarantineEntry], budget_bytes: int = sys.maxsize) -> Added:
    """Append the entries to their ledgers and sync them. Raises `OSError`, and then none counts as added.

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
    return Added(Counter({reason: len(lines) for reason, lines in ledgers.items()}), _keep_budget(folder, budget_bytes))


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
        position = line["stream"], line["position"]
        if position not in done:
            done.add(position)
            yield _entry(Reason.UNKNOWN_TERMINAL, line)


def entries_of(folder: Path, terminal: str, start: datetime, end: datetime) -> list[QuarantineEntry]:
    """Entries of a terminal that were received from `start` to `end`, or have a device time then; by receive time.

    Frames that were adopted are not among them.
    """
    found = [entry for entry in unadopted_entries(folder) if entry.terminal == terminal]
    for reason in Reason:
        if reason is not Reason.UNKNOWN_TERMINAL:
            lines = _distinct(folder / f"{reason}.jsonl")
            found += [_entry(reason, line) for line in lines if line["terminal"] == terminal]
    first_us, behind_us = ((moment - _EPOCH) // timedelta(microseconds=1) for moment in (start, end))
    return sorted(
        (
            entry
            for entry in found
            if (entry.received_us < behind_us and entry.last_us >= first_us) or (entry.ts and start <= entry.ts < end)
        ),
        key=lambda entry: entry.received_us,
    )


def _entry(reason: str, line: Mapping[str, Any]) -> QuarantineEntry:
    way, raw = parse_record(line["way"].encode() + b"\n" + bytes.fromhex(line["hex"]))
    repeats = _Repeats.of(line)
    return QuarantineEntry(
        reason,
        line["stream"],
        line["position"],
        _microseconds(line["received_at"]),
        line["terminal"],
        datetime.fromisoformat(line["ts"]) if line.get("ts") else None,
        line["detail"],
        way,
        raw,
        repeats.frames,
        _microseconds(repeats.last_received_at),
    )


def frames(folder: Path, reason: Reason) -> int:
    """Number of entries of a ledger; one written twice after a kill counts once."""
    return sum(_Repeats.of(line).frames for line in _distinct(folder / f"{reason}.jsonl"))


def entry_keys(folder: Path) -> set[tuple[str, ...]]:
    """The keys (`entry_key`) of everything in the ledgers."""
    return {
        _entry_key(reason, line["stream"], line["position"], line["terminal"], line["ts"])
        for reason in Reason
        for line in _lines(folder / f"{reason}.jsonl")
    }


def entry_key(entry: QuarantineEntry) -> tuple[str, ...]:
    """The identity of an entry: its frame, terminal and time; of a contradiction the point alone."""
    return _entry_key(entry.reason, entry.stream, entry.position, entry.terminal, entry.ts.isoformat() if entry.ts else None)


def _entry_key(reason: str, stream: str, position: int, terminal: str, ts: str | None) -> tuple[str, ...]:
    frame = () if reason == Reason.CONFLICT else (stream, str(position))
    return (str(reason), *frame, terminal, ts or "")


def mark_adopted(folder: Path, positions: Mapping[JournalPosition, str]) -> None:
    """Note that the frames (with their terminals) are stored; `unadopted_entries` does not give them again.

    Raises `OSError`, and then none is noted.
    """
    now = datetime.now(UTC).isoformat()
    fields = [
        {"stream": stream, "position": position, "terminal": terminal, "adopted_at": now}
        for (stream, position), terminal in positions.items()
    ]
    _append(folder / _ADOPTED, b"".join(_packed(line) for line in fields))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a ledger; none where it is absent. A damaged one is passed over, and named in the log."""
    if path.is_file():
        for number, (raw, line) in enumerate(_tolerant(path), 1):
            if line.keys() >= {"stream", "position", "terminal"}:
                yield line
            else:
                _LIMITED.warn(path.name, f"{path} line {number} is damaged and passed over: {raw[:80]!r}")


class _Repeats(NamedTuple):
    """Number of equal lines; position and receive time (ISO 8601) of the last."""

    frames: int
    last_position: int
    last_received_at: str

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "_Repeats":
        """The number of a line, merged or not."""
        last = line.get("last_position", line.get("position", 0)), line.get("last_received_at", line.get("received_at", ""))
        return cls(line.get("frames", 1), *last)

    def plus(self, later: "_Repeats") -> "_Repeats":
        """This and later ones; not those counted before: a group forwarded again after a kill is written again."""
        if later.last_position <= self.last_position:
            return self
        return _Repeats(self.frames + later.frames, later.last_position, later.last_received_at)


def _distinct(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger without those that were written again after a kill."""
    last: dict[bytes, int] = {}
    for line in _lines(path):
        same, position = _same(line), _Repeats.of(line).last_position
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

    So a ledger is at most `MERGE_BYTES` or four times the size of its distinct lines, and merging costs about what writing did.
    """
    repeats: dict[bytes, _Repeats] = {}
    size = least = 0
    for raw, line in _tolerant(path):
        same = _same(line or raw)
        size, least = size + len(raw), least + (0 if same in repeats else len(raw))
        repeats[same] = repeats[same].plus(_Repeats.of(line)) if same in repeats else _Repeats.of(line)
    if 2 * least > size:
        return

    def merged_lines() -> Iterator[bytes]:
        for raw, line in _tolerant(path):
            if merged := repeats.pop(_same(line or raw), None):
                yield raw if merged == _Repeats.of(line) else _packed({**line, **merged._asdict()})

    replace_file(path, merged_lines())


def _keep_budget(folder: Path, budget_bytes: int) -> Counter[str]:
    """Halve the largest ledger until all fit into the budget; gives the number of entries dropped, a reason. Raises `OSError`."""
    dropped: Counter[str] = Counter()
    sizes = {path: path.stat().st_size for path in folder.glob("*.jsonl")}
    if not sizes:
        return dropped
    allowed = min(budget_bytes, int(DISK_SHARE * shutil.disk_usage(folder).total))
    while sum(sizes.values()) > allowed:
        largest = max(sizes, key=lambda path: sizes[path])
        dropped[largest.stem] += _drop_older(largest, sizes[largest] // 2)
        if largest.stem == Reason.UNKNOWN_TERMINAL:
            _forget_adopted(folder)
        sizes = {path: path.stat().st_size for path in sizes if path.exists()}
    return dropped


def _drop_older(path: Path, keep_bytes: int) -> int:
    """Drop the older lines of a ledger, so that about `keep_bytes` stay; gives the number of entries dropped."""
    count = offset = 0
    size = path.stat().st_size
    for raw, line in _tolerant(path):
        if size - offset <= keep_bytes:
            break
        offset += len(raw)
        count += _Repeats.of(line).frames
    with path.open("rb") as old:
        old.seek(offset)
        replace_file(path, iter(lambda: old.read(1 << 20), b""))
    return count


def _forget_adopted(folder: Path) -> None:
    """Take out of the adopted frames those that are in no ledger any more."""
    path = folder / _ADOPTED
    if path.exists():
        left = {(line["stream"], line["position"]) for line in _lines(folder / f"{Reason.UNKNOWN_TERMINAL}.jsonl")}
        adopted = (line for line in _lines(path) if (line["stream"], line["position"]) in left)
        replace_file(path, map(_packed, adopted))


def _tolerant(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines of a ledger, raw and parsed; a damaged line is kept, parsed as nothing."""
    with path.open("rb") as file:
        for raw in file:
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if raw.endswith(b"\n"):
                yield raw, line if isinstance(line, dict) else {}


def _same(line: Mapping[str, Any] | bytes) -> bytes:
    """A digest in which equal lines agree."""
    content = line if isinstance(line, bytes) else repr([line.get(name) for name in _SAME]).encode()
    return blake2b(content, digest_size=16).digest()


def _microseconds(moment: str) -> int:
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)


def _packed(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("ab+") as file:
        end = whole_lines(path)
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

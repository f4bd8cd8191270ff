"""Long messages: their parts on disk until all are there. A part that `put` took survives a power cut.

One file a part in `state/sms-parts/`. Files are written here in the calling thread; nothing is decoded.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from ingest_daemon.contract.files import make_folder, sync_folder, write_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.sms.pdu import Part

MOST_PARTS = 2000
"""Limit of parts on disk; beyond it the oldest message is given up."""

_DONE = 1000
"""Number of whole messages that are remembered, so that a repeated part does not begin a new one."""

Key = tuple[str, int, int]
"""Sender, reference, number of parts."""


@dataclass
class Long:
    """A message of several parts; `why`: the reason for which it was given up."""

    key: Key
    received_us: int
    parts: dict[int, str | bytes] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether all parts are present."""
        return len(self.parts) == self.key[2]

    @property
    def content(self) -> str | bytes:
        """The present parts in order; text if all are text, octets otherwise."""
        pieces = [self.parts[number] for number in sorted(self.parts)]
        texts = [piece for piece in pieces if isinstance(piece, str)]
        if len(texts) == len(pieces):
            return "".join(texts)
        return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


class Parts:
    """The parts that wait for the others of their message. For one thread at a time."""

    def __init__(self, folder: Path, wait_s: float, most: int = MOST_PARTS) -> None:
        """Load the parts in the folder. Raises `OSError`."""
        self._folder, self._wait_us, self._most = folder, int(wait_s * 1e6), most
        self._open: dict[Key, Long] = {}
        self._done: dict[Key, dict[int, str | bytes]] = {}
        self._given_up: list[Long] = []
        make_folder(folder)
        for path in sorted(folder.glob("*.json")):
            try:
                entry = json.loads(path.read_text(encoding="utf-8"))
                self._add(path, entry)
            except (ValueError, KeyError, TypeError, IsADirectoryError) as error:
                LOG.warning("%s is no part of an SMS (%s); put aside", path, error)
                path.rename(path.with_suffix(".torn"))

    def put(self, sender: str, part: Part, content: str | bytes, received_us: int) -> Long | None:
        """Keep a part durably. Returns the message once it is whole; deliver it, then `forget` it. Raises `OSError`."""
        key = (sender, part.reference, part.total)
        if self._done.get(key, {}).get(part.number) == content:
            return None
        if (message := self._open.get(key)) and part.number in message.parts and message.parts[part.number] != content:
            self._give_up(key, "the sender used its reference again before the message was whole")
        message = self._open.get(key)
        if message is None or part.number not in message.parts:
            entry = {"sender": sender, "reference": part.reference, "total": part.total, "number": part.number}
            coded = {"octets": content.hex()} if isinstance(content, bytes) else {"text": content}
            name = f"{received_us:017d}-{crc32(repr(key).encode()):08x}-{part.number:03d}.json"
            write_json(self._folder / name, {**entry, **coded, "received_us": received_us}, durable=True)
            self._add(self._folder / name, {**entry, **coded, "received_us": received_us})
        while sum(len(waiting.parts) for waiting in self._open.values()) > self._most:
            self._give_up(next(iter(self._open)), f"more than {self._most} parts wait for others")
        message = self._open.get(key)
        return message if message and message.whole else None

    def ready(self, now_us: int) -> list[Long]:
        """Messages to deal with: whole ones that are not forgotten yet, and those given up (`why`)."""
        late = [key for key, message in self._open.items() if not message.whole and now_us - message.received_us > self._wait_us]
        for key in late:
            self._give_up(key, f"the other parts did not come within {self._wait_us / 3.6e9:g} h")
        return [*(message for message in self._open.values() if message.whole), *self._given_up]

    def forget(self, message: Long) -> None:
        """Delete a message that is safe elsewhere. Raises `OSError`."""
        for path in message.files:
            path.unlink(missing_ok=True)
        sync_folder(self._folder)
        if message in self._given_up:
            self._given_up.remove(message)
        elif self._open.get(message.key) is message:
            del self._open[message.key]
            self._done[message.key] = message.parts
            while len(self._done) > _DONE:
                del self._done[next(iter(self._done))]

    def _add(self, path: Path, entry: dict[str, Any]) -> None:
        key = (entry["sender"], entry["reference"], entry["total"])
        message = self._open.setdefault(key, Long(key, entry["received_us"]))
        message.parts[entry["number"]] = bytes.fromhex(entry["octets"]) if "octets" in entry else entry["text"]
        message.files.append(path)

    def _give_up(self, key: Key, why: str) -> None:
        message = self._open.pop(key)
        there = ", ".join(map(str, sorted(message.parts)))
        message.why = f"an SMS of {key[2]} parts, only {there} there (reference {key[1]}): {why}"
        self._given_up.append(message)

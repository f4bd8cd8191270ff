"""Messages that came before: their ids, for as long as a copy of them would still be believed. Kept in a file over a restart."""

from hashlib import sha256
from pathlib import Path

from ingest_daemon.contract.files import replace_file

MOST = 100_000
"""So many newest ids are remembered."""


class Seen:
    """Ids of messages that are safe in the journal."""

    def __init__(self, path: Path, window_s: float) -> None:
        """Take up what the file has. Raises `OSError`."""
        self._path, self._window_us = path, int(window_s * 1e6)
        self._seen: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for line in path.read_text(encoding="ascii", errors="replace").splitlines():
                at, _, digest = line.partition(" ")
                if at.isdecimal() and len(digest) == 64:
                    self._seen[digest] = int(at)
        self._lines = 2 * MOST  # so the first one writes the file anew

    def __contains__(self, identity: bytes) -> bool:
        return _digest(identity) in self._seen

    def add(self, identity: bytes, now_us: int) -> None:
        """Remember one. No sync: one forgotten by a power cut comes twice, and the same reading twice is the same point."""
        self._seen[digest := _digest(identity)] = now_us
        if self._lines < 2 * MOST:
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{now_us} {digest}\n")
            self._lines += 1
            return
        # A time may be off by the window to either side, so an id is needed for twice as long.
        kept = [(known, seen_us) for known, seen_us in self._seen.items() if now_us - seen_us <= 2 * self._window_us][-MOST:]
        self._seen, self._lines = dict(kept), len(kept)
        replace_file(self._path, (f"{seen_us} {known}\n".encode() for known, seen_us in kept), durable=False)


def _digest(identity: bytes) -> str:
    return sha256(identity).hexdigest()

"""A thread that reads the journal from durable cursors; the forwarder and the alarm sink are two."""

import threading
from collections.abc import Sequence

from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import CURSORS, read, read_cursor
from ingest_daemon.journal.records import Chunk
from ingest_daemon.journal.writer import Journals


class JournalThread:
    """A thread with a cursor for each of its `readers`, names of `CURSORS`."""

    def __init__(self, name: str, site: Site, journals: Journals, readers: Sequence[str]) -> None:
        self._site, self._journals = site, journals
        self._positions = {reader: read_cursor(site, reader) for reader in readers}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what is quick and end the thread; the rest follows after the next start."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def position(self, stream: str) -> int:
        """Position before which this thread needs nothing more of a stream."""
        return min(position for reader, position in self._positions.items() if CURSORS[reader] == stream)

    def _run(self) -> None:
        raise NotImplementedError

    def _read(self, reader: str, end: int, max_bytes: int) -> Chunk:
        """The next records of a reader before the position `end`."""
        return read(self._site.journal / CURSORS[reader], self._positions[reader], end, max_bytes)

"""Sockets: bytes of a connection → frames → journal → acknowledgement once they are safe on disk.

No decoding of content, no store. One event loop; whatever a stranger sends ends at most his own connection.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from ingest_daemon import codecs
from ingest_daemon.config import DaemonSettings
from ingest_daemon.envelope import Way, head
from ingest_daemon.frames import Frame
from ingest_daemon.journal import ALARM, BAD, BAD_KIND, DATA, FRAME_KIND, Journals, bad_payload
from ingest_daemon.schema import Reason
from ingest_daemon.state import Counters, Limited

PENDING_BYTES = 8 << 20
"""With more waiting for the disk than this, connections are not read until the next commit."""


class Connection(asyncio.Protocol):
    """One terminal's connection."""

    __slots__ = ("_bad_bytes", "_codec", "_decoder", "_head", "_server", "heard", "transport")

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._codec = server.codec
        self._head = server.head
        self._decoder = server.codec.decoder()
        self._bad_bytes = 0
        self.heard = time.monotonic()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        if self._decoder.pending:
            self._server.counters.incomplete += 1

    def pause_writing(self) -> None:
        """A peer that does not read its acknowledgements is not read either, and idles out."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        if self.transport.is_closing():
            return
        received_us = time.time_ns() // 1000
        try:
            for piece in self._decoder.feed(data):
                if isinstance(piece, Frame):
                    self._take(piece.raw, received_us)
                else:
                    self._refuse(piece.reason, piece.detail, piece.raw, received_us)
        except Exception as error:
            self._refuse(Reason.BAD_BODY, f"the codec failed with {type(error).__name__}: {error}", data, received_us)
            self.transport.abort()
        if self._bad_bytes > self._server.settings.bad_bytes:
            self._server.limited.warn("bad bytes", f"more than {self._server.settings.bad_bytes} in one connection: closed")
            self.transport.abort()
        self._server.hold_back(self)

    def _take(self, raw: bytes, received_us: int) -> None:
        stream = ALARM if self._codec.is_alarm(raw) else DATA
        reply = self._codec.reply(raw, datetime.fromtimestamp(received_us / 1e6, UTC), None)
        self._server.counters.last_contact_us[self._codec.terminal(raw)] = received_us
        self._server.journals.append(
            stream, self._head + raw, received_us, FRAME_KIND, (self, reply) if reply is not None else None
        )

    def _refuse(self, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        self._bad_bytes += len(raw)
        self._server.counters.bad[str(reason)] += 1
        self._server.limited.warn(str(reason), f"{len(raw)} bytes kept in journal/{BAD}: {detail}")
        self._server.journals.append(BAD, bad_payload(reason, detail, self._head + raw), received_us, BAD_KIND)


class Server:
    """The listeners of both ports and all their connections."""

    def __init__(self, settings: DaemonSettings, journals: Journals, counters: Counters) -> None:
        self.settings, self.journals, self.counters = settings, journals, counters
        self.codec, self.head = codecs.load(settings.protocol), head(Way(settings.protocol))
        self.limited = Limited()
        self._connections: set[Connection] = set()
        self._held: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> tuple[int, int]:
        """Listen; gives the data port and the alarm port. Raises `OSError` naming the address that is taken."""
        self._loop = asyncio.get_running_loop()
        for port in (self.settings.data_port, self.settings.alarm_port):
            listener = await self._loop.create_server(lambda: Connection(self), self.settings.bind, port, backlog=1024)
            self._listeners.append(listener)
        self._sweeper = asyncio.create_task(self._sweep())
        data, alarm = (listener.sockets[0].getsockname()[1] for listener in self._listeners)
        return data, alarm

    async def stop_listening(self) -> None:
        """Accept no connection and read no byte any more; what was read is still committed and acknowledged."""
        for listener in self._listeners:
            listener.close()
        for connection in self._connections:
            connection.transport.pause_reading()
        if self._sweeper:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper

    async def close(self, timeout_s: float = 1.0) -> None:
        """Close all connections once their acknowledgements are sent, or when the time is over."""
        for connection in self._connections:
            connection.transport.close()
        deadline = time.monotonic() + timeout_s
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for connection in self._connections:
            connection.transport.abort()

    def opened(self, connection: Connection) -> None:
        """A connection came; beyond the limit it is closed at once."""
        self._connections.add(connection)
        self.counters.connections = len(self._connections)
        if len(self._connections) > self.settings.connections:
            self.counters.turned_away += 1
            self.limited.warn("connections", f"more than {self.settings.connections} ([daemon] connections): turned away")
            connection.transport.abort()

    def closed(self, connection: Connection) -> None:
        """A connection went."""
        self._connections.discard(connection)
        self._held.discard(connection)
        self.counters.connections = len(self._connections)

    def hold_back(self, connection: Connection) -> None:
        """Do not read on while the disk is far behind."""
        if self.journals.pending_bytes > PENDING_BYTES and not connection.transport.is_closing():
            connection.transport.pause_reading()
            self._held.add(connection)

    def settled(self, stream: str, count: int, receipts: list[Any], refusal: str) -> None:
        """A group of the journal is safe or refused; called in the journal's thread."""
        self._loop.call_soon_threadsafe(self._answer, stream, count, receipts, refusal)

    def _answer(self, stream: str, count: int, receipts: Sequence[tuple[Connection, bytes]], refusal: str) -> None:
        self.counters.health["journal"] = refusal or "ok"
        if refusal:
            self.counters.refused += count
        else:
            self.counters.frames[stream] += count
            self.counters.acknowledged += len(receipts)
            for connection, reply in receipts:
                if not connection.transport.is_closing():
                    connection.transport.write(reply)
        for held in self._held:
            held.transport.resume_reading()
        self._held.clear()

    async def _sweep(self) -> None:
        """Close silent connections, and say what log lines held back."""
        idle = self.settings.idle_s
        while True:
            await asyncio.sleep(min(idle / 4, 5.0))
            self.limited.flush()
            before = time.monotonic() - idle
            for connection in [each for each in self._connections if each.heard < before]:
                connection.transport.abort()

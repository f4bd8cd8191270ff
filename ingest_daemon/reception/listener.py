"""The listeners of both ports and of the importer's socket, and all their connections. No frame is handled here.

Everything belongs to one event loop; whatever a stranger sends ends at most the stranger's own connection.
"""

import asyncio
import contextlib
import os
import resource
import socket
import time
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from functools import partial
from pathlib import Path
from typing import Any

from ingest_daemon import codecs
from ingest_daemon.codec_kit.reassembly import WAIT_S, Reassembly
from ingest_daemon.commands.queue import CommandQueue
from ingest_daemon.contract.files import open_folder
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.journal.envelope import parse_record
from ingest_daemon.journal.reader import segments, walk
from ingest_daemon.journal.records import PART
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.reception.access import ConnectionLimiter, SenderVerifier, tls
from ingest_daemon.reception.command_dispatch import CommandDispatcher
from ingest_daemon.reception.connection import Connection
from ingest_daemon.reception.flow_control import FairShare, Pause
from ingest_daemon.reception.group_commit import GroupCommit
from ingest_daemon.reception.link_table import LinkTable
from ingest_daemon.reception.protocol_detection import LinkIndex
from ingest_daemon.reception.settings import AccessSettings, DaemonSettings
from ingest_daemon.reception.stream_selector import StreamSelector
from ingest_daemon.terminals.directory import TerminalDirectory

LISTEN_BACKLOG = 1024
"""Callers that wait in the system's queue: a storm of terminals that dial again."""
ACCEPTS_A_TURN = 16
"""Callers let in at a turn of the event loop: those over the limit of connections are closed before they take all open files."""

SPARE_FILES = 16
"""Open files that connections leave to the rest of the process."""

REFRESH_S = 1.0
"""Seconds between two looks at the registry."""


class Server:
    """Listens on both ports, and holds the connections with the parts that they share."""

    def __init__(
        self,
        settings: DaemonSettings,
        access: AccessSettings,
        directory: TerminalDirectory,
        commands: CommandQueue,
        journals: Journals,
        counters: Counters,
        import_socket: Path,
    ) -> None:
        """`import_socket`: see `Site`. Raises `SettingError` where the files for TLS are wrong."""
        self.settings, self.directory, self.counters = settings, directory, counters
        self.log = RateLimitedLog()
        self.limiter, self.verifier = ConnectionLimiter(access), SenderVerifier(access, directory)
        counters.doubted = self.verifier.counted
        self.commit = GroupCommit(journals, counters, self.log)
        self.commands = CommandDispatcher(commands, self)
        self.fair_share = FairShare()
        self.streams = StreamSelector()
        self.reassembly = Reassembly()
        self.links = self._link_index()
        self.link_table = LinkTable(counters, self.log)
        self.by_terminal: dict[str, Connection] = {}
        """The connection over which each registered terminal was heard last, while it lives."""
        self._journals, self._import_socket = journals, import_socket
        self._frame_s, self.tls = access.frame_s, tls(access)
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> tuple[int, int]:
        """Listen; gives the data port and the alarm port. Raises `OSError` naming what is taken."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        self.commit.start()
        self.fair_share.start(loop.call_soon, loop.call_later)
        self.commands.start()
        self._restore_packets()
        settings = self.settings
        for port, protocol in ((settings.data_port, settings.data_protocol), (settings.alarm_port, settings.alarm_protocol)):
            factory = partial(Connection, self, protocol)
            listener = await loop.create_server(factory, settings.bind, port, backlog=ACCEPTS_A_TURN)
            _lengthen_queue(listener)
            self._listeners.append(listener)
        await self._listen_to_imports()
        self._sweeper = asyncio.create_task(self._sweep())
        data, alarm = (listener.sockets[0].getsockname()[1] for listener in self._listeners[:2])
        return data, alarm

    async def _listen_to_imports(self) -> None:
        """Listen on the socket of this machine's importer: the umask leaves it to the daemon's own user."""
        path = self._import_socket
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_folder(path.parent) as short:
            factory = partial(Connection, self, codecs.IMPORTED, is_local=True)
            listener = await asyncio.get_running_loop().create_unix_server(factory, f"{short}/{path.name}")
        self._listeners.append(listener)

    async def stop_listening(self) -> None:
        """Accept no connection and read no byte any more; what was read is still committed and acknowledged."""
        for listener in self._listeners:
            listener.close()
        self._import_socket.unlink(missing_ok=True)  # a file that nobody answers at is in the way of who copies the site
        for connection in self._connections:
            connection.pause(Pause.STOPPING)
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
        """Count a new connection, from its first byte; close it at once beyond the limits."""
        self._connections.add(connection)
        self._count_connections()
        if len(self._connections) > self.settings.connections:
            self._turn_away(connection, f"more than {self.settings.connections} connections ([daemon] connections)")
        elif _is_last_file(connection.transport):
            self._turn_away(connection, "open files are used up: raise LimitNOFILE (ulimit -n)")

    def admit(self, connection: Connection) -> None:
        """Let a caller in by its address, or turn it away."""
        if connection.transport.is_closing():
            return
        refusal = self.limiter.admit(connection.state.address)
        connection.is_admitted = not refusal
        if refusal:
            self._turn_away(connection, refusal)

    def _turn_away(self, connection: Connection, reason: str) -> None:
        self.counters.turned_away += 1
        self.log.warn("turned away", reason)
        connection.transport.abort()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log at most once a minute that accepting failed, for example because open files are used up; asyncio tries again."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            self.log.warn("turned away", f"connections cannot be accepted: {error}; raise LimitNOFILE (ulimit -n)")
        else:
            loop.default_exception_handler(context)

    def closed(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        if connection.is_admitted:
            self.limiter.left(connection.state.address)
        self._connections.discard(connection)
        self.commit.flow_control.forget(connection)
        if connection.link:
            self.link_table.release(connection)
        for number in connection.terminals:
            if self.by_terminal.get(number) is connection:
                del self.by_terminal[number]
        self._count_connections()

    def _count_connections(self) -> None:
        self.counters.connections = len(self._connections)
        self.fair_share.divide(len(self._connections))

    def _link_index(self) -> LinkIndex:
        return LinkIndex({name: link.protocol for name, link in self.directory.links.items()})

    def _restore_packets(self) -> None:
        """Take up packets that were acknowledged before this start: the rest of their message may come now."""
        folder, now_s = self._journals.streams[PART].folder, time.time()
        for start, _ in segments(folder)[-1:]:
            for record in (record for chunk in walk(folder, start) for record in chunk.records):
                header, raw = parse_record(record.payload)
                age_s = now_s - record.received_us / 1e6
                if age_s < WAIT_S and (packet := codecs.load(header.protocol).packet(raw)):
                    self.reassembly.take(header.protocol, packet, raw, time.monotonic() - age_s)

    async def _sweep(self) -> None:
        """Close silent and slow connections, follow the registry and the commands, and flush held-back log lines."""
        idle_s = self.settings.idle_s
        while True:
            await asyncio.sleep(min(idle_s / 4, REFRESH_S))
            self.log.flush()
            try:
                self._follow()
            except Exception as error:  # a full disk, for example; the next look may go well
                self.log.warn("looking after", f"{type(error).__name__}: {error}; tried again")
            self.reassembly.expire(time.monotonic())
            self.counters.messages_given_up = self.reassembly.given_up
            self.link_table.review(time.monotonic())
            self._close_overdue(time.monotonic())

    def _close_overdue(self, now_s: float) -> None:
        for connection in list(self._connections):
            if connection.active_s < now_s - self.settings.idle_s:
                connection.transport.abort()
            elif connection.state.overdue(self._frame_s, now_s):
                self.log.warn("slow", f"{connection.state.address}: a frame not whole within {self._frame_s:.0f} s, closed")
                connection.transport.abort()

    def _follow(self) -> None:
        """Take over what changed in the registry, and send queued commands."""
        if self.directory.refresh():
            self.links = self._link_index()
            for connection in [connection for connection in self._connections if connection.is_unidentified]:
                connection.detect_again()
        self.commands.follow()


def _lengthen_queue(listener: asyncio.Server) -> None:
    """Set the system's queue of waiting callers; asyncio takes one number for it and for the callers of a turn."""
    for bound in listener.sockets:
        with socket.socket(fileno=os.dup(bound.fileno())) as same:
            same.listen(LISTEN_BACKLOG)


def _is_last_file(transport: asyncio.Transport) -> bool:
    """Whether a connection took one of the last files that this process may open; the journal and `/healthz` need those."""
    handle = transport.get_extra_info("socket").fileno()
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return allowed != resource.RLIM_INFINITY and bool(handle >= allowed - SPARE_FILES)

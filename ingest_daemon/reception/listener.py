"""Sockets: bytes of a connection → frames → journal → acknowledgement once they are safe on disk.

No decoding of content, no store. One event loop; whatever a stranger sends ends at most his own connection.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import UnsupportedCommand
from ingest_daemon.codec_kit.reassembly import WAIT_S, Reassembly
from ingest_daemon.commands.queue import CommandQueue
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.journal.envelope import parse_record
from ingest_daemon.journal.reader import segments, walk
from ingest_daemon.journal.records import ALARM, DATA, FRAME_KIND, PART
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.reception.access import AccessSettings, ConnectionLimiter, SenderVerifier, tls
from ingest_daemon.reception.connection import Connection, Receipt
from ingest_daemon.reception.protocol_detection import LinkIndex
from ingest_daemon.reception.settings import DaemonSettings
from ingest_daemon.terminals.directory import TerminalDirectory

PENDING_BYTES = 8 << 20
"""With more waiting for the disk than this, connections are not read until the next commit."""


REFRESH_S = 1.0
"""The registry is looked at this often."""


class Server:
    """The listeners of both ports and all their connections."""

    def __init__(
        self,
        settings: DaemonSettings,
        access: AccessSettings,
        known: TerminalDirectory,
        commands: CommandQueue,
        journals: Journals,
        counters: Counters,
    ) -> None:
        """Raises `SettingError` where the files for TLS are wrong."""
        self.settings, self.known, self.journals, self.counters = settings, known, journals, counters
        self.gate, self.judge = ConnectionLimiter(access), SenderVerifier(access, known)
        self._frame_s, self._tls = access.frame_s, tls(access)
        counters.doubted = self.judge.counted
        self.limited = RateLimitedLog()
        self.packets = Reassembly()
        self.links = LinkIndex({link: each.protocol for link, each in known.links.items()})
        self.by_link: dict[str, Connection] = {}
        """The connection of each link that is on line."""
        self.by_terminal: dict[str, Connection] = {}
        """The connection over which each terminal was heard last, while it lives."""
        self.wanted: frozenset[str] = frozenset()
        """Terminals for which a question waits."""
        self._commands = commands
        self._connections: set[Connection] = set()
        self._held: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._alarmed: set[str] = set()
        """Terminals whose last frame told of an alarm."""
        self._sweeper: asyncio.Task[None] | None = None
        self._is_committing = False
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> tuple[int, int]:
        """Listen; gives the data port and the alarm port. Raises `OSError` naming the address that is taken."""
        self._loop = asyncio.get_running_loop()
        self._remember_packets()
        self._commands.tidy(datetime.now(UTC), start=True)
        settings = self.settings
        for port, protocol in ((settings.data_port, settings.data_protocol), (settings.alarm_port, settings.alarm_protocol)):
            listener = await self._loop.create_server(
                lambda protocol=protocol: Connection(self, protocol),
                settings.bind,
                port,
                backlog=1024,
                ssl=self._tls,
            )
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
        """A connection came; one that is not let in, or beyond the limit, is closed at once."""
        why = "" if connection.link else self.gate.admit(connection.heard.address)
        connection.admitted = not (why or connection.link)
        self._connections.add(connection)
        self.counters.connections = len(self._connections)
        if len(self._connections) > self.settings.connections:
            why = f"more than {self.settings.connections} connections ([daemon] connections)"
        if why:
            self.counters.turned_away += 1
            self.limited.warn("turned away", why)
            connection.transport.abort()

    def linked(self, connection: Connection) -> None:
        """A link is on line; one that was on line before is given up: the DTU called in again."""
        before = self.by_link.get(connection.link)
        self.by_link[connection.link] = connection
        if before is not None and before is not connection:
            before.transport.abort()

    def closed(self, connection: Connection) -> None:
        """A connection went."""
        if connection.admitted:
            self.gate.left(connection.heard.address)
        self._connections.discard(connection)
        self._held.discard(connection)
        if self.by_link.get(connection.link) is connection:
            del self.by_link[connection.link]
        for number in connection.numbers:
            if self.by_terminal.get(number) is connection:
                del self.by_terminal[number]
        self.counters.connections = len(self._connections)

    def note(self, terminal: str, protocol: str, received_us: int) -> None:
        """A terminal was heard; of strangers only the protocol is counted."""
        if terminal in self.known.terminals:
            self.counters.last_contact_us[terminal] = received_us
        self.counters.protocols[protocol] += 1

    def stream(self, number: str, is_alarm: bool) -> str:
        """The journal's stream of a frame. What follows on an alarm overtakes the backlog, too: it may say that it is over."""
        if is_alarm:
            if number in self.known.terminals:
                self._alarmed.add(number)
            return ALARM
        if number in self._alarmed:
            self._alarmed.remove(number)
            return ALARM
        return DATA

    def send_queued_commands(self, number: str) -> None:
        """Put what waits for a registered terminal to it, if it is on line and was not deaf since it was last heard."""
        terminal = self.known.terminals.get(number)
        if terminal is None:
            return
        connection = self.by_link.get(terminal.link) if terminal.link else self.by_terminal.get(number)
        if connection is None or number in connection.deaf:
            return
        codec, now = codecs.load(connection.protocol), datetime.now(UTC)
        for filed in self._commands.waiting(number, now):
            ask = filed.ask(terminal.address, now)._replace(password=terminal.password)
            try:
                requests = codec.requests(ask, self.known.profile(connection.protocol, number))
            except UnsupportedCommand as error:
                self._commands.refused(filed.id, str(error), now)
                continue
            self._commands.sent(filed.id, now)
            told = partial(self._asked, filed.id, number, connection)
            connection.ask(number, requests, 1, self._commands.settings.answer_s, told)

    def _asked(self, name: str, number: str, connection: Connection, whole: bool) -> None:
        now = datetime.now(UTC)
        if whole:
            self._commands.answered(name, None, now)
        else:
            connection.deaf.add(number)
            self._commands.unanswered(name, now)

    def journal(
        self, stream: str, payload: bytes, received_us: int, kind: int = FRAME_KIND, receipt: Receipt | None = None
    ) -> None:
        """Journal a record, in one group with whatever else comes in this turn of the event loop.

        Committing in the middle of a turn would make groups of a few frames: each costs a sync and two changes of threads.
        """
        self.journals.append(stream, payload, received_us, kind, receipt)
        if not self._is_committing:
            self._is_committing = True
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        self._is_committing = False
        self.journals.commit_soon()

    def hold_back(self, connection: Connection) -> None:
        """Do not read on while the disk is far behind."""
        if self.journals.pending_bytes > PENDING_BYTES and not connection.transport.is_closing():
            connection.transport.pause_reading()
            self._held.add(connection)

    def settled(self, stream: str, count: int, receipts: list[Any], refusal: str) -> None:
        """A group of the journal is safe or refused; called in the journal's thread."""
        self._loop.call_soon_threadsafe(self._answer, stream, count, receipts, refusal)

    def _answer(self, stream: str, count: int, receipts: Sequence[Receipt], refusal: str) -> None:
        self.counters.health["journal"] = refusal or "ok"
        if refusal:
            self.counters.refused += count
            for function, _ in receipts:
                self._tell(function, None)
        else:
            self.counters.frames[stream] += count
            self.counters.acknowledged += len(receipts)
            for function, argument in receipts:
                self._tell(function, argument)
        for held in self._held:
            held.transport.resume_reading()
        self._held.clear()

    def _tell(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call what waits for a record; what goes wrong there is no other record's."""
        try:
            function(argument)
        except Exception as error:
            self.limited.warn("receipt", f"{type(error).__name__}: {error}; the frame is safe, what was to follow is not done")

    def _remember_packets(self) -> None:
        """Packets that were acknowledged before this start: the rest of their message may come now."""
        folder, now_s = self.journals.streams[PART].folder, time.time()
        for start, _ in segments(folder)[-1:]:
            for record in (record for chunk in walk(folder, start) for record in chunk.records):
                way, raw = parse_record(record.payload)
                age_s = now_s - record.received_us / 1e6
                if age_s < WAIT_S and (packet := codecs.load(way.protocol).packet(raw)):
                    self.packets.take(way.protocol, packet, raw, time.monotonic() - age_s)

    async def _sweep(self) -> None:
        """Close silent connections, follow the registry, and say what log lines held back."""
        idle = self.settings.idle_s
        while True:
            await asyncio.sleep(min(idle / 4, REFRESH_S))
            self.limited.flush()
            try:
                self._follow()
            except Exception as error:  # a full disk, for example; the next look may go well
                self.limited.warn("looking after", f"{type(error).__name__}: {error}; tried again")
            self.packets.expire(time.monotonic())
            now_s = time.monotonic()
            for connection in list(self._connections):
                if connection.active_s < now_s - idle:
                    connection.transport.abort()
                elif connection.heard.overdue(self._frame_s, now_s):
                    self.limited.warn(
                        "slow", f"{connection.heard.address}: a frame not whole within {self._frame_s:.0f} s, closed"
                    )
                    connection.transport.abort()

    def _follow(self) -> None:
        """Take over what changed in the registry, and put the questions that wait."""
        if self.known.refresh():
            self.links = LinkIndex({link: each.protocol for link, each in self.known.links.items()})
            for connection in [each for each in self._connections if each.is_nobody]:
                connection.data_received(b"")
        self._commands.tidy(datetime.now(UTC))
        self.wanted = frozenset(self._commands.terminals())
        for number in self.wanted:
            self.send_queued_commands(number)

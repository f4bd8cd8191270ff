"""Sockets: bytes of a connection → frames → journal → acknowledgement once they are safe on disk.

No decoding of content, no store. One event loop; whatever a stranger sends ends at most his own connection.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from ingest_daemon import codec_defaults, codecs
from ingest_daemon.access import KEEP, REFUSE, AccessSettings, Gate, Heard, Judge, tls
from ingest_daemon.asks import Asks
from ingest_daemon.config import AUTO, DaemonSettings
from ingest_daemon.envelope import Way, head, opened
from ingest_daemon.exchange import Exchange, Question
from ingest_daemon.frames import Arrival, CannotAsk, Codec, Decoder, Frame, Packet
from ingest_daemon.introduction import LONGEST, Links, introduce, is_heartbeat
from ingest_daemon.journal import ALARM, BAD, BAD_KIND, DATA, FRAME_KIND, PART, Journals, bad_payload, segments, walk
from ingest_daemon.known import Known
from ingest_daemon.packets import WAIT_S, Packets
from ingest_daemon.schema import DOUBTS, Channel, Reason
from ingest_daemon.state import Counters, Limited

PENDING_BYTES = 8 << 20
"""With more waiting for the disk than this, connections are not read until the next commit."""

READ_BYTES = 64 << 10
"""Bytes that are read at once. With the 256 KB of asyncio each read takes fresh memory from the system: 17 µs instead of 3."""

REFRESH_S = 1.0
"""The registry is looked at this often."""

Receipt = tuple[Callable[[Any], None], Any]
"""What the journal gives back with a record: a function, and what it is called with once the record is safe (refused: None)."""


class Connection(asyncio.Protocol):
    """One terminal's connection, or one DTU's with the meters behind it."""

    __slots__ = (
        "_bad_bytes",
        "_codec",
        "_decoder",
        "_first",
        "_head",
        "_in_packets",
        "_listener",
        "_server",
        "active_s",
        "admitted",
        "deaf",
        "exchange",
        "heard",
        "link",
        "numbers",
        "protocol",
        "transport",
    )

    def __init__(self, server: "Server", listener: str, link: str = "") -> None:
        """`listener`: the protocol of the port, or `AUTO`; `link`: of a connection that we dialled."""
        self._server, self._listener, self.link = server, listener, link
        self._first = b""
        self._bad_bytes = 0
        self.active_s = time.monotonic()
        self.heard = Heard(link)
        self.admitted = False
        self.numbers: set[str] = set()
        self.deaf: set[str] = set()
        self.transport: asyncio.Transport
        self.exchange: Exchange | None = None
        self.protocol = ""
        self._codec: Codec
        self._decoder: Decoder | None = None
        self._head = head(Way("", link=link))
        self._in_packets = False
        if link or (listener != AUTO and not codecs.load(listener).POLLED):
            self._begin(listener)

    def _begin(self, protocol: str) -> None:
        self.protocol, self._codec = protocol, codecs.load(protocol)
        self._decoder = self._codec.decoder()
        self._head = head(Way(protocol, link=self.link))
        self._in_packets = self._codec.packet is not codec_defaults.packet

    @property
    def is_nobody(self) -> bool:
        """Whether bytes came that did not yet say who speaks."""
        return self._decoder is None and bool(self._first)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        if not self.link:  # who is dialled needs no leave
            self.heard.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._server.opened(self)
        if self.link:
            self._server.linked(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.exchange:
            self.exchange.close()
        self._server.closed(self)
        if self._decoder and self._decoder.pending:
            self._server.counters.incomplete += 1

    def pause_writing(self) -> None:
        """A peer that does not read its acknowledgements is not read either, and idles out."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.active_s = time.monotonic()
        if self.transport.is_closing():
            return
        received_us = time.time_ns() // 1000
        try:
            if self._decoder is None:
                data = self._introduced(data, received_us)
            if self.link and is_heartbeat(data, self.link):
                self._server.counters.heartbeats += 1
            elif self._decoder is not None:
                pieces = self._decoder.feed(data)
                for piece in pieces:
                    if isinstance(piece, Frame):
                        self._take(piece.raw, received_us)
                    else:
                        self._refuse(piece.reason, piece.detail, piece.raw, received_us)
                self.heard.fed(len(pieces), self._decoder.pending, self.active_s)
        except Exception as error:
            self._refuse(Reason.BAD_BODY, f"the codec failed with {type(error).__name__}: {error}", data, received_us)
            self.transport.abort()
        if self._bad_bytes > self._server.settings.bad_bytes:
            self._server.limited.warn("bad bytes", f"more than {self._server.settings.bad_bytes} in one connection: closed")
            self.transport.abort()
        self._server.hold_back(self)

    def ask(self, terminal: str, requests: Sequence[bytes], tries: int, answer_s: float, told: Callable[[bool], None]) -> None:
        """Put a question to a terminal; `told` is called with whether all of it was answered, once the answers are safe."""

        def done(question: Question) -> None:
            if not question.answered:
                told(False)
                return
            asked, answers = zip(*question.answered, strict=True)
            way = head(Way(self.protocol, Channel.TCP.value, self.link, terminal, asked))
            self._server.note(terminal, self.protocol, received_us := time.time_ns() // 1000)
            arrival = Arrival(b"".join(answers), received_us, terminal, asked)
            is_alarm = self._codec.is_alarm(arrival, self._server.known.profile(self.protocol, terminal))
            stream = self._server.stream(terminal, is_alarm)
            receipt: Receipt = (lambda safe: told(bool(safe)), not question.silent)
            self._server.journal(stream, way + arrival.raw, received_us, FRAME_KIND, receipt)

        if self.exchange is None:
            self.exchange = Exchange(asyncio.get_running_loop(), self._codec, self.transport.write)
        self.exchange.put(Question(terminal, deque(requests), done, tries, answer_s))

    def _introduced(self, data: bytes, received_us: int) -> bytes:
        """Find out who speaks; gives what is left of the bytes for the protocol's decoder."""
        first = self._first + data
        speaker = introduce(first, self._listener, self._server.links)
        if speaker is None:
            self._first = first
            if len(first) >= LONGEST:
                detail = "no protocol begins like this, and no link of registry/terminals.csv (column link) is in it"
                self._refuse(Reason.UNKNOWN_LINK, detail, first, received_us)
                self._first = b""
            return b""
        self._first, self.link = b"", speaker.link
        self._begin(speaker.protocol)
        if self.link:
            self._server.linked(self)
        return first[speaker.consumed :]

    def _take(self, raw: bytes, received_us: int) -> None:
        if self._in_packets and (packet := self._codec.packet(raw)) is not None:
            self._take_packet(packet, raw, received_us)
        else:
            self._take_message(raw, received_us)

    def _take_packet(self, packet: Packet, raw: bytes, received_us: int) -> None:
        whole = self._server.packets.take(self.protocol, packet, raw, time.monotonic())
        if whole.raw:
            self._take_message(whole.raw, received_us)
            return
        now = datetime.fromtimestamp(received_us / 1e6, UTC)
        reply = self._codec.reply(raw, now, self._server.known.profile(self.protocol, self._codec.terminal(raw)))
        if reply is not None:  # one that is acknowledged must be there after a kill, too; the others come again
            self._server.journal(PART, self._head + raw, received_us, FRAME_KIND, (self._write, reply))
        if whole.missing and (again := self._codec.ask_again(raw, whole.missing, now)):
            self.transport.write(again)

    def _take_message(self, raw: bytes, received_us: int) -> None:
        if self.exchange and self.exchange.take(raw):
            return
        server, codec = self._server, self._codec
        number, line = codec.terminal(raw), self._head
        if codec.POLLED:
            number = server.known.number(self.link, number)
            line = head(Way(self.protocol, link=self.link, terminal=number))
        verdict = server.judge.judge(codec, number, raw, self.heard, self.active_s)
        if verdict.reason:
            server.limited.warn(
                verdict.reason, f"{number} over {self.heard.address} ({verdict.policy}): {DOUBTS[verdict.reason]}"
            )
            if verdict.policy == REFUSE:
                self._refuse(verdict.reason, DOUBTS[verdict.reason], raw, received_us)
                return
            if verdict.policy == KEEP:
                line = head(Way(self.protocol, link=self.link, terminal=number if codec.POLLED else "", doubt=verdict.reason))
        now = datetime.fromtimestamp(received_us / 1e6, UTC)
        profile = server.known.profile(self.protocol, number)
        reply = codec.reply(raw, now, profile)
        server.note(number, self.protocol, received_us)
        if number in server.known.terminals:  # or strangers could fill the memory
            server.by_terminal[number] = self
            self.numbers.add(number)
            self.deaf.discard(number)
        arrival = Arrival(raw, received_us, number if codec.POLLED else "")
        stream = server.stream(number, codec.is_alarm(arrival, profile))
        told = reply is not None and verdict.acknowledge
        server.journal(stream, line + raw, received_us, FRAME_KIND, (self._safe, (raw, reply, number)) if told else None)
        if not told and number in server.wanted:
            server.put_asks(number)

    def _safe(self, said: tuple[bytes, bytes, str] | None) -> None:
        """The frame is safe on disk and its answer says so; None: it is not, and silence makes the terminal send it again."""
        if said is not None:
            raw, reply, number = said
            self._server.judge.acknowledged(raw, self.heard, time.monotonic())
            self._write(reply)
            if number in self._server.wanted:
                self._server.put_asks(number)

    def _write(self, reply: bytes | None) -> None:
        if reply is not None and not self.transport.is_closing():
            self.transport.write(reply)

    def _refuse(self, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        self._bad_bytes += len(raw)
        self._server.counters.bad[str(reason)] += 1
        self._server.limited.warn(str(reason), f"{len(raw)} bytes kept in journal/{BAD}: {detail}")
        self._server.journal(BAD, bad_payload(reason, detail, self._head + raw), received_us, BAD_KIND)


class Server:
    """The listeners of both ports and all their connections."""

    def __init__(
        self, settings: DaemonSettings, access: AccessSettings, known: Known, asks: Asks, journals: Journals, counters: Counters
    ) -> None:
        """Raises `SettingError` where the files for TLS are wrong."""
        self.settings, self.known, self.journals, self.counters = settings, known, journals, counters
        self.gate, self.judge = Gate(access), Judge(access, known)
        self._frame_s, self._tls = access.frame_s, tls(access)
        counters.doubted = self.judge.counted
        self.limited = Limited()
        self.packets = Packets()
        self.links = Links({link: each.protocol for link, each in known.links.items()})
        self.by_link: dict[str, Connection] = {}
        """The connection of each link that is on line."""
        self.by_terminal: dict[str, Connection] = {}
        """The connection over which each terminal was heard last, while it lives."""
        self.wanted: frozenset[str] = frozenset()
        """Terminals for which a question waits."""
        self._asks = asks
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
        self._asks.tidy(datetime.now(UTC), start=True)
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

    def put_asks(self, number: str) -> None:
        """Put what waits for a registered terminal to it, if it is on line and was not deaf since it was last heard."""
        terminal = self.known.terminals.get(number)
        if terminal is None:
            return
        connection = self.by_link.get(terminal.link) if terminal.link else self.by_terminal.get(number)
        if connection is None or number in connection.deaf:
            return
        codec, now = codecs.load(connection.protocol), datetime.now(UTC)
        for filed in self._asks.waiting(number, now):
            ask = filed.ask(terminal.address, now)._replace(password=terminal.password)
            try:
                requests = codec.requests(ask, self.known.profile(connection.protocol, number))
            except CannotAsk as error:
                self._asks.refused(filed.id, str(error), now)
                continue
            self._asks.sent(filed.id, now)
            told = partial(self._asked, filed.id, number, connection)
            connection.ask(number, requests, 1, self._asks.settings.answer_s, told)

    def _asked(self, name: str, number: str, connection: Connection, whole: bool) -> None:
        now = datetime.now(UTC)
        if whole:
            self._asks.answered(name, None, now)
        else:
            connection.deaf.add(number)
            self._asks.unanswered(name, now)

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
                way, raw = opened(record.payload)
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
            self.links = Links({link: each.protocol for link, each in self.known.links.items()})
            for connection in [each for each in self._connections if each.is_nobody]:
                connection.data_received(b"")
        self._asks.tidy(datetime.now(UTC))
        self.wanted = frozenset(self._asks.terminals())
        for number in self.wanted:
            self.put_asks(number)

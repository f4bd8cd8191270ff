"""Sockets: bytes of a connection → frames → journal → acknowledgement once they are safe on disk.

No decoding of content, no store. One event loop; whatever a stranger sends ends at most his own connection.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from ingest_daemon import codecs
from ingest_daemon.codec_kit import defaults as defaults
from ingest_daemon.codec_kit.api import Arrival, Codec, Decoder, Frame, Packet
from ingest_daemon.contract.schema import DOUBTS, Channel, Reason
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import BAD, BAD_KIND, FRAME_KIND, PART, bad_payload
from ingest_daemon.reception.access import QUARANTINE, REFUSE, ConnectionState
from ingest_daemon.reception.protocol_detection import LONGEST, introduce, is_heartbeat
from ingest_daemon.reception.request_queue import PendingRequest, RequestQueue

if TYPE_CHECKING:
    from ingest_daemon.reception.listener import Server

READ_BYTES = 64 << 10
"""Bytes that are read at once. With the 256 KB of asyncio each read takes fresh memory from the system: 17 µs instead of 3."""


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
        self.heard = ConnectionState(link)
        self.admitted = False
        self.numbers: set[str] = set()
        self.deaf: set[str] = set()
        self.transport: asyncio.Transport
        self.exchange: RequestQueue | None = None
        self.protocol = ""
        self._codec: Codec
        self._decoder: Decoder | None = None
        self._head = encode_header(RecordHeader("", link=link))
        self._in_packets = False
        if link or (listener != AUTO and not codecs.load(listener).POLLED):
            self._begin(listener)

    def _begin(self, protocol: str) -> None:
        self.protocol, self._codec = protocol, codecs.load(protocol)
        self._decoder = self._codec.decoder()
        self._head = encode_header(RecordHeader(protocol, link=self.link))
        self._in_packets = self._codec.packet is not defaults.packet

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

        def done(question: PendingRequest) -> None:
            if not question.answered:
                told(False)
                return
            asked, answers = zip(*question.answered, strict=True)
            way = encode_header(RecordHeader(self.protocol, Channel.TCP.value, self.link, terminal, asked))
            self._server.note(terminal, self.protocol, received_us := time.time_ns() // 1000)
            arrival = Arrival(b"".join(answers), received_us, terminal, asked)
            is_alarm = self._codec.is_alarm(arrival, self._server.known.profile(self.protocol, terminal))
            stream = self._server.stream(terminal, is_alarm)
            receipt: Receipt = (lambda safe: told(bool(safe)), not question.silent)
            self._server.journal(stream, way + arrival.raw, received_us, FRAME_KIND, receipt)

        if self.exchange is None:
            self.exchange = RequestQueue(asyncio.get_running_loop(), self._codec, self.transport.write)
        self.exchange.put(PendingRequest(terminal, deque(requests), done, tries, answer_s))

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
            line = encode_header(RecordHeader(self.protocol, link=self.link, terminal=number))
        verdict = server.judge.judge(codec, number, raw, self.heard, self.active_s)
        if verdict.reason:
            server.limited.warn(
                verdict.reason, f"{number} over {self.heard.address} ({verdict.policy}): {DOUBTS[verdict.reason]}"
            )
            if verdict.policy == REFUSE:
                self._refuse(verdict.reason, DOUBTS[verdict.reason], raw, received_us)
                return
            if verdict.policy == QUARANTINE:
                line = encode_header(
                    RecordHeader(
                        self.protocol, link=self.link, terminal=number if codec.POLLED else "", quarantine_reason=verdict.reason
                    )
                )
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
            server.send_queued_commands(number)

    def _safe(self, said: tuple[bytes, bytes, str] | None) -> None:
        """The frame is safe on disk and its answer says so; None: it is not, and silence makes the terminal send it again."""
        if said is not None:
            raw, reply, number = said
            self._server.judge.acknowledged(raw, self.heard, time.monotonic())
            self._write(reply)
            if number in self._server.wanted:
                self._server.send_queued_commands(number)

    def _write(self, reply: bytes | None) -> None:
        if reply is not None and not self.transport.is_closing():
            self.transport.write(reply)

    def _refuse(self, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        self._bad_bytes += len(raw)
        self._server.counters.bad[str(reason)] += 1
        self._server.limited.warn(str(reason), f"{len(raw)} bytes kept in journal/{BAD}: {detail}")
        self._server.journal(BAD, bad_payload(reason, detail, self._head + raw), received_us, BAD_KIND)

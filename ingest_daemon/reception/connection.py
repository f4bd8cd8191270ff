"""One connection: its bytes become frames, and each frame goes through the steps of `_handle`, in order.

    detect      which protocol the connection speaks, or which DTU called in
    reassemble  a message of several packets, once the last of them came
    verify      whether the sender is believed
    reply       the acknowledgement, to be sent once the message is safe on disk
    classify    the journal's stream: alarms overtake the backlog
    journal     the message with its header; its receipt sends the acknowledgement

The content of a message is not decoded here.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from ingest_daemon import codecs
from ingest_daemon.codec_kit import defaults as defaults
from ingest_daemon.codec_kit.api import Arrival, Codec, Decoder, Frame, Packet, Rejected
from ingest_daemon.contract.schema import DOUBTS, Channel, Reason
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import BAD, BAD_KIND, DATA, FRAME_KIND, PART, STRANGER, JournalPosition, bad_payload
from ingest_daemon.reception import proxy_protocol
from ingest_daemon.reception.access import GOOD, ConnectionState, Verdict
from ingest_daemon.reception.flow_control import BURST_S, Pause
from ingest_daemon.reception.group_commit import Receipt
from ingest_daemon.reception.heartbeats import HeartbeatFilter
from ingest_daemon.reception.protocol_detection import LONGEST, PeerDetector
from ingest_daemon.reception.request_queue import PendingRequest, RequestQueue
from ingest_daemon.reception.settings import QUARANTINE, REFUSE

if TYPE_CHECKING:
    from ingest_daemon.reception.listener import Server

SETTLE_S = 1.0
"""After this silence a number at the end of the first bytes is whole, and bytes that nothing explains are reported."""

REPORT_S = 5.0
"""Unexplained first bytes are reported after this, also where more of them keep coming."""

SHOWN = 64
"""Unexplained bytes shown in the log."""

READ_BYTES = 4 << 10
"""Bytes of one read: what one connection can cause in one turn of the event loop. With the 256 KB of asyncio each read takes
fresh memory from the system: 17 µs instead of 3."""

HANDSHAKE_S = 30.0
"""Seconds for a TLS handshake."""


class Connection(asyncio.Protocol):
    """The connection of one terminal, or of one DTU with the meters behind it."""

    __slots__ = (
        "_bad_bytes",
        "_codec",
        "_decoder",
        "_detector",
        "_first_s",
        "_has_reported",
        "_head",
        "_heartbeats",
        "_in_packets",
        "_is_local",
        "_is_lost",
        "_paused",
        "_proxy_header",
        "_securing",
        "_server",
        "_settling",
        "active_s",
        "is_admitted",
        "last_work_s",
        "link",
        "protocol",
        "requests",
        "state",
        "terminals",
        "transport",
        "unresponsive",
        "work_s",
        "worked_s",
    )

    def __init__(self, server: "Server", listener: str, link: str = "", *, is_local: bool = False) -> None:
        """`listener`: the protocol of the port, or `AUTO`; `link`: the address of an outbound connection.

        `is_local`: of the importer on this machine, which the system lets in, and which is believed.
        """
        self._server, self.link, self._is_local = server, link, is_local
        self._detector: PeerDetector | None = None
        self._heartbeats: HeartbeatFilter | None = None
        """None: this line has no heartbeats."""
        self._settling: asyncio.TimerHandle | None = None
        self._first_s = 0.0
        self._has_reported = False
        self._bad_bytes = 0
        self._is_lost = False
        self._paused = Pause(0)
        self._proxy_header: bytes | None = b"" if server.settings.proxy_protocol and not link and not is_local else None
        """What came of the header that a balancer puts before the client's bytes; None: none is expected."""
        self._securing: asyncio.Task[None] | None = None
        self.active_s = self.worked_s = time.monotonic()
        self.work_s, self.last_work_s = BURST_S, 0.0
        self.state = ConnectionState(link)
        self.is_admitted = False
        self.terminals: set[str] = set()
        """Registered terminals that were heard here."""
        self.unresponsive: set[str] = set()
        """Terminals that left a command unanswered and were not heard since."""
        self.transport: asyncio.Transport
        self.requests: RequestQueue | None = None
        self.protocol = ""
        self._codec: Codec
        self._decoder: Decoder | None = None
        self._head = encode_header(RecordHeader("", link=link))
        self._in_packets = False
        if link or (listener != AUTO and not codecs.load(listener).POLLED):
            self._begin(listener, codecs.load(listener).decoder())
        else:
            self._detector = PeerDetector(listener)

    def _begin(self, protocol: str, decoder: Decoder) -> None:
        self.protocol, self._codec, self._decoder = protocol, codecs.load(protocol), decoder
        channel = Channel.AMR if self._is_local else Channel.TCP
        self._head = encode_header(RecordHeader(protocol, channel.value, self.link))
        self._in_packets = self._codec.packet is not defaults.packet

    @property
    def is_unidentified(self) -> bool:
        """Whether bytes came that neither a protocol nor a registered link explains yet."""
        return self._detector is not None and self._detector.has_bytes

    @property
    def is_known(self) -> bool:
        """Whether a registered terminal or link was heard here."""
        return bool(self.terminals or self.link)

    # --- the transport's callbacks ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if hasattr(transport, "max_size"):  # uvloop has buffers of its own
            transport.max_size = READ_BYTES
        self._server.opened(self)
        if self.link:
            self._server.link_table.claim(self, self.active_s)
        elif self._is_local:
            return
        elif self._proxy_header is not None:
            self.state.began_s = self.active_s
        else:
            self._admit(str((transport.get_extra_info("peername") or ("",))[0]), b"")

    def _admit(self, address: str, first: bytes) -> None:
        """Let the client in by its address, and begin TLS where it is spoken. `first`: what it sent already."""
        self.state.address = address
        self._server.admit(self)
        if self._server.tls is None:
            if first:
                self.data_received(first)
        elif not self.transport.is_closing():
            self.transport.pause_reading()
            self._securing = asyncio.get_running_loop().create_task(self._secure(self._server.tls, first))

    async def _secure(self, context: ssl.SSLContext, first: bytes) -> None:
        """Shake hands; the connection counts from its first byte, not only once this is done."""
        loop, plain = asyncio.get_running_loop(), self.transport
        if first:  # asyncio has set its protocol for TLS by then
            loop.call_soon(loop.call_soon, _feed, plain, first)
        try:
            secured = await loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S)
        except (OSError, EOFError) as error:
            self._server.log.warn("TLS", f"{self.state.address}: {error or type(error).__name__}, closed")
            plain.abort()
            self.connection_lost(error if isinstance(error, OSError) else None)
        else:
            self.transport = cast(asyncio.Transport, secured)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        if self._settling:
            self._settling.cancel()
        if self._detector and self._detector.unreported:
            self._report_unknown(time.time_ns() // 1000)
        if self.requests:
            self.requests.close()
        self._server.closed(self)
        if self._pending:
            self._server.counters.incomplete += 1

    def pause_writing(self) -> None:
        """A peer that does not read its acknowledgements is not read either, and idles out."""
        self.pause(Pause.PEER)

    def resume_writing(self) -> None:
        self.resume(Pause.PEER)

    def pause(self, reason: Pause) -> None:
        """Do not read on for this reason."""
        self._paused |= reason
        self.transport.pause_reading()

    def resume(self, reason: Pause) -> None:
        """Read on, unless there is another reason not to."""
        self._paused &= ~reason
        if not self._paused:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.active_s = began_s = time.monotonic()
        if self.transport.is_closing():
            return
        if self._proxy_header is not None:
            self._take_proxy_header(self._proxy_header + data)
            return
        received_us = time.time_ns() // 1000
        try:
            self._take(self._detect(data) if self._decoder is None else self._cut(self._decoder, data), received_us)
        except Exception as error:
            self._refuse(Reason.BAD_BODY, f"the codec failed with {type(error).__name__}: {error}", data, received_us)
            self.transport.abort()
        if self._bad_bytes > self._server.settings.bad_bytes:
            self._server.log.warn("bad bytes", f"more than {self._server.settings.bad_bytes} in one connection: closed")
            self.transport.abort()
        self._server.commit.flow_control.received(self)
        self._server.fair_share.worked(self, began_s)

    def _take_proxy_header(self, data: bytes) -> None:
        """Take the client's address from the balancer's header; a connection that begins otherwise is closed."""
        try:
            header = proxy_protocol.parse(data)
        except ValueError as error:
            detail = f"{error}; [daemon] proxy_protocol is on"
            self._refuse(Reason.NOISE, detail, data, time.time_ns() // 1000)
            self.transport.abort()
            return
        if header is None:
            self._proxy_header = data
            return
        self._proxy_header, self.state.began_s = None, None
        balancer = str((self.transport.get_extra_info("peername") or ("",))[0])
        self._admit(header.address or balancer, data[header.size :])

    # --- requests --------------------------------------------------------------------------------------------------------------

    def ask(
        self,
        terminal: str,
        requests: Sequence[bytes],
        tries: int,
        answer_s: float,
        done: Callable[[JournalPosition | None], None],
    ) -> None:
        """Send requests to a terminal.

        `done` is called once the answers are safe on disk, with a position at or before them; None where one is missing.
        """

        def journal_answers(pending: PendingRequest) -> None:
            if not pending.answered:
                done(None)
                return
            asked, answers = zip(*pending.answered, strict=True)
            received_us = time.time_ns() // 1000
            arrival = Arrival(b"".join(answers), received_us, terminal, asked)
            stations = self._server.verifier.judge_answer(self._codec, terminal, arrival.raw)
            header = encode_header(RecordHeader(self.protocol, Channel.TCP.value, self.link, terminal, asked, stations=stations))
            self._note(terminal, received_us, GOOD._replace(stations=stations))
            stream = self._classify(arrival, terminal)
            receipt: Receipt = (done, None if pending.silent else self._server.commit.next_position(stream))
            self._server.commit.append(stream, header + arrival.raw, received_us, FRAME_KIND, receipt)

        if self.requests is None:
            self.requests = RequestQueue(asyncio.get_running_loop(), self._codec, self.transport.write)
        self.requests.put(PendingRequest(terminal, deque(requests), journal_answers, tries, answer_s))

    # --- the steps of a message ------------------------------------------------------------------------------------------------

    def _detect(self, data: bytes, *, is_settled: bool = False) -> list[Frame | Rejected]:
        """Find out which protocol or which DTU is on the line; gives the pieces that its decoder made of the bytes so far."""
        assert self._detector is not None
        detected = self._detector.feed(data, self._server.links, is_settled=is_settled)
        if detected is None:
            if self._detector.unreported > LONGEST:
                self._report_unknown(time.time_ns() // 1000)
            elif data and not self._settling:
                self._first_s = self.active_s
                self._settle_in(SETTLE_S)
            return []
        if self._settling:
            self._settling.cancel()
        self._detector, self.link = None, detected.peer.link
        self._begin(detected.peer.protocol, detected.decoder)
        if self.link:
            self._heartbeats = HeartbeatFilter(self.link)
            self._server.link_table.claim(self, self.active_s)
        return [*detected.pieces, *self._cut(detected.decoder, detected.rest)]

    def detect_again(self) -> None:
        """Look at the first bytes once more: the registry changed."""
        self._take(self._detect(b""), time.time_ns() // 1000)

    def _settle_in(self, seconds: float) -> None:
        self._settling = asyncio.get_running_loop().call_later(seconds, self._settle)

    def _settle(self) -> None:
        """Once the line is quiet, take a number at the end as whole; report first bytes that nothing explains."""
        self._settling = None
        now_s = time.monotonic()
        quiet_s = now_s - self.active_s
        if quiet_s < SETTLE_S and now_s - self._first_s < REPORT_S:
            self._settle_in(SETTLE_S - quiet_s)
            return
        received_us = time.time_ns() // 1000
        self._take(self._detect(b"", is_settled=quiet_s >= SETTLE_S), received_us)
        if self._detector and not self._has_reported:
            self._report_unknown(received_us)

    def _report_unknown(self, received_us: int) -> None:
        """Log, count and quarantine first bytes that nothing explains."""
        assert self._detector is not None
        self._has_reported = True
        raw = self._detector.take_unreported()
        reason, server = str(Reason.UNKNOWN_LINK), self._server
        self._bad_bytes += len(raw)
        server.counters.bad[reason] += 1
        server.log.warn(reason, f"{self.state.address} sent {raw[:SHOWN]!r} ({len(raw)} bytes): {DOUBTS[reason]}")
        header = RecordHeader("", quarantine_reason=reason)
        server.commit.append(STRANGER, encode_header(header) + raw, received_us)

    def _cut(self, decoder: Decoder, data: bytes) -> list[Frame | Rejected]:
        """Cut bytes into frames. The decoder sees every byte; heartbeats are counted among what it does not want."""
        if self._heartbeats is None:
            return decoder.feed(data)
        is_asked = self.requests is not None and self.requests.is_busy
        pieces, heartbeats = self._heartbeats.feed(decoder, data, is_asked=is_asked)
        self._server.counters.heartbeats += heartbeats
        return pieces

    @property
    def _pending(self) -> int:
        """Bytes of an unfinished frame."""
        if self._decoder is None:
            return 0
        return self._decoder.pending - (self._heartbeats.pending if self._heartbeats else 0)

    def _take(self, pieces: Sequence[Frame | Rejected], received_us: int) -> None:
        for piece in pieces:
            if isinstance(piece, Rejected):
                self._refuse(piece.reason, piece.detail, piece.raw, received_us)
            elif self.link and not self._server.link_table.is_online(self):
                detail = f"another connection is on line as link {self.link}"
                self._refuse(Reason.UNKNOWN_LINK, detail, piece.raw, received_us)
            else:
                self._handle(piece.raw, received_us)
        self.state.fed(len(pieces), self._pending, self.active_s)

    def _handle(self, raw: bytes, received_us: int) -> None:
        """Take one frame through the steps."""
        message = self._reassemble(raw, received_us)
        if message is None or (self.requests and self._take_answer(self.requests, message, received_us)):
            return
        number = self._codec.terminal(message)
        if self._codec.POLLED:
            number = self._server.directory.number(self.link, number)
        verdict = self._verify(number, message)
        if verdict.policy == REFUSE:
            self._refuse(verdict.reason, DOUBTS[verdict.reason], message, received_us)
            return
        self._note(number, received_us, verdict)
        reply = self._reply(number, message, received_us) if verdict.acknowledge else None
        stream = DATA
        if verdict.is_believed:
            stream = self._classify(Arrival(message, received_us, number if self._codec.POLLED else ""), number)
        self._journal(stream, number, message, received_us, verdict, reply)
        if reply is None and verdict.is_believed:
            self._send_commands(number)

    def _take_answer(self, requests: RequestQueue, message: bytes, received_us: int) -> bool:
        """Whether the message answers a request, in time or too late."""
        if requests.take(message):
            return True
        if not requests.take_late(message):
            return False
        self._keep(Reason.LATE_ANSWER, "the answer came after its request was given up", message, received_us)
        return True

    def _reassemble(self, raw: bytes, received_us: int) -> bytes | None:
        """The whole message that the frame is or completes; None while packets of it are missing."""
        if not self._in_packets or (packet := self._codec.packet(raw)) is None:
            return raw
        return self._add_packet(packet, raw, received_us)

    def _add_packet(self, packet: Packet, raw: bytes, received_us: int) -> bytes | None:
        whole = self._server.reassembly.take(self.protocol, packet, raw, time.monotonic())
        if whole.raw:
            return whole.raw
        # Acknowledged packets are journaled before the reply; unacknowledged ones are resent.
        if (reply := self._reply(self._codec.terminal(raw), raw, received_us)) is not None:
            self._server.commit.append(PART, self._head + raw, received_us, FRAME_KIND, (self._write, reply))
        now = datetime.fromtimestamp(received_us / 1e6, UTC)
        if whole.missing and (again := self._codec.ask_again(raw, whole.missing, now)):
            self.transport.write(again)
        return None

    def _verify(self, number: str, message: bytes) -> Verdict:
        """Whether the sender is believed."""
        if self._is_local:
            return GOOD
        verdict = self._server.verifier.judge(self._codec, number, message, self.state, self.active_s)
        if verdict is GOOD:
            return verdict
        if verdict.reason:
            detail = f"{number} over {self.state.address} ({verdict.policy}): {DOUBTS[verdict.reason]}"
            self._server.log.warn(verdict.reason, detail)
        for station, reason in verdict.stations:
            if reason:
                detail = f"{station} in a frame of {number} over {self.state.address} (kept aside): {DOUBTS[reason]}"
                self._server.log.warn(reason, detail)
        return verdict

    def _note(self, number: str, received_us: int, verdict: Verdict) -> None:
        """Count a message, and remember where a registered terminal was heard; strangers must not fill the memory.

        A sender that is not believed was not heard, or commands and their passwords would go to whoever used its number.
        """
        server = self._server
        server.counters.protocols[self.protocol] += 1
        terminals = server.directory.terminals
        if not verdict.is_believed or number not in terminals:
            return
        server.counters.last_contact_us[number] = received_us
        if server.by_terminal.get(number) is not self:
            server.by_terminal[number] = self
            self.terminals.add(number)
        self.unresponsive.discard(number)
        for station, reason in verdict.stations:
            if not reason and station in terminals:
                server.counters.last_contact_us[station] = received_us

    def _reply(self, number: str, raw: bytes, received_us: int) -> bytes | None:
        """The acknowledgement; None where the protocol wants silence."""
        now = datetime.fromtimestamp(received_us / 1e6, UTC)
        return self._codec.reply(raw, now, self._server.directory.profile(self.protocol, number))

    def _classify(self, arrival: Arrival, number: str) -> str:
        """The journal's stream."""
        directory = self._server.directory
        is_alarm = self._codec.is_alarm(arrival, directory.profile(self.protocol, number))
        return self._server.streams.select(number, is_alarm, directory.terminals)

    def _journal(self, stream: str, number: str, message: bytes, received_us: int, verdict: Verdict, reply: bytes | None) -> None:
        """Journal the message; the acknowledgement follows once it is safe on disk."""
        reason = verdict.reason if verdict.policy == QUARANTINE else ""
        head = self._head
        if reason or self._codec.POLLED or verdict.stations:
            terminal = number if self._codec.POLLED else ""
            head = encode_header(
                RecordHeader(
                    self.protocol, link=self.link, terminal=terminal, quarantine_reason=reason, stations=verdict.stations
                )
            )
        receipt = None if reply is None else (self._acknowledge, (message, reply, number if verdict.is_believed else ""))
        self._server.commit.append(stream, head + message, received_us, FRAME_KIND, receipt)

    # --- after the journal -----------------------------------------------------------------------------------------------------

    def _acknowledge(self, safe: tuple[bytes, bytes, str] | None) -> None:
        """Send the acknowledgement of a message that is safe on disk; None: it is not, and silence makes the terminal resend."""
        if safe is not None:
            message, reply, number = safe
            self._server.verifier.acknowledged(message, self.state, time.monotonic())
            self._write(reply)
            self._send_commands(number)

    def _send_commands(self, number: str) -> None:
        if number in self._server.commands.wanted:
            self._server.commands.send(number)

    def _write(self, reply: bytes | None) -> None:
        if reply is not None and not self.transport.is_closing():
            self.transport.write(reply)

    def _refuse(self, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        """Keep bytes that are no frame, or a frame that is refused; too many of them close the connection."""
        self._bad_bytes += len(raw)
        self._keep(reason, detail, raw, received_us)

    def _keep(self, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        """Keep bytes that are not used in the journal's stream `bad`."""
        self._server.counters.bad[str(reason)] += 1
        self._server.log.warn(str(reason), f"{len(raw)} bytes kept in journal/{BAD}: {detail}")
        self._server.commit.append(BAD, bad_payload(reason, detail, self._head + raw), received_us, BAD_KIND)


def _feed(transport: asyncio.Transport, data: bytes) -> None:
    """Give the protocol of a transport bytes as if they had just come."""
    protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        size = min(len(buffer), len(data))
        buffer[:size], data = data[:size], data[size:]
        protocol.buffer_updated(size)

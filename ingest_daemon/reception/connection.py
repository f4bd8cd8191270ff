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
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from ingest_daemon import codecs
from ingest_daemon.codec_kit import defaults as defaults
from ingest_daemon.codec_kit.api import Arrival, Codec, Decoder, Frame, Packet
from ingest_daemon.contract.schema import DOUBTS, Channel, Reason
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import BAD, BAD_KIND, DATA, FRAME_KIND, PART, bad_payload
from ingest_daemon.reception.access import GOOD, ConnectionState, Verdict
from ingest_daemon.reception.group_commit import JournalPosition, Receipt
from ingest_daemon.reception.protocol_detection import LONGEST, introduce, is_heartbeat
from ingest_daemon.reception.request_queue import PendingRequest, RequestQueue
from ingest_daemon.reception.settings import QUARANTINE, REFUSE

if TYPE_CHECKING:
    from ingest_daemon.reception.listener import Server

READ_BYTES = 64 << 10
"""Bytes of one read. With the 256 KB of asyncio each read takes fresh memory from the system: 17 µs instead of 3."""


class Connection(asyncio.Protocol):
    """The connection of one terminal, or of one DTU with the meters behind it."""

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
        "is_admitted",
        "link",
        "protocol",
        "requests",
        "state",
        "terminals",
        "transport",
        "unresponsive",
    )

    def __init__(self, server: "Server", listener: str, link: str = "") -> None:
        """`listener`: the protocol of the port, or `AUTO`; `link`: the address of an outbound connection."""
        self._server, self._listener, self.link = server, listener, link
        self._first = b""
        self._bad_bytes = 0
        self.active_s = time.monotonic()
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
            self._begin(listener)

    def _begin(self, protocol: str) -> None:
        self.protocol, self._codec = protocol, codecs.load(protocol)
        self._decoder = self._codec.decoder()
        self._head = encode_header(RecordHeader(protocol, link=self.link))
        self._in_packets = self._codec.packet is not defaults.packet

    @property
    def is_unidentified(self) -> bool:
        """Whether bytes came that neither a protocol nor a registered link explains yet."""
        return self._decoder is None and bool(self._first)

    # --- the transport's callbacks ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        if not self.link:
            self.state.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._server.opened(self)
        if self.link:
            self._server.identified(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.requests:
            self.requests.close()
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
                data = self._detect(data, received_us)
            if self.link and is_heartbeat(data, self.link):
                self._server.counters.heartbeats += 1
            elif self._decoder is not None:
                pieces = self._decoder.feed(data)
                for piece in pieces:
                    if isinstance(piece, Frame):
                        self._handle(piece.raw, received_us)
                    else:
                        self._refuse(piece.reason, piece.detail, piece.raw, received_us)
                self.state.fed(len(pieces), self._decoder.pending, self.active_s)
        except Exception as error:
            self._refuse(Reason.BAD_BODY, f"the codec failed with {type(error).__name__}: {error}", data, received_us)
            self.transport.abort()
        if self._bad_bytes > self._server.settings.bad_bytes:
            self._server.log.warn("bad bytes", f"more than {self._server.settings.bad_bytes} in one connection: closed")
            self.transport.abort()
        self._server.commit.flow_control.received(self.transport)

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

    def _detect(self, data: bytes, received_us: int) -> bytes:
        """Find out which protocol or which DTU is on the line; gives the bytes that are left for the protocol's decoder."""
        first = self._first + data
        peer = introduce(first, self._listener, self._server.links)
        if peer is None:
            self._first = first
            if len(first) >= LONGEST:
                detail = "no protocol begins like this, and no link of registry/terminals.csv (column link) is in it"
                self._refuse(Reason.UNKNOWN_LINK, detail, first, received_us)
                self._first = b""
            return b""
        self._first, self.link = b"", peer.link
        self._begin(peer.protocol)
        if self.link:
            self._server.identified(self)
        return first[peer.consumed :]

    def _handle(self, raw: bytes, received_us: int) -> None:
        """Take one frame through the steps."""
        message = self._reassemble(raw, received_us)
        if message is None or (self.requests and self.requests.take(message)):
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
        verdict = self._server.verifier.judge(self._codec, number, message, self.state, self.active_s)
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
        """Keep bytes that are no frame, or a frame that is refused, in the journal's stream `bad`."""
        self._bad_bytes += len(raw)
        self._server.counters.bad[str(reason)] += 1
        self._server.log.warn(str(reason), f"{len(raw)} bytes kept in journal/{BAD}: {detail}")
        self._server.commit.append(BAD, bad_payload(reason, detail, self._head + raw), received_us, BAD_KIND)

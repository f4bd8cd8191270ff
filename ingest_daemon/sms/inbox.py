"""Messages → frames → journal: the sender, the protocol, and safety on disk before anyone gets a confirmation.

The sender's number authenticates a message: a frame whose station is not registered with that number is journaled with a
quarantine reason. No acknowledgement goes back by SMS: it costs money, and the same reading over TCP is acknowledged there.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Codec, Frame
from ingest_daemon.codec_kit.reassembly import Reassembly
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.schema import Channel, Reason
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.journal.envelope import MOST_STATIONS, RecordHeader, encode_header
from ingest_daemon.journal.records import ALARM, BAD, DATA, PART, STRANGER, bad_payload
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.sms.concatenation import Parts
from ingest_daemon.sms.numbers import digits
from ingest_daemon.sms.pdu import Part
from ingest_daemon.sms.text import NoOctets, octets
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Terminal

SAFE_S = 20.0
"""Seconds to wait for the journal's receipts."""

Receipt = tuple[Callable[[Any], None], Any]
Deliver = Callable[[str, bytes, int, Receipt | None], None]
"""`deliver(stream, payload, received_us, receipt)`: append to the journal; the receipt's function is called with its argument
once the record is safe, with None where it was refused. Records of the stream `bad` are of `BAD_KIND`."""


class NotSafe(Exception):
    """The journal or the disk did not take the message: the sender must keep it and come again."""


class Taken(NamedTuple):
    """The content of a message: frames, pieces that are none (kept in the journal's stream `bad`), parts that wait for others."""

    frames: int = 0
    rejected: int = 0
    waiting: int = 0

    def plus(self, other: "Taken") -> "Taken":
        """The sums of both."""
        return Taken(*(ours + theirs for ours, theirs in zip(self, other, strict=True)))


class Inbox:
    """Takes the messages of all sources. Belongs to the event loop."""

    def __init__(
        self, directory: TerminalDirectory, protocol: str, packets: Reassembly, parts: Parts, deliver: Deliver, counters: Counters
    ) -> None:
        """`directory`, `packets`: the listeners', shared; `protocol`: of terminals whose line names none, or `AUTO`."""
        self._directory, self._protocol, self._packets, self._parts = directory, protocol, packets, parts
        self._deliver, self._counters = deliver, counters
        self._limited = RateLimitedLog()
        self._disk = asyncio.Lock()
        self._seen: Mapping[str, Terminal] | None = None
        self._phones: dict[str, dict[str, Terminal]] = {}

    async def take(
        self, sender: str, content: str | bytes, received_us: int, part: Part | None = None, coding: str = ""
    ) -> Taken:
        """Take a message; all of it is safe on return. Raises `NotSafe`."""
        if part is None or part.total == 1:
            return await self._message(sender, content, received_us, coding)
        try:
            async with self._disk:
                long = await asyncio.to_thread(self._parts.put, sender, part, content, received_us)
                if long is None:
                    return Taken(waiting=1)
                taken = await self._message(sender, long.content, received_us, coding)
                await asyncio.to_thread(self._parts.forget, long)
                return taken
        except OSError as error:
            raise NotSafe(f"{error.filename}: {error.strerror}") from error

    async def keep(self, sender: str, reason: str, detail: str, raw: bytes, received_us: int) -> None:
        """Keep bytes that are no usable message in the stream `bad`; safe on return. Raises `NotSafe`."""
        receipts = _Receipts()
        self._refuse(RecordHeader("", Channel.SMS.value, sender), reason, detail, raw, received_us, receipts)
        await receipts.safe()

    async def sweep(self) -> None:
        """Deliver long messages that were whole before a restart, and keep those given up. Raises `NotSafe`."""
        async with self._disk:
            ready = await asyncio.to_thread(self._parts.ready, time.time_ns() // 1000)
            for long in ready:
                sender = long.key[0]
                if long.why:
                    content = long.content
                    raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
                    await self.keep(sender, Reason.BAD_LENGTH, long.why, raw, long.received_us)
                else:
                    await self._message(sender, long.content, long.received_us, "")
                await asyncio.to_thread(self._parts.forget, long)

    async def _message(self, sender: str, content: str | bytes, received_us: int, coding: str) -> Taken:
        receipts = _Receipts()
        way = RecordHeader("", Channel.SMS.value, sender)
        try:
            data = octets(content, coding)
        except NoOctets as error:
            self._refuse(way, Reason.NOISE, str(error), str(content).encode("utf-8", "replace"), received_us, receipts)
            await receipts.safe()
            return Taken(rejected=1)
        ours = self._registered(sender)
        protocol = self._spoken(ours, data)
        if not protocol:
            self._refuse(way, Reason.NOISE, "no protocol begins like this", data, received_us, receipts)
            await receipts.safe()
            return Taken(rejected=1)
        way = way._replace(protocol=protocol)
        frames = rejected = 0
        try:
            codec = codecs.load(protocol)
            decoder = codec.decoder()
            for piece in decoder.feed(data):
                if isinstance(piece, Frame):
                    self._frame(codec, way, ours, piece.raw, received_us, receipts)
                    frames += 1
                else:
                    self._refuse(way, piece.reason, piece.detail, piece.raw, received_us, receipts)
                    rejected += 1
            if decoder.pending:
                detail = f"the message ends inside of a frame, after {decoder.pending} bytes of it"
                self._refuse(way, Reason.BAD_LENGTH, detail, data[-decoder.pending :], received_us, receipts)
                rejected += 1
        except Exception as error:  # a codec that breaks its contract, or a protocol of the registry that does not exist
            self._refuse(way, Reason.BAD_BODY, f"{type(error).__name__}: {error}", data, received_us, receipts)
            rejected += 1
        await receipts.safe()
        return Taken(frames, rejected)

    def _frame(
        self, codec: Codec, way: RecordHeader, ours: Mapping[str, Terminal], raw: bytes, received_us: int, receipts: "_Receipts"
    ) -> None:
        is_part = False
        if (packet := codec.packet(raw)) is not None:
            whole = self._packets.take(way.protocol, packet, raw, time.monotonic())
            is_part = not whole.raw
            raw = whole.raw or raw
        station = codec.terminal(raw)
        if codec.POLLED:  # the frame has the meter's address at most; the number says which of them it is
            behind = [number for number, terminal in ours.items() if terminal.address == station or len(ours) == 1]
            station = behind[0] if behind else f"{way.link}/{station}"
            way = way._replace(terminal=station)
        if station in ours:
            self._counters.last_contact_us[station] = received_us
            self._counters.protocols[way.protocol] += 1
        elif station in self._directory.terminals:  # one that nobody registered is quarantined as over TCP
            way = way._replace(quarantine_reason=str(Reason.FOREIGN_SENDER))
            self._limited.warn(str(Reason.FOREIGN_SENDER), f"station {station} is not registered with the number {way.link!r}")
        stations = tuple((other, self._doubt(other, ours)) for other in codec.other_stations(raw)[:MOST_STATIONS])
        way = way._replace(stations=stations)
        arrival = Arrival(raw, received_us, way.terminal)
        is_believed = not is_part and not way.quarantine_reason
        is_alarm = is_believed and codec.is_alarm(arrival, self._directory.profile(way.protocol, station))
        stream = STRANGER if station not in self._directory.terminals else ALARM if is_alarm else DATA
        self._deliver(PART if is_part else stream, encode_header(way) + raw, received_us, receipts.one())

    def _doubt(self, station: str, ours: Mapping[str, Terminal]) -> str:
        """Why the readings of a station that a body names are kept aside: it is registered, but not with the sender's number."""
        if station in ours or station not in self._directory.terminals:
            return ""
        return str(Reason.FOREIGN_SENDER)

    def _refuse(self, way: RecordHeader, reason: str, detail: str, raw: bytes, received_us: int, receipts: "_Receipts") -> None:
        self._counters.bad[str(reason)] += 1
        self._limited.warn(str(reason), f"{len(raw)} bytes of an SMS of {way.link!r} kept in journal/{BAD}: {detail}")
        self._deliver(BAD, bad_payload(reason, detail, encode_header(way) + raw), received_us, receipts.one())

    def _registered(self, sender: str) -> Mapping[str, Terminal]:
        """The terminals that are registered with a number."""
        if self._seen is not self._directory.terminals:
            self._seen, self._phones = self._directory.terminals, {}
            for number, terminal in self._seen.items():
                if phone := digits(terminal.phone):
                    self._phones.setdefault(phone, {})[number] = terminal
        return self._phones.get(digits(sender), {})

    def _spoken(self, ours: Mapping[str, Terminal], data: bytes) -> str:
        """The protocol of a message: its terminal's, else the daemon's; "" where no protocol begins like this."""
        named = next((terminal.protocol for terminal in ours.values() if terminal.protocol), self._protocol)
        return codecs.sniffed(data) if named == AUTO else named if named != codecs.IMPORTED else ""


class _Receipts:
    """The journal's receipts for the records of one message."""

    def __init__(self) -> None:
        self._words: list[asyncio.Future[Any]] = []

    def one(self) -> Receipt:
        word: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._words.append(word)
        return (lambda safe: None if word.done() else word.set_result(safe)), True

    async def safe(self) -> None:
        """Wait for all. Raises `NotSafe` where one was refused or the journal does not answer."""
        try:
            words = await asyncio.wait_for(asyncio.gather(*self._words), SAFE_S)
        except TimeoutError:
            raise NotSafe(f"the journal said nothing for {SAFE_S:.0f} s") from None
        if not all(words):
            raise NotSafe("the journal refused the message")

"""Messages that come in several packets: put together here, whatever the protocol. No journal and no socket.

Bounded in time and bytes: what is never completed is forgotten, and its sender, whose last packet got no answer, repeats it.
"""

from typing import NamedTuple

from ingest_daemon.codec_kit.api import Packet

WAIT_S = 600.0
"""A message whose next packet does not come for so long is given up."""

MAX_BYTES = 64 << 20
"""Bytes of unfinished messages held at a time; the oldest go first."""

MAX_MESSAGE = 1_000_000
"""Bytes of one message; it is one record of the journal, which takes little more."""


class Whole(NamedTuple):
    """What a packet led to: the whole message (empty while packets are missing), and the packet to ask for again (0: none)."""

    raw: bytes
    missing: int


class _Open:
    """An unfinished message."""

    __slots__ = ("packets", "total", "touched")

    def __init__(self) -> None:
        self.packets: dict[int, bytes] = {}
        self.total: int | None = None
        self.touched = 0.0


class Reassembly:
    """The unfinished messages of all connections."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, bytes], _Open] = {}
        self.held_bytes = 0
        """Bytes of the packets held."""
        self.given_up = 0
        """Messages that were forgotten unfinished."""

    def take(self, protocol: str, packet: Packet, raw: bytes, now_s: float) -> Whole:
        """Add a packet. The last one to come gives the whole: all packets' bytes in the order of the message."""
        key = protocol, packet.key
        message = self._open.pop(key, None) or _Open()
        self._open[key] = message  # at the end: the first is always the one touched longest ago
        message.touched = now_s
        self.held_bytes += len(raw) - len(message.packets.get(packet.number, b""))
        message.packets[packet.number] = raw
        if sum(map(len, message.packets.values())) > MAX_MESSAGE:
            self._drop(key)
            self.given_up += 1
            return Whole(b"", 0)
        first, last = (1, packet.total) if packet.total is not None else (max(message.packets), 1)
        order = range(first, last + 1) if packet.total is not None else range(first, 0, -1)
        missing = next((number for number in order if number not in message.packets), 0)
        if not missing and (packet.total is not None or 1 in message.packets):
            self._drop(key)
            return Whole(b"".join(message.packets[number] for number in order), 0)
        self._bound(now_s)
        return Whole(b"", missing if packet.number == last else 0)

    def expire(self, now_s: float) -> None:
        """Forget messages whose next packet did not come in time."""
        while self._open and now_s - next(iter(self._open.values())).touched > WAIT_S:
            self._give_up()

    def _bound(self, now_s: float) -> None:
        self.expire(now_s)
        while self.held_bytes > MAX_BYTES:
            self._give_up()

    def _give_up(self) -> None:
        self._drop(next(iter(self._open)))
        self.given_up += 1

    def _drop(self, key: tuple[str, bytes]) -> None:
        self.held_bytes -= sum(map(len, self._open.pop(key).packets.values()))

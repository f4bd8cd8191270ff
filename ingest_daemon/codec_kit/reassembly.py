"""Put messages of several packets together, for every protocol. No journal and no socket.

Bounded in time and bytes: a message that is never completed is forgotten, and its sender, whose last packet got no answer, sends
it again. A packet costs the same however many its message has.
"""

from typing import NamedTuple

from ingest_daemon.codec_kit.api import Packet

WAIT_S = 600.0
"""Seconds to wait for the next packet of a message before it is given up."""

MAX_BYTES = 64 << 20
"""The most bytes of unfinished messages; the oldest messages are given up first."""

MAX_MESSAGE = 1_000_000
"""The most bytes of one message; it is one record of the journal, which takes little more."""


class Whole(NamedTuple):
    """The result of a packet: the whole message (empty while packets are missing), and the packet to ask for again (0: none)."""

    raw: bytes
    missing: int


class _Unfinished:
    """The packets of a message so far, by number."""

    __slots__ = ("next", "packets", "size", "touched")

    def __init__(self) -> None:
        self.packets: dict[int, bytes] = {}
        self.size = 0
        """Bytes of all packets."""
        self.next = 1
        """All packets with a lower number are there."""
        self.touched = 0.0

    def add(self, number: int, raw: bytes) -> int:
        """Add a packet or replace it; how many bytes more are held now."""
        more = len(raw) - len(self.packets.get(number, b""))
        self.packets[number] = raw
        self.size += more
        while self.next in self.packets:
            self.next += 1
        return more


class Reassembly:
    """The unfinished messages of all connections."""

    def __init__(self) -> None:
        self._unfinished: dict[tuple[str, bytes], _Unfinished] = {}
        self.held_bytes = 0
        """Bytes of all packets held."""
        self.given_up = 0
        """Messages forgotten before they were complete."""

    def take(self, protocol: str, packet: Packet, raw: bytes, now_s: float) -> Whole:
        """Add a packet. The last one to come gives the whole: all packets' bytes in the order of the message."""
        key = protocol, packet.key
        message = self._unfinished.pop(key, None) or _Unfinished()
        self._unfinished[key] = message  # at the end: the first is always the one touched longest ago
        message.touched = now_s
        self.held_bytes += message.add(packet.number, raw)
        if message.size > MAX_MESSAGE:
            self._drop(key)
            self.given_up += 1
            return Whole(b"", 0)
        if packet.total is not None:
            order, last = range(1, packet.total + 1), packet.total
            missing = message.next if message.next <= packet.total else 0
        else:  # at most 255: the number is one byte
            order, last = range(max(message.packets), 0, -1), 1
            missing = next((number for number in order if number not in message.packets), 0)
        if not missing:
            self._drop(key)
            return Whole(b"".join(message.packets[number] for number in order), 0)
        self._bound(now_s)
        return Whole(b"", missing if packet.number == last else 0)

    def expire(self, now_s: float) -> None:
        """Forget messages whose next packet did not come in time."""
        while self._unfinished and now_s - next(iter(self._unfinished.values())).touched > WAIT_S:
            self._give_up()

    def _bound(self, now_s: float) -> None:
        self.expire(now_s)
        while self.held_bytes > MAX_BYTES:
            self._give_up()

    def _give_up(self) -> None:
        self._drop(next(iter(self._unfinished)))
        self.given_up += 1

    def _drop(self, key: tuple[str, bytes]) -> None:
        self.held_bytes -= self._unfinished.pop(key).size

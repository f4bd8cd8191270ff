"""Who is on a new connection: which protocol it speaks, or which DTU called in. Pure.

A DTU that passes a serial line on sends a registration packet before the line's first byte: some text of the maker's fashion
that holds the number set in it (`864…`, `ID:…`, `CTRL:&…`), often once more in each heartbeat. The registry names the number
(`link` in `terminals.csv`). Words around the number do not matter; a digit right before or behind it makes it another number.
A packet that is no text is registered as a whole (`hex:A1B2…`).
"""

from collections.abc import Mapping
from typing import NamedTuple

from ingest_daemon import codecs
from ingest_daemon.codec_kit import defaults as defaults
from ingest_daemon.codec_kit.api import Decoder, Frame, Rejected
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.reception import proxy_protocol

LONGEST = 512
"""Bytes in which a link is searched; that many unexplained bytes are reported at once."""

SHORTEST_LINK = 4
_HEX = "hex:"
_ENDS = b"\r\n\x00"
"""Bytes behind a number that belong to the registration packet."""
_WAKE = b"\x00\xfe\xff\r\n"
"""Bytes that may stand before a binary registration packet, or before the frame behind it."""


class Peer(NamedTuple):
    """Who is on the line: the protocol, the registered link (empty: none), and the length of the registration packet."""

    protocol: str
    link: str = ""
    consumed: int = 0


class LinkMatch(NamedTuple):
    """A registered link in the first bytes. `is_open`: bytes still to come could make it another number."""

    peer: Peer
    is_open: bool


class LinkIndex:
    """The registered links, to be found in bytes."""

    def __init__(self, links: Mapping[str, str]) -> None:
        """`links`: protocol by link. Raises nothing: a link too short to be told from chance is not found."""
        self._texts: dict[bytes, tuple[str, str]] = {}
        self._packets: dict[bytes, tuple[str, str]] = {}
        for link, protocol in links.items():
            try:
                raw = link_bytes(link)
            except ValueError:
                continue
            if len(raw) >= SHORTEST_LINK:
                is_text = not link.startswith(_HEX) or (raw.isascii() and raw.decode().isprintable())
                (self._texts if is_text else self._packets)[raw] = link, protocol
        self._text_sizes = sorted({len(raw) for raw in self._texts}, reverse=True)
        self._packet_sizes = sorted({len(raw) for raw in self._packets}, reverse=True)

    def match(self, data: bytes) -> LinkMatch | None:
        """The first registered link in the bytes, the longest of those that begin together.

        The header of the PROXY protocol is no identity.
        """
        size = _proxy_size(data)
        match = self._packet(data[size:]) or self._text(data[size:])
        return match and match._replace(peer=match.peer._replace(consumed=size + match.peer.consumed))

    def _text(self, data: bytes) -> LinkMatch | None:
        for start in range(min(len(data), LONGEST)):
            is_inside = data[start - 1 : start].isdigit() if start else False
            for size in self._text_sizes:
                registered = self._texts.get(text := data[start : start + size])
                if not registered or (is_inside and text[:1].isalnum()):
                    continue
                behind = data[start + len(text) :]
                if behind[:1].isdigit() and text[-1:].isalnum():
                    continue
                link, protocol = registered
                consumed = len(data) - len(behind.lstrip(_ENDS))
                return LinkMatch(Peer(protocol, link, consumed), is_open=not behind)
        return None

    def _packet(self, data: bytes) -> LinkMatch | None:
        """A binary registration packet, compared as a whole: behind it only a frame or its wake bytes may follow."""
        for lead in {0, len(data) - len(data.lstrip(_WAKE))}:
            for size in self._packet_sizes:
                raw = data[lead : lead + size]
                if not (registered := self._packets.get(raw)):
                    continue
                link, protocol = registered
                behind = data[lead + size :]
                is_whole = not behind or behind[0] in _WAKE
                pieces = [] if is_whole else codecs.load(protocol).decoder().feed(behind)
                if not is_whole and pieces and not isinstance(pieces[0], Frame):
                    continue
                consumed = len(data) - len(behind.lstrip(_ENDS))
                return LinkMatch(Peer(protocol, link, consumed), is_open=not behind or not (is_whole or pieces))
        return None


def link_bytes(link: str) -> bytes:
    """A link as it comes over the line. Raises `ValueError` for hex digits that are none."""
    return bytes.fromhex(link.removeprefix(_HEX)) if link.startswith(_HEX) else link.encode()


def _proxy_size(data: bytes) -> int:
    """Bytes of a PROXY protocol header at the beginning, whole or not."""
    if data[:1] not in (b"P", b"\r") or len(data) < len(proxy_protocol.PREFIX):
        return 0
    try:
        header = proxy_protocol.parse(data)
    except ValueError:
        return 0
    return header.size if header else len(data)


class Detected(NamedTuple):
    """Who is on the line, its decoder with the pieces that it made so far, and the bytes that it was not fed yet."""

    peer: Peer
    decoder: Decoder
    pieces: list[Frame | Rejected]
    rest: bytes = b""


class PeerDetector:
    """Finds out who is on a connection: by its beginning, by a registered link, or (`AUTO`) by the first good frame.

    The first good frame counts wherever it stands, so that a registration packet or noise before it does no harm.
    """

    def __init__(self, listener: str) -> None:
        self._listener = listener
        self._held = b""
        self._size = 0
        self._unreported = bytearray()
        known = [(name, codecs.load(name)) for name in codecs.names()] if listener == AUTO else []
        self._decoders = {name: codec.decoder() for name, codec in known if codec.sniff is not defaults.sniff}
        self._pieces: dict[str, list[Frame | Rejected]] = {name: [] for name in self._decoders}

    @property
    def has_bytes(self) -> bool:
        """Whether anything came at all."""
        return self._size > 0

    @property
    def unreported(self) -> int:
        """Unexplained bytes that were not taken by `take_unreported`."""
        return len(self._unreported)

    def feed(self, data: bytes, links: LinkIndex, *, is_settled: bool = False) -> Detected | None:
        """Take bytes; None where more are needed. `is_settled`: the line was quiet, so a number at the end is whole."""
        self._unreported += data
        self._held += data
        self._size += len(data)
        if self._listener == AUTO and self._size == len(self._held) and (protocol := codecs.sniffed(self._held)):
            return self._begin(Peer(protocol))
        match = links.match(self._held)
        if match and (is_settled or not match.is_open):
            return self._begin(match.peer)
        for name, decoder in self._decoders.items():
            pieces = decoder.feed(data)
            self._pieces[name] += pieces
            if any(isinstance(piece, Frame) for piece in pieces):
                return Detected(Peer(name), decoder, self._pieces[name])
        if len(self._held) > LONGEST:  # a link that is registered later is found in the first or the last bytes
            self._held = self._held[: LONGEST // 2 - 1] + b"\n" + self._held[-LONGEST // 2 :]
        return None

    def take_unreported(self) -> bytes:
        """The unexplained bytes since the last call."""
        data = bytes(self._unreported)
        self._unreported.clear()
        for pieces in self._pieces.values():
            pieces.clear()
        return data

    def _begin(self, peer: Peer) -> Detected:
        return Detected(peer, codecs.load(peer.protocol).decoder(), [], self._held[peer.consumed :])

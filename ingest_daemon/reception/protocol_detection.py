"""Who a new connection is, from its first bytes: which protocol it speaks, or which DTU registered itself. Pure.

A DTU that passes a serial line on says who it is before the line's first byte: some text of the maker's fashion that holds the
number set in it (`864…`, `ID:…`, `CTRL:&…`, bytes), often once more in each heartbeat. What stands around the number does not
matter here: the registry names the number (`link` in `terminals.csv`; bytes that are no text as `hex:A1B2…`).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ingest_daemon import codecs
from ingest_daemon.contract.settings import AUTO

LONGEST = 512
"""With so many bytes and no sign of whom they are from, they are given up."""

SHORTEST_LINK = 4
_HEX = "hex:"

HEARTBEATS = (rb"[\x00\xfe\xff$@0#]", b"OK", b"PING", b"HEART", b"HEARTBEAT", b"KEEPALIVE", b"BEAT")
"""What DTUs of the usual makes send to keep a line open, beside their number: patterns; case does not matter, nor a line end."""


class Peer(NamedTuple):
    """Who speaks: the protocol, the link it is registered as (empty: none), and how many of the first bytes said so."""

    protocol: str
    link: str = ""
    consumed: int = 0


class LinkIndex:
    """The registered links, to be found in bytes."""

    def __init__(self, links: Mapping[str, str]) -> None:
        """`links`: protocol by link. Raises nothing: a link too short to be told from chance is not found."""
        self._links: dict[bytes, tuple[str, str]] = {}
        for link, protocol in links.items():
            try:
                raw = _bytes_of(link)
            except ValueError:
                continue
            if len(raw) >= SHORTEST_LINK:
                self._links[raw] = link, protocol
        self._sizes = sorted({len(raw) for raw in self._links}, reverse=True)

    def find(self, data: bytes) -> Peer | None:
        """The first registered link in the bytes, the longest of those that begin together; not from inside a longer number."""
        for start in range(min(len(data), LONGEST)):
            if start and data[start - 1 : start].isalnum() and data[start : start + 1].isalnum():
                continue
            for size in self._sizes:
                if found := self._links.get(text := data[start : start + size]):
                    link, protocol = found
                    end = start + len(text)
                    return Peer(protocol, link, end + len(data[end:]) - len(data[end:].lstrip(b"\r\n\x00")))
        return None


def introduce(first: bytes, listener: str, links: LinkIndex) -> Peer | None:
    """Who speaks, or None where more bytes are needed. `listener`: a protocol, or `AUTO`."""
    if listener != AUTO and not codecs.load(listener).POLLED:
        return Peer(listener)
    if listener == AUTO:
        told = {name: codecs.load(name).sniff(first) for name in codecs.names()}
        if sure := [name for name, verdict in told.items() if verdict]:
            return Peer(sure[0])
    return links.find(first)


def is_heartbeat(data: bytes, link: str) -> bool:
    """Whether what came from a DTU is one of its signs of life, or several, and nothing else."""
    return _beats(link).fullmatch(data) is not None


@lru_cache(65536)
def _beats(link: str) -> re.Pattern[bytes]:
    number = re.escape(_bytes_of(link))
    return re.compile(rb"(?:(?:%b|[^\r\n]{0,12}?%b)[\r\n\x00-\x03]*)+" % (b"|".join(HEARTBEATS), number), re.IGNORECASE)


def _bytes_of(link: str) -> bytes:
    """A link as it comes over the line. Raises `ValueError` for hex digits that are none."""
    return bytes.fromhex(link.removeprefix(_HEX)) if link.startswith(_HEX) else link.encode()

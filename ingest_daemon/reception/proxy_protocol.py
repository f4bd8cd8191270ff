"""The PROXY protocol, versions 1 and 2, with which a TCP balancer names the client (HAProxy, proxy-protocol.txt, 2). Pure."""

import ipaddress
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PREFIX = b"PROXY "
LONGEST_TEXT = 107
_HEAD = 16
_SIZES = {1: 4, 2: 16}
"""Bytes of an address by family."""


class ProxyHeader(NamedTuple):
    """The client's address ("": the balancer itself speaks, or does not tell), and the length of the header."""

    address: str
    size: int


def parse(data: bytes) -> ProxyHeader | None:
    """The header at the beginning; None where more bytes are needed. Raises `ValueError` where none begins here."""
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _binary(data)
    if data[: len(PREFIX)] == PREFIX[: len(data)]:
        return _text(data)
    raise ValueError(f"expected a PROXY protocol header, there is {data[:16]!r}")


def _text(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:LONGEST_TEXT].partition(b"\r\n")
    if not end:
        if len(data) >= LONGEST_TEXT:
            raise ValueError(f"PROXY line has no end in {LONGEST_TEXT} bytes")
        return None
    words = line.decode("ascii", "replace").split(" ")
    address = "" if words[1] == "UNKNOWN" else str(ipaddress.ip_address(words[2] if len(words) == 6 else "none"))
    return ProxyHeader(address, len(line) + 2)


def _binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _HEAD:
        return None
    if data[12] not in (0x20, 0x21):
        raise ValueError(f"PROXY version and command are {data[12]:02X}, expected 20 or 21")
    size = _HEAD + int.from_bytes(data[14:16], "big")
    if len(data) < size:
        return None
    width = _SIZES.get(data[13] >> 4, 0)
    is_told = data[12] == 0x21 and width and size >= _HEAD + 2 * width + 4
    return ProxyHeader(str(ipaddress.ip_address(data[_HEAD : _HEAD + width])) if is_told else "", size)

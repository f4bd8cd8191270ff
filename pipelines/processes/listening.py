"""What listens on this machine, and whether others reach it, as the kernel lists it (Linux)."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names under which only this machine is reached."""

_LISTENS = "0A"


class Listener(NamedTuple):
    """A TCP socket that listens; `inode` names it in `/proc/<pid>/fd`."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    inode: int

    @property
    def is_wide(self) -> bool:
        """Whether other machines reach it."""
        mapped = getattr(self.address, "ipv4_mapped", None)
        return not (mapped or self.address).is_loopback


def listeners() -> Iterator[Listener]:
    """All of them in this network namespace; none where there is no `/proc`."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_, inode = line.split()[:10]
            address, _, port = local.partition(":")
            if state == _LISTENS:
                yield Listener(_address(address), int(port, 16), int(inode))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel writes it: 32-bit words in the machine's order, in hex."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    return ipaddress.ip_address(b"".join(socket.htonl(word).to_bytes(4, "big") for word in words))

"""The registry as the listeners need it: terminals, profiles, and the meters on each link. Refreshed while connections live."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ingest_daemon import codecs
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.terminals.registry import Registry, Terminal

_DIALLED = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")


class Link(NamedTuple):
    """The meters on one DTU, or at one address that we dial.

    `protocol`: of all its meters. `meters`: terminal numbers by the meter's address on the link.
    """

    protocol: str
    meters: dict[str, str]


class TerminalDirectory:
    """Terminals, profiles and links as of the last `refresh`. One instance for the event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._limited = RateLimitedLog()
        self.terminals: Mapping[str, Terminal] = {}
        self.profiles: Mapping[str, Mapping[str, Any]] = {}
        self.links: dict[str, Link] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Take over the registry in force; True where it changed."""
        current = self._registry.current
        if current.terminals is self.terminals:
            return False
        self.terminals, self.profiles, self.links = current.terminals, current.profiles, {}
        for number, terminal in self.terminals.items():
            if terminal.link:
                self._add_to_link(number, terminal)
        return True

    def profile(self, protocol: str, number: str) -> Any:
        """The profile that a terminal of the protocol names; None for the protocol's defaults."""
        return self.profiles.get(protocol, {}).get(number)

    def number(self, link: str, address: str) -> str:
        """The terminal of that address on the link; one that is not registered is called `link/address`.

        A link with one meter needs no address.
        """
        meters = self.links[link].meters if link in self.links else {}
        if address not in meters and len(meters) == 1 and "" in meters:
            return meters[""]
        return meters.get(address, f"{link}/{address}")

    def dialled(self) -> dict[str, tuple[str, int]]:
        """Host and port of the links that we dial."""
        matches = {link: _DIALLED.fullmatch(link) for link in self.links}
        return {link: (match["host"].strip("[]"), int(match["port"])) for link, match in matches.items() if match}

    def _add_to_link(self, number: str, terminal: Terminal) -> None:
        protocol = terminal.protocol or self._registry.protocol
        if protocol not in codecs.names():
            self._limited.warn("link", f"terminal {number} is not polled: its row in terminals.csv names no protocol")
            return
        link = self.links.setdefault(terminal.link, Link(protocol, {}))
        if protocol != link.protocol:
            expected = f"{link.protocol}, that of the first terminal of link {terminal.link}"
            self._limited.warn("link", f"terminal {number} is not polled: its protocol is {protocol}, expected {expected}")
        else:  # of two at one address the registry names the second
            link.meters.setdefault(terminal.address, number)

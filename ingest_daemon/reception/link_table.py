"""Which connection each link is on line with, and which callers wait because another has the same number."""

from typing import TYPE_CHECKING

from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.monitoring.counters import Counters

if TYPE_CHECKING:
    from ingest_daemon.reception.connection import Connection

SILENT_S = 15.0
"""A connection that sends nothing for so long after another caller with its number came is dead: the DTU dialled again."""


class LinkTable:
    """One connection a link. A second caller waits until the first is closed or proves to be dead.

    A DTU whose line broke dials again while its old connection still looks open. So a second caller makes the link contested:
    the poller asks at once over the old connection, and silence hands the link over. Where the old one sends anything, two
    living DTUs have one number: the first keeps the link, the second is counted, logged and left waiting.
    """

    def __init__(self, counters: Counters, log: RateLimitedLog) -> None:
        self._counters, self._log = counters, log
        self.online: dict[str, Connection] = {}
        """The connection of each link."""
        self._waiting: dict[str, dict[Connection, float]] = {}
        """Second callers a link, with the time by `time.monotonic` at which each came."""
        self._rivals: set[Connection] = set()
        """Waiting callers that came while the connection of their link was alive."""

    def claim(self, connection: "Connection", now_s: float) -> None:
        """Put a connection on line with its link, or let it wait where another one is."""
        if self.online.setdefault(connection.link, connection) is not connection:
            self._waiting.setdefault(connection.link, {})[connection] = now_s

    def is_online(self, connection: "Connection") -> bool:
        """Whether the connection has its link."""
        return self.online.get(connection.link) is connection

    def is_contested(self, link: str) -> bool:
        """Whether a caller waits that may be the link's DTU, dialling again."""
        return any(connection not in self._rivals for connection in self._waiting.get(link, ()))

    def release(self, connection: "Connection") -> None:
        """Forget a connection that ended; the newest waiting caller takes its link over."""
        waiting = self._waiting.get(connection.link, {})
        waiting.pop(connection, None)
        self._rivals.discard(connection)
        if self.is_online(connection):
            del self.online[connection.link]
            if waiting:
                successor, _ = waiting.popitem()
                self._rivals.discard(successor)
                self.online[connection.link] = successor
        if not waiting:
            self._waiting.pop(connection.link, None)

    def review(self, now_s: float) -> None:
        """Close connections that are dead, and tell living ones apart from callers with the same number."""
        for link, waiting in list(self._waiting.items()):
            first = self.online[link]
            for connection, since_s in waiting.items():
                if connection in self._rivals:
                    continue
                if first.active_s > since_s:
                    self._rivals.add(connection)
                    self._counters.rival_callers += 1
                    addresses = f"{first.state.address} keeps the line, {connection.state.address} waits"
                    self._log.warn("same number", f"two living callers say that they are link {link}: {addresses}")
                elif now_s - since_s > SILENT_S:
                    first.transport.abort()

"""A thread that takes what the journal holds to PostgreSQL, as soon as there is something and as often as it must try."""

import psycopg

from ingest_daemon.contract import ownership
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.journal_thread import JournalThread
from ingest_daemon.journal.share import share_of
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters

WAIT_S = (0.5, 30.0)
"""First and longest pause before PostgreSQL is tried again."""


class PostgresSink(JournalThread):
    """The connection and its repair; what is delivered is up to `_deliver`."""

    PART = ""
    """Name of its part of the health."""
    WAITING = ""
    """What waits in the journal while PostgreSQL is away."""

    def __init__(self, name: str, site: Site, dsn: str, journals: Journals, counters: Counters, readers: tuple[str, ...]) -> None:
        """`dsn`: connection string; empty: that of the embedded server, from `state/postgres.json` once it is there."""
        super().__init__(name, site, journals, readers)
        self._dsn, self._counters = dsn, counters
        self._limited = RateLimitedLog()

    def _deliver(self, connection: psycopg.Connection) -> None:
        """Deliver until the daemon stops; after an error it is called again with a new connection."""
        raise NotImplementedError

    def _while_away(self) -> None:
        """Called each time that PostgreSQL could not be reached."""

    def _run(self) -> None:
        wait_s = WAIT_S[0]
        while True:
            try:
                with psycopg.connect(self._address(), connect_timeout=5, tcp_user_timeout=10_000) as connection:
                    if share_of(self._site):  # one of several daemons: whose database it is, the site of the figures claims
                        migrate(connection)
                    else:
                        ownership.open_ops(connection, ownership.site_id(self._site))
                    wait_s = WAIT_S[0]
                    self._deliver(connection)
                return
            except (psycopg.Error, OSError, ValueError) as error:
                text = " ".join(str(error).split())
                self._counters.health[self.PART] = text
                self._limited.warn(self.PART, f"{self.WAITING} wait in the journal: {text}")
            except Exception as error:
                self._counters.health[self.PART] = repr(error)
                LOG.exception("%s wait in the journal", self.WAITING)
            try:
                self._while_away()
            except Exception:
                LOG.exception("%s stay in the journal", self.WAITING)
            if self._stopping.wait(wait_s):
                return
            # An embedded server that starts later is looked for every second.
            wait_s = min(wait_s * 2, WAIT_S[1] if self._dsn else 1.0)

    def _address(self) -> str:
        if self._dsn:
            return self._dsn
        path = self._site.state / "postgres.json"
        address = read_json(path)
        if not address or not address.get("dsn"):
            raise ValueError(f"no PostgreSQL yet: [postgres] dsn is empty and {path} is not there")
        return str(address["dsn"])

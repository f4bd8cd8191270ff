"""Polls terminals that send only answers: the times and the addresses. `request_queue` runs each request."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from functools import partial
from zlib import crc32

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Command, CommandType, UnsupportedCommand
from ingest_daemon.journal.records import JournalPosition
from ingest_daemon.reception.connection import Connection
from ingest_daemon.reception.listener import Server
from ingest_daemon.reception.settings import PollSettings
from ingest_daemon.terminals.directory import Link

TICK_S = 0.5
DIAL_WAIT_S = (1.0, 60.0)
"""First and longest pause before an address that does not answer is dialled again."""
DIAL_S = 10.0


class Poller:
    """Polls each terminal once a step of its own, at the same second of each step; dials the links that have an address."""

    def __init__(self, settings: PollSettings, server: Server) -> None:
        self._settings, self._server = settings, server
        self._due_s: dict[str, float] = {}
        self._asking: set[str] = set()
        self._unanswered: set[str] = set()
        """Terminals that did not answer all of their last round."""
        self._connections: dict[str, Connection] = {}
        """The connections at the last tick."""
        self._probed: set[str] = set()
        """Contested links with a meter already polled to test whether the line is alive."""
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin polling. To be called in the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop polling and dialling."""
        tasks = [*self._dialling.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            directory = self._server.directory
            for link, (host, port) in directory.dialled().items():
                if link not in self._server.link_table.online and link not in self._dialling:
                    self._dialling[link] = asyncio.create_task(self._dial(link, directory.links[link].protocol, host, port))
            self._poll_links(time.time())
            await asyncio.sleep(TICK_S)

    def _poll_links(self, now_s: float) -> None:
        """Poll the due meters, unanswered ones again over a new connection of their link, and one meter of a contested link."""
        links, table = self._server.directory.links, self._server.link_table
        before = self._connections
        self._connections = dict(table.online)
        self._probed &= {link for link in self._connections if table.is_contested(link)}
        for link, connection in self._connections.items():
            meters = links[link].meters if link in links else {}
            if before.get(link) is not connection:
                again = self._unanswered.intersection(meters.values())
            elif table.is_contested(link) and link not in self._probed:
                self._probed.add(link)
                again = set(list(meters.values())[:1])
            else:
                again = set()
            for number in again:
                self._due_s.pop(number, None)
            if meters:
                self._ask_due(connection, links[link], now_s)

    def _ask_due(self, connection: Connection, link: Link, now_s: float) -> None:
        for address, number in link.meters.items():
            if self._due_s.get(number, 0.0) > now_s or number in self._asking:
                continue
            self._due_s[number] = next_due(
                now_s, self._server.directory.terminals[number].step_min, number, self._settings.spread_s
            )
            self._poll(connection, number, address)

    def _poll(self, connection: Connection, number: str, address: str) -> None:
        ask = Command(CommandType.NOW, number, address, datetime.now(UTC))
        try:
            requests = codecs.load(connection.protocol).requests(ask, self._server.directory.profile(connection.protocol, number))
        except UnsupportedCommand as error:
            self._server.log.warn("poll", f"terminal {number} is not polled: {error}")
            return
        self._asking.add(number)
        connection.ask(number, requests, self._settings.tries, self._settings.answer_s, partial(self._done, number))

    def _done(self, number: str, answer: JournalPosition | None) -> None:
        self._asking.discard(number)
        (self._unanswered.discard if answer else self._unanswered.add)(number)
        self._server.counters.polls["answered" if answer else "unanswered"] += 1
        if not answer:
            self._server.log.warn("poll", f"terminal {number} left a question unanswered {self._settings.tries} times")

    async def _dial(self, link: str, protocol: str, host: str, port: int) -> None:
        wait_s = DIAL_WAIT_S[0]
        try:
            while link in self._server.directory.links:
                try:
                    loop = asyncio.get_running_loop()
                    connecting = loop.create_connection(lambda: Connection(self._server, protocol, link), host, port)
                    await asyncio.wait_for(connecting, DIAL_S)
                    return
                except (OSError, TimeoutError) as error:
                    self._server.log.warn("dial", f"{link} does not answer ({error}); tried again from time to time")
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, DIAL_WAIT_S[1])
        finally:
            del self._dialling[link]


def next_due(now_s: float, step_min: int, terminal: str, spread_s: float) -> float:
    """The next time to poll a terminal: its own second after the next whole step of the day, spread over at most half a step.

    The second is the same each time, so that intervals between readings are equal. Times in seconds since 1970 UTC.
    """
    step_s = 60 * step_min
    spread = min(spread_s, step_s / 2)
    own_s = crc32(terminal.encode()) % 1000 / 1000 * spread
    return (now_s - own_s) // step_s * step_s + step_s + own_s

"""Queued commands on their way to terminals: each is sent when its terminal is on line."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import UnsupportedCommand
from ingest_daemon.commands.queue import CommandQueue

if TYPE_CHECKING:
    from ingest_daemon.journal.records import JournalPosition
    from ingest_daemon.reception.connection import Connection
    from ingest_daemon.reception.listener import Server


class CommandDispatcher:
    """Sends queued commands to registered terminals over the connection at which each can be reached."""

    def __init__(self, commands: CommandQueue, server: "Server") -> None:
        self._commands, self._server = commands, server
        self.wanted: frozenset[str] = frozenset()
        """Terminals for which a command waits."""

    def start(self) -> None:
        """Put the queue's files in order after a restart."""
        self._commands.tidy(datetime.now(UTC), start=True)

    def follow(self) -> None:
        """Take over what changed in the queue, and send what can be sent."""
        self._commands.tidy(datetime.now(UTC))
        self.wanted = frozenset(self._commands.terminals())
        for terminal in self.wanted:
            self.send(terminal)

    def send(self, number: str) -> None:
        """Send the waiting commands of a terminal that is on line and answered since it was last heard."""
        server = self._server
        terminal = server.directory.terminals.get(number)
        if terminal is None:
            return
        connection = server.link_table.online.get(terminal.link) if terminal.link else server.by_terminal.get(number)
        if connection is None or number in connection.unresponsive:
            return
        codec, now = codecs.load(connection.protocol), datetime.now(UTC)
        for queued in self._commands.waiting(number, now):
            command = queued.ask(terminal.address, now)._replace(password=terminal.password)
            try:
                requests = codec.requests(command, server.directory.profile(connection.protocol, number))
            except UnsupportedCommand as error:
                self._commands.refused(queued.id, str(error), now)
                continue
            self._commands.sent(queued.id, now)
            done = partial(self._done, queued.id, number, connection)
            connection.ask(number, requests, 1, self._commands.settings.answer_s, done)

    def _done(self, name: str, number: str, connection: "Connection", answer: "JournalPosition | None") -> None:
        now = datetime.now(UTC)
        if answer:
            self._commands.answered(name, *answer, now)
        else:
            connection.unresponsive.add(number)
            self._commands.unanswered(name, now)

"""Commands checked against the registry and the terminal's protocol before they are queued."""

from collections.abc import Callable
from datetime import UTC, datetime

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Command, CommandType, UnsupportedCommand
from ingest_daemon.commands.queue import LONGEST, open_commands
from ingest_daemon.commands.settings import CommandSettings
from ingest_daemon.contract.settings import AUTO, Settings
from ingest_daemon.terminals.registry import Registry


def queue_command(
    settings: Settings, protocol: str, terminal: str, kind: str, start: datetime | None, end: datetime | None, field: str
) -> list[str]:
    """Queue a command that the terminal's protocol supports; gives the ids.

    `protocol`: of terminals whose registry row names none. Raises `ValueError` naming what is allowed.
    """
    registered = Registry(settings.folder).terminals().get(terminal)
    if registered is None:
        raise ValueError(
            f"terminal {terminal} is not in {settings.folder.registry / 'terminals.csv'}; expected one of its column terminal"
        )
    protocol = registered.protocol or protocol
    if protocol == AUTO:
        raise ValueError(f"terminal {terminal}: its line in terminals.csv names no protocol, so nothing can be asked; name one")
    now = datetime.now(UTC)
    if kind in list(CommandType):
        last = min(end, start + LONGEST) if start and end else end
        command = Command(CommandType(kind), terminal, registered.address, now, start, last, field)
        codecs.load(protocol).requests(command, registered.profile)
    queue = open_commands(settings.folder, settings[CommandSettings])
    return queue.file(terminal, kind, by="cli", now=now, start=start, end=end, field=field)


def history_support(settings: Settings, protocol: str, now: datetime) -> Callable[[str, datetime, datetime, str], bool]:
    """A function (terminal, start, end, field): whether the terminal's protocol has a command for that history.

    `protocol`: of terminals whose registry row names none. Raises `OSError`, `ValueError` where the registry cannot be read.
    """
    registered = Registry(settings.folder).terminals()

    def is_supported(number: str, start: datetime, end: datetime, field: str) -> bool:
        terminal = registered.get(number)
        spoken = (terminal.protocol if terminal else "") or protocol
        if terminal is None or spoken == AUTO:
            return False
        last = min(end, start + LONGEST)
        command = Command(CommandType.HISTORY, number, terminal.address, now, start, last, field)
        try:
            codecs.load(spoken).requests(command, terminal.profile)
        except (UnsupportedCommand, ValueError):  # an unknown protocol is a matter of the registry, not of the history
            return False
        return True

    return is_supported

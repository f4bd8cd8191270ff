"""Which stream of the journal a frame goes to. Pure."""

from collections.abc import Container

from ingest_daemon.journal.records import ALARM, DATA, STRANGER


class StreamSelector:
    """Sends alarm frames, and the frame that follows on an alarm, past the backlog."""

    def __init__(self) -> None:
        self._alarmed: set[str] = set()
        """Registered terminals whose last frame carried an alarm."""

    def select(self, terminal: str, is_alarm: bool, registered: Container[str]) -> str:
        """The stream of a terminal's frame; the one after an alarm overtakes the backlog, too: it may say that it is over."""
        if terminal not in registered:
            return STRANGER  # its budget is its own: strangers neither fill the journal nor overtake anybody
        if is_alarm:
            self._alarmed.add(terminal)
            return ALARM
        if terminal in self._alarmed:
            self._alarmed.remove(terminal)
            return ALARM
        return DATA

"""The project's log, and a log that is limited to a line a kind and minute."""

import logging
import time
from collections import Counter

LOG = logging.getLogger("mainflow")


def visible(text: str) -> str:
    """The text on one line: control characters, which a terminal would obey, as their escapes."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _on_one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = visible(record.getMessage()), ()
    return True


LOG.addFilter(_on_one_line)


class RateLimitedLog:
    """A log with at most one line a key and minute: the first at once, later the number of suppressed ones.

    Keys come from a fixed set (reasons), so memory does not grow with what strangers send.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        self._every = every_s
        self._logged_s: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def warn(self, key: str, message: str) -> None:
        """Log the message now, or count it when the key was logged less than a minute ago."""
        now = time.monotonic()
        if now - self._logged_s.get(key, float("-inf")) < self._every:
            self._held[key] += 1
            return
        more = self._held.pop(key, 0)
        self._logged_s[key] = now
        LOG.warning("%s: %s%s", key, message, f" (and {more} more since the last such line)" if more else "")

    def flush(self) -> None:
        """Log the counts whose minute is over."""
        now = time.monotonic()
        for key in [key for key in self._held if now - self._logged_s[key] >= self._every]:
            self._logged_s[key] = now
            LOG.warning("%s: %d more since the last such line", key, self._held.pop(key))

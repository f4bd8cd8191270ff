"""Small files in `state/` and what the daemon says about itself: atomic JSON, the site's lock, counters, limited log lines.

No journal and no protocol here.
"""

import logging
import time
from collections import Counter

LOG = logging.getLogger("mainflow")


class RateLimitedLog:
    """A log that says one line a key and minute: the first at once, then how many more there were.

    Keys come from a fixed set (reasons), so nothing grows with what strangers send.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        self._every = every_s
        self._said: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def warn(self, key: str, message: str) -> None:
        """Say the message now, or count it when the key was said less than a minute ago."""
        now = time.monotonic()
        if now - self._said.get(key, float("-inf")) < self._every:
            self._held[key] += 1
            return
        more = self._held.pop(key, 0)
        self._said[key] = now
        LOG.warning("%s: %s%s", key, message, f" (and {more} more since the last such line)" if more else "")

    def flush(self) -> None:
        """Say the counts whose minute is over, so that the last ones are not left unsaid."""
        now = time.monotonic()
        for key in [key for key in self._held if now - self._said[key] >= self._every]:
            self._said[key] = now
            LOG.warning("%s: %d more since the last such line", key, self._held.pop(key))

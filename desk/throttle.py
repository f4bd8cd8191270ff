"""How often one may try a password: after some failures of a name or an address each further try waits, longer each time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

FREE_OF_USER, FREE_OF_ADDRESS = 4, 20
"""Failures that cost nothing. Grafana itself closes a name for minutes after five; many people may share an address."""
FIRST_S, LONGEST_S = 15.0, 900.0
FORGET_S = 3600.0
MOST = 10_000
"""Names and addresses that are remembered; the one that failed longest ago is forgotten first."""


class Failures(NamedTuple):
    """How many in a row, and when the last was."""

    times: int
    last_s: float


@dataclass
class Throttle:
    """Failures of names and addresses since the start."""

    clock: Callable[[], float] = time.monotonic
    failed: OrderedDict[tuple[str, str], Failures] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_s(self, user: str, address: str) -> float:
        """Seconds until this user may try again from this address; 0 at once."""
        with self.lock:
            return max(self._wait_s(key, free) for key, free in _keys(user, address))

    def fail(self, user: str, address: str) -> None:
        """Note a failure."""
        now = self.clock()
        with self.lock:
            for key, _ in _keys(user, address):
                before = self.failed.pop(key, None)
                times = before.times if before and now - before.last_s < FORGET_S else 0
                self.failed[key] = Failures(times + 1, now)
            while len(self.failed) > MOST:
                self.failed.popitem(last=False)

    def succeed(self, user: str, address: str) -> None:
        """Forget the failures of the name; those of the address go by themselves, for another's log-in is no excuse."""
        with self.lock:
            self.failed.pop(("user", user.casefold()), None)

    def _wait_s(self, key: tuple[str, str], free: int) -> float:
        failures = self.failed.get(key)
        if failures is None or failures.times < free:
            return 0.0
        pause = min(LONGEST_S, FIRST_S * 2.0 ** min(20, failures.times - free))
        return max(0.0, failures.last_s + pause - self.clock())


def _keys(user: str, address: str) -> list[tuple[tuple[str, str], int]]:
    return [(("user", user.casefold()), FREE_OF_USER), (("address", address), FREE_OF_ADDRESS)]

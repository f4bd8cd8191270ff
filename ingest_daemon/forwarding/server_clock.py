"""Whether the server's own clock is wrong: nearly all terminals are off the same way then, and none of them is to blame."""

from collections import deque
from statistics import median

import polars as pl

RECENT = 1000
"""Clock offsets that are looked at, the newest ones."""
LEAST_TERMINALS = 5
"""With fewer terminals a wrong clock of theirs cannot be told from a wrong one of the server."""
NEARLY_ALL = 0.8
"""Share of the terminals that must be off the same way."""


class ServerClock:
    """Judges the server's clock by those of the terminals that were heard last."""

    def __init__(self, drift_s: float) -> None:
        """`drift_s`: a clock further off than this is wrong."""
        self._drift_s = drift_s
        self._recent: deque[tuple[str, float]] = deque(maxlen=RECENT)
        self.fault = ""
        """What is wrong and what to do; empty while nothing is."""

    def note(self, offsets: pl.DataFrame) -> None:
        """Judge anew with a group's offsets (see `triage.clock_offsets`)."""
        pairs = offsets.tail(RECENT).select("terminal", "offset_s").iter_rows()
        self._recent.extend(pairs)
        if self.fault or (offsets["offset_s"].abs() > self._drift_s).any():
            self.fault = clock_fault(dict(self._recent), self._drift_s)


def clock_fault(offsets_s: dict[str, float], drift_s: float) -> str:
    """What is wrong with the server's clock; empty for nothing. `offsets_s`: receive time minus device clock by terminal."""
    count = len(offsets_s)
    ahead, behind = (sum(sign * offset > drift_s for offset in offsets_s.values()) for sign in (1, -1))
    off = max(ahead, behind)
    if count < LEAST_TERMINALS or off < NEARLY_ALL * count:
        return ""
    by_s = median(offsets_s.values())
    way = "ahead of" if by_s > 0 else "behind"
    return (
        f"the server's clock is about {abs(by_s):.0f} s {way} those of {off} of {count} terminals: set the server's clock "
        "(NTP); readings kept aside as FUTURE_TIME or OLD_TIME meanwhile come back with `mainflow journal replay`"
    )

"""Alarms that are open, whichever of several daemons heard of them: what one heard raised another may hear cleared."""

import time

import psycopg

LOOK_S = 2.0
"""Seconds between two looks."""
FRESH_S = 10.0
"""What was seen longer ago is not gone by: PostgreSQL is away, and what this daemon has heard itself is nearer to the truth."""

OPEN = """
select meter, origin, array_agg(code) from ops.alarm_span
where ended_at is null and (origin = 'device' or code = 'CLOCK') group by meter, origin"""
"""What terminals say, and what daemons find about their clocks; other spans of the server are the alarm engine's."""


class OpenAlarms:
    """The codes that are open by meter and origin, as `ops` had them a moment ago. One thread looks, another asks."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], frozenset[str]] = {}
        self._looked_s = float("-inf")

    def look(self, connection: psycopg.Connection) -> None:
        """Look again, if it is time to."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            rows = connection.execute(OPEN).fetchall()
            connection.commit()
            self._codes = {(meter, origin): frozenset(codes) for meter, origin, codes in rows}
            self._looked_s = now_s

    def codes(self, meter: str, origin: str) -> frozenset[str] | None:
        """The codes that are open at a meter; None where nobody looked lately, as where there is one daemon only."""
        if time.monotonic() - self._looked_s > FRESH_S:
            return None
        return self._codes.get((meter, origin), frozenset())

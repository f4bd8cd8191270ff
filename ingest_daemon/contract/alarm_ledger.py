"""Alarms in PostgreSQL: what is known of when a condition held becomes rows of `ops.alarm`, with all that was ever known kept.

    alarm events of terminals ──▶ spans (origin device) ──┐
    sql/alarms/*.sql over event time ──▶ spans (server) ──┴─ `joined` ─▶ `paired` with ops.alarm ─▶ ops.alarm, ops.alarm_history

A span is a fact: from when to when a condition held at a meter, as one origin knows it. Spans of both origins at the same time
are one alarm. What comes late moves, joins or takes back spans, and the alarms follow: the same spans give the same alarms,
whatever came first. An alarm that is taken back stays, with the time at which it was.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from ingest_daemon.contract.alarm_codes import ALARMS

BOTH = "both"
"""Origin of an alarm that terminal and server have found."""

SLACK = timedelta(minutes=15)
"""A terminal sees what happens between two readings, the server the readings: spans of two origins so near are of one thing."""

TELL_WITHIN = timedelta(hours=72)
"""An alarm that was over longer ago when it became known is in the tables, and nobody is called for it."""

LOCK = int.from_bytes(b"alarms")
"""Key of the advisory lock of who changes spans and alarms."""

COLUMNS = {
    "alarm_id": "bigint",
    "meter": "text",
    "customer_no": "text",
    "customer_name": "text",
    "code": "text",
    "severity": "text",
    "origin": "text",
    "raised_at": "timestamptz",
    "cleared_at": "timestamptz",
    "retracted_at": "timestamptz",
    "peak_value": "double precision",
    "limit_value": "double precision",
    "unit": "text",
    "first_seen_at": "timestamptz",
    "settled_at": "timestamptz",
    "acknowledged_by": "text",
    "acknowledged_at": "timestamptz",
    "cause": "text",
    "note": "text",
}
"""Columns of `ops.alarm` that boards and reports show, with their types."""

FOREVER = datetime.max.replace(tzinfo=UTC)


class Span(NamedTuple):
    """From when to when (None: it still does) a condition held, with its peak, the limit then and where it was seen first.

    `received_at`: arrival of what raised it, of a terminal's alarm.
    """

    meter: str
    code: str
    origin: str
    started_at: datetime
    ended_at: datetime | None
    value: float | None
    limit_value: float | None
    unit: str
    terminal: str | None = None
    frame: int | None = None
    received_at: datetime | None = None

    @property
    def until(self) -> datetime:
        """Its end, or the end of time."""
        return self.ended_at or FOREVER


class Window(NamedTuple):
    """A stretch of time of a meter (both ends within) in which all spans of an origin are known."""

    meter: str
    begin: datetime
    end: datetime


class Alarm(NamedTuple):
    """What a row of `ops.alarm` says of the condition itself."""

    raised_at: datetime
    cleared_at: datetime | None
    origin: str
    peak_value: float | None
    limit_value: float | None
    unit: str
    terminal: str | None
    frame: int | None

    @property
    def until(self) -> datetime:
        """Its end, or the end of time."""
        return self.cleared_at or FOREVER


class Known(NamedTuple):
    """A row of `ops.alarm`."""

    alarm_id: int
    retracted_at: datetime | None
    alarm: Alarm


class Changes(NamedTuple):
    """How many alarms were raised, cleared, taken back, and changed otherwise."""

    raised: int = 0
    cleared: int = 0
    retracted: int = 0
    others: int = 0

    def plus(self, event: str) -> "Changes":
        """One more of what an event of the history is."""
        name = {"raised": "raised", "restored": "raised", "cleared": "cleared", "retracted": "retracted"}.get(event, "others")
        return self._replace(**{name: getattr(self, name) + 1})

    def __add__(self, other: Any) -> "Changes":
        return Changes(*(own + more for own, more in zip(self, other, strict=True)))


def joined(spans: Iterable[Span], beyond: str) -> list[Alarm]:
    """The alarms that the spans of one meter and code amount to, in order of time. `beyond`: `above` or `below` the limit."""
    groups: list[list[Span]] = []
    for span in sorted(spans, key=lambda span: (span.started_at, span.until, span.origin)):
        meeting = [group for group in groups if any(_meets(span, other) for other in group)]
        groups = [group for group in groups if group not in meeting] + [[*(each for group in meeting for each in group), span]]
    return sorted((_alarm(group, beyond) for group in groups), key=lambda alarm: (alarm.raised_at, alarm.until))


def _meets(one: Span, other: Span) -> bool:
    """Whether two spans, the first of which begins no earlier, are of one thing."""
    if one.origin == other.origin:
        return one.started_at < other.until
    return one.started_at <= _later(other.until)


def _alarm(group: Sequence[Span], beyond: str) -> Alarm:
    origins = {span.origin for span in group}
    valued = [span for span in group if span.value is not None]
    sign = -1.0 if beyond == "below" else 1.0
    # Equal peaks: the earlier one, and of the server's before the terminal's, which may stem from another limit.
    peak = max(valued, key=lambda span: sign * (span.value or 0.0)) if valued else group[0]
    seen = min((span for span in group if span.frame is not None), key=lambda span: span.started_at, default=group[0])
    return Alarm(
        min(span.started_at for span in group),
        None if any(span.ended_at is None for span in group) else max(span.until for span in group),
        BOTH if len(origins) > 1 else origins.pop(),
        peak.value,
        peak.limit_value,
        group[0].unit,
        seen.terminal,
        seen.frame,
    )


def paired(alarms: Sequence[Alarm], known: Sequence[Known]) -> list[tuple[Alarm | None, Known | None]]:
    """Each alarm with the row that it is, or None for a new one; rows that nothing supports any more come with None.

    A row is an alarm whose time it shares: of several the one with the same beginning, else the earliest. Rows that were taken
    back come last; they need no partner.
    """
    free = sorted(known, key=lambda row: (row.retracted_at is not None, row.alarm.raised_at, row.alarm_id))
    found: list[tuple[Alarm | None, Known | None]] = []
    left = []
    for alarm in alarms:  # the same beginning first, so that no other alarm takes the row
        row = next((row for row in free if row.alarm.raised_at == alarm.raised_at), None)
        if row:
            free.remove(row)
            found.append((alarm, row))
        else:
            left.append(alarm)
    for alarm in left:
        row = next((row for row in free if row.alarm.raised_at <= alarm.until and alarm.raised_at <= row.alarm.until), None)
        if row:
            free.remove(row)
        found.append((alarm, row))
    return found + [(None, row) for row in free if row.retracted_at is None]


def event_of(alarm: Alarm | None, row: Known | None) -> str | None:
    """What the history calls the change from the row to the alarm; None where there is none."""
    if row is None:
        return "raised"
    if alarm is None:
        return "retracted"
    before = row.alarm
    if row.retracted_at is not None:
        return "restored"
    if alarm._replace(terminal=None, frame=None) == before._replace(terminal=None, frame=None):
        return None
    if before.cleared_at is None and alarm.cleared_at is not None:
        return "cleared"
    if before.cleared_at is not None and alarm.cleared_at is None:
        return "reopened"
    if alarm.raised_at <= before.raised_at and alarm.until >= before.until:
        return "extended"
    return "corrected"


# --- PostgreSQL ---------------------------------------------------------------------------------------------------------------

SPAN = ", ".join(Span._fields)
CONDITION = ", ".join(Alarm._fields)
OVERLAPPING = f"""
select {SPAN} from ops.alarm_span
where code = %s and meter = any(%s) and started_at <= %s and (ended_at is null or ended_at >= %s)"""


def by_meter(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """Spans by their meter."""
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.meter, []).append(span)
    return found


def spans_between(
    connection: psycopg.Connection, code: str, meters: Sequence[str], begin: datetime, end: datetime, origin: str | None = None
) -> list[Span]:
    """The known spans of a code at some meters that share time with the stretch; of one origin, or of both."""
    rows = connection.execute(OVERLAPPING, [code, list(meters), end, begin]).fetchall()
    return [span for span in map(Span._make, rows) if origin in (None, span.origin)]


def spans_in(connection: psycopg.Connection, code: str, origin: str, windows: Sequence[Window]) -> list[tuple[Window, set[Span]]]:
    """Each window with the known spans of the origin that share time with it."""
    if not windows:
        return []
    begin, end = min(window.begin for window in windows), max(window.end for window in windows)
    known = by_meter(spans_between(connection, code, [window.meter for window in windows], begin, end, origin))
    return [
        (window, {span for span in known.get(window.meter, ()) if span.started_at <= window.end and span.until >= window.begin})
        for window in windows
    ]


def lock(connection: psycopg.Connection) -> None:
    """Be the only one who changes words, spans and alarms until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])


def replace_spans(
    connection: psycopg.Connection,
    code: str,
    origin: str,
    windows: Sequence[Window],
    spans: Sequence[Span],
    *,
    by: str,
    tells: bool = True,
) -> Changes:
    """Let `spans` be all of the origin in the windows, in a transaction of the caller's; the alarms follow.

    `spans`: of this code and origin. `by`: who found it, for the history. `tells`: whether people are called for new alarms.
    """
    if not windows:
        return Changes()
    lock(connection)
    changes = Changes()
    wanted = by_meter(spans)
    for window, old in spans_in(connection, code, origin, windows):
        new = set(wanted.get(window.meter, ()))
        if old == new:
            continue
        with connection.cursor() as cursor:
            cursor.executemany(
                "delete from ops.alarm_span where meter = %s and code = %s and origin = %s and started_at = %s",
                [span[:4] for span in old - new],
            )
            cursor.executemany(
                f"insert into ops.alarm_span ({SPAN}) values ({', '.join(['%s'] * len(Span._fields))})", list(new - old)
            )
        moved = old ^ new
        changes += _settle(
            connection, window.meter, code, min(span.started_at for span in moved), max(span.until for span in moved), by, tells
        )
    return changes


def _settle(
    connection: psycopg.Connection, meter: str, code: str, begin: datetime, end: datetime, by: str, tells: bool
) -> Changes:
    """Bring the alarms of a meter and code to what their spans say, around a stretch of time."""
    spans: list[Span] = []
    rows: list[Known] = []
    while True:
        spans = spans_between(connection, code, [meter], _earlier(begin), _later(end))
        rows = _known(connection, meter, code, _earlier(begin), _later(end))
        first = min([begin, *(span.started_at for span in spans), *(row.alarm.raised_at for row in rows)])
        last = max([end, *(span.until for span in spans), *(row.alarm.until for row in rows)])
        if (first, last) == (begin, end):
            break
        begin, end = first, last
    changes = Changes()
    for alarm, row in paired(joined(spans, ALARMS[code].beyond), rows):
        event = event_of(alarm, row)
        if event is None:
            continue
        if row is None:
            assert alarm is not None, "of each pair one is there"
            alarm_id = _insert(connection, meter, code, alarm, tells)
        else:
            alarm_id = row.alarm_id
            _update(connection, alarm_id, alarm)
        note_history(connection, [alarm_id], event, by)
        changes = changes.plus(event)
    return changes


def _earlier(moment: datetime) -> datetime:
    return moment - SLACK if moment > datetime.min.replace(tzinfo=UTC) + SLACK else moment


def _later(moment: datetime) -> datetime:
    return moment + SLACK if moment < FOREVER - SLACK else moment


def _known(connection: psycopg.Connection, meter: str, code: str, begin: datetime, end: datetime) -> list[Known]:
    query = f"""
        select alarm_id, retracted_at, {CONDITION} from ops.alarm
        where meter = %s and code = %s and raised_at <= %s and (cleared_at is null or cleared_at >= %s)"""
    rows = connection.execute(query, [meter, code, end, begin]).fetchall()
    return [Known(alarm_id, retracted_at, Alarm(*condition)) for alarm_id, retracted_at, *condition in rows]


CUSTOMER = "select customer_no, customer_name from mart.meter where meter = %s"


def _insert(connection: psycopg.Connection, meter: str, code: str, alarm: Alarm, tells: bool) -> int:
    customer: Any = None
    if connection.execute("select to_regclass('mart.meter')").fetchone() != (None,):
        customer = connection.execute(CUSTOMER, [meter]).fetchone()
    now = datetime.now(UTC)
    row = connection.execute(
        f"""
        insert into ops.alarm
            (meter, code, severity, customer_no, customer_name, first_seen_at, settled_at, is_told, {CONDITION})
        values (%s, %s, %s, %s, %s, %s, %s, %s, {", ".join(["%s"] * len(Alarm._fields))}) returning alarm_id""",
        [
            *(meter, code, ALARMS[code].severity, *(customer or (None, None))),
            *(now, now if alarm.cleared_at else None, tells and alarm.until >= now - TELL_WITHIN),
            *alarm,
        ],
    ).fetchone()
    return int(row[0])  # type: ignore[index]


def _update(connection: psycopg.Connection, alarm_id: int, alarm: Alarm | None) -> None:
    """Let a row be what the alarm is now; without one it is taken back."""
    now = datetime.now(UTC)
    if alarm is None:
        connection.execute(
            "update ops.alarm set retracted_at = %s, settled_at = coalesce(settled_at, %s) where alarm_id = %s",
            [now, now, alarm_id],
        )
        return
    assigned = ", ".join(f"{name} = %s" for name in Alarm._fields)
    connection.execute(
        f"""
        update ops.alarm
        set {assigned}, retracted_at = null, settled_at = case when %s then coalesce(settled_at, %s) end
        where alarm_id = %s""",
        [*alarm, alarm.cleared_at is not None, now, alarm_id],
    )


HISTORY = (
    "alarm_id",
    "origin",
    "raised_at",
    "cleared_at",
    "retracted_at",
    "peak_value",
    "limit_value",
    "acknowledged_by",
    "acknowledged_at",
    "cause",
    "note",
)


def note_history(connection: psycopg.Connection, alarm_ids: Sequence[int], event: str, by: str) -> None:
    """Add the alarms as they are now to the history."""
    columns = ", ".join(HISTORY)
    connection.execute(
        f"insert into ops.alarm_history (event, changed_by, {columns}) "
        f"select %s, %s, {columns} from ops.alarm where alarm_id = any(%s) order by alarm_id",
        [event, by, list(alarm_ids)],
    )


def note_look(connection: psycopg.Connection) -> None:
    """Let it be known that alarms were looked for now, whether there were any or not; of a long pause people are told."""
    connection.execute(
        "insert into ops.alarm_look (looked_at) values (clock_timestamp()) "
        "on conflict (only_row) do update set looked_at = excluded.looked_at"
    )


class Acknowledged(NamedTuple):
    """Who acknowledged an alarm, and when. `is_new`: by this call."""

    alarm_id: int
    by: str
    at: datetime
    is_new: bool


def acknowledge(connection: psycopg.Connection, alarm_ids: Sequence[int], user: str, cause: str, note: str) -> list[Acknowledged]:
    """Acknowledge alarms as `user`; one that somebody acknowledged before stays theirs. Ids that are not there are left out.

    Of two at once one wins, and both are told who. In a transaction of its own.
    """
    with connection.transaction():
        won = connection.execute(
            "update ops.alarm set acknowledged_by = %s, acknowledged_at = clock_timestamp(), cause = nullif(%s, ''), "
            "note = nullif(%s, '') where alarm_id = any(%s) and acknowledged_at is null returning alarm_id",
            [user, cause, note, list(alarm_ids)],
        ).fetchall()
        new = {alarm_id for (alarm_id,) in won}
        note_history(connection, sorted(new), "acknowledged", user)
        rows = connection.execute(
            "select alarm_id, acknowledged_by, acknowledged_at from ops.alarm where alarm_id = any(%s) order by alarm_id",
            [list(alarm_ids)],
        ).fetchall()
    return [Acknowledged(alarm_id, by, at, alarm_id in new) for alarm_id, by, at in rows]


def annotate(connection: psycopg.Connection, alarm_id: int, user: str, cause: str, note: str) -> bool:
    """Give an acknowledged alarm another cause and note; whether there is such an alarm. Who acknowledged it, and when, stays."""
    with connection.transaction():
        done = connection.execute(
            "update ops.alarm set cause = nullif(%s, ''), note = nullif(%s, '') "
            "where alarm_id = %s and acknowledged_at is not null returning alarm_id",
            [cause, note, alarm_id],
        ).fetchone()
        if done:
            note_history(connection, [alarm_id], "noted", user)
    return done is not None

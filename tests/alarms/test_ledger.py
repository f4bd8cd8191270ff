"""The ledger of alarms: the same spans give the same alarms whatever became known first, and nothing that was known is lost."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_daemon.contract import alarm_ledger
from ingest_daemon.contract.alarm_ledger import Span, Window, joined
from ingest_daemon.contract.ops_tables import migrate

START = datetime(2026, 3, 2, tzinfo=UTC)
RECENT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)


def at(minutes: float, start: datetime = START) -> datetime:
    return start + timedelta(minutes=minutes)


def span(begin: float, end: float | None, origin: str = "server", value: float = 0.1, start: datetime = START) -> Span:
    return Span("M1", "P_LO", origin, at(begin, start), None if end is None else at(end, start), value, 0.14, "MPa")


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        opened.execute("drop schema if exists mart cascade")
        migrate(opened)
        yield opened


def tell(
    connection: psycopg.Connection,
    spans: Sequence[Span],
    begin: float,
    end: float,
    origin: str = "server",
    start: datetime = START,
) -> alarm_ledger.Changes:
    """Let these be all spans of the origin between two minutes."""
    with connection.transaction():
        windows = [Window("M1", at(begin, start), at(end, start))]
        return alarm_ledger.replace_spans(connection, "P_LO", origin, windows, spans, by="test")


def alarms(connection: psycopg.Connection, condition: str = "retracted_at is null") -> list[tuple[Any, ...]]:
    query = f"select raised_at, cleared_at, peak_value, origin from ops.alarm where {condition} order by raised_at"
    return [
        tuple(moment and (moment - START).total_seconds() / 60 for moment in row[:2]) + row[2:]
        for row in connection.execute(query).fetchall()
    ]


def history(connection: psycopg.Connection) -> list[str]:
    return [event for (event,) in connection.execute("select event from ops.alarm_history order by history_id").fetchall()]


JOINS = [
    ("spans of one origin that touch are two alarms", [span(0, 10), span(10, 20)], [(0, 10), (10, 20)]),
    ("a terminal's and a server's alarm at the same time are one", [span(0, 30), span(10, 20, "device")], [(0, 30)]),
    ("a terminal's alarm between two readings belongs to the server's after it", [span(15, 30), span(2, 8, "device")], [(2, 30)]),
    ("half an hour later is another alarm", [span(40, 60), span(2, 8, "device")], [(2, 8), (40, 60)]),
    ("an alarm that lasts takes all in that follows", [span(0, None, "device"), span(60, 90)], [(0, None)]),
    ("two terminals of one meter are one alarm while both say so", [span(0, 20, "device"), span(5, 40, "device")], [(0, 40)]),
]


@pytest.mark.parametrize(("name", "spans", "expected"), JOINS, ids=[case[0] for case in JOINS])
def test_what_is_one_alarm(name: str, spans: list[Span], expected: list[tuple[float, float | None]]) -> None:
    found = joined(spans, "below")
    assert [(alarm.raised_at, alarm.cleared_at) for alarm in found] == [
        (at(b), None if e is None else at(e)) for b, e in expected
    ]
    assert joined(reversed(spans), "below") == found


def test_the_peak_is_the_value_farthest_beyond_the_limit() -> None:
    spans = [span(0, 10, value=0.12), span(5, 15, "device", value=0.09)]
    assert joined(spans, "below")[0].peak_value == 0.09
    assert joined(spans, "above")[0].peak_value == 0.12


COURSES = [
    ("an alarm is raised and cleared", [([span(0, None)], 0, 10), ([span(0, 20)], 0, 30)], ["raised", "cleared"], [(0, 20)]),
    ("the same again changes nothing", [([span(0, 20)], 0, 30), ([span(0, 20)], 0, 30)], ["raised"], [(0, 20)]),
    ("late data make it begin earlier", [([span(10, 20)], 0, 30), ([span(5, 20)], 0, 30)], ["raised", "extended"], [(5, 20)]),
    ("late data make it shorter", [([span(0, 20)], 0, 30), ([span(5, 15)], 0, 30)], ["raised", "corrected"], [(5, 15)]),
    ("late data take it back", [([span(0, 20)], 0, 30), ([], 0, 30)], ["raised", "retracted"], []),
    (
        "what was taken back comes again as the same alarm",
        [([span(0, 20)], 0, 30), ([], 0, 30), ([span(0, 20)], 0, 30)],
        ["raised", "retracted", "restored"],
        [(0, 20)],
    ),
    (
        "late data join two alarms: the first goes on, the other is taken back",
        [([span(0, 10), span(20, 30)], 0, 40), ([span(0, 30)], 0, 40)],
        ["raised", "raised", "extended", "retracted"],
        [(0, 30)],
    ),
    (
        "late data part an alarm: the first part is it, the other is new",
        [([span(0, 30)], 0, 40), ([span(0, 10), span(20, 30)], 0, 40)],
        ["raised", "corrected", "raised"],
        [(0, 10), (20, 30)],
    ),
    (
        "what lies outside the window stays",
        [([span(0, 10)], 0, 15), ([span(50, 60)], 40, 70)],
        ["raised", "raised"],
        [(0, 10), (50, 60)],
    ),
]


@pytest.mark.parametrize(("name", "steps", "events", "left"), COURSES, ids=[case[0] for case in COURSES])
def test_the_course_of_an_alarm(
    connection: psycopg.Connection, name: str, steps: list[Any], events: list[str], left: list[tuple[float, float]]
) -> None:
    for spans, begin, end in steps:
        tell(connection, spans, begin, end)
    assert history(connection) == events
    assert [alarm[:2] for alarm in alarms(connection)] == left


def test_an_alarm_of_both_is_told_once_and_stays_while_one_of_them_lasts(connection: psycopg.Connection) -> None:
    tell(connection, [span(3, None, "device")], 0, 10, "device")
    tell(connection, [span(0, 15)], 0, 30)
    assert alarms(connection) == [(0, None, 0.1, "both")]
    tell(connection, [span(3, 20, "device")], 0, 30, "device")
    assert alarms(connection) == [(0, 20, 0.1, "both")]
    assert history(connection) == ["raised", "extended", "cleared"]


def test_the_history_is_only_added_to_and_says_what_was_known_then(connection: psycopg.Connection) -> None:
    tell(connection, [span(10, None)], 0, 20)
    tell(connection, [span(5, 30)], 0, 40)
    known = connection.execute("select raised_at, cleared_at from ops.alarm_history order by history_id").fetchall()
    assert known == [(at(10), None), (at(5), at(30))]
    for change in ("update ops.alarm_history set event = 'noted'", "delete from ops.alarm_history"):
        with pytest.raises(psycopg.errors.RaiseException, match="only added"):
            connection.execute(change)


def test_an_alarm_that_was_over_long_before_it_became_known_calls_nobody(connection: psycopg.Connection) -> None:
    tell(connection, [span(0, 20)], 0, 30)
    tell(connection, [span(0, 20, start=RECENT)], 0, 30, start=RECENT)
    told = connection.execute("select is_told from ops.alarm order by raised_at").fetchall()
    assert told == [(False,), (True,)]
    (shown,) = connection.execute("select raised_at, is_firing from ops.alarm_open").fetchall()
    assert shown == (RECENT, 1), "one that is over already is told as well, for a minute"


SETTLED = """
insert into ops.alarm (
    meter, code, severity, origin, raised_at, cleared_at, unit, first_seen_at, settled_at, is_told, acknowledged_at
)
select 'M' || number, 'P_LO', 'warning', 'device', past, past, 'MPa', past, past, true, past
from generate_series(1, 20000) as number, lateral (select now() - number * interval '1 minute' as past)"""


def test_the_ticker_does_not_read_the_alarms_that_wait_no_more(connection: psycopg.Connection) -> None:
    connection.execute(SETTLED)
    tell(connection, [span(0, None)], 0, 30)
    connection.execute("analyze ops.alarm")
    plan = connection.execute("explain select * from ops.alarm_ticker where role = 'viewer'").fetchall()
    assert "alarm_waiting_idx" in str(plan) and "Seq Scan on alarm" not in str(plan), plan
    shown = connection.execute("select meter, state from ops.alarm_ticker where role = 'viewer'").fetchall()
    assert shown == [("M1", "open")]


def test_of_two_who_acknowledge_at_once_the_first_wins(connection: psycopg.Connection) -> None:
    tell(connection, [span(0, None), span(60, None)][:1], 0, 100)
    ((alarm_id,),) = connection.execute("select alarm_id from ops.alarm").fetchall()
    (first,) = alarm_ledger.acknowledge(connection, [alarm_id], "wang", "network", "bursts")
    (second,) = alarm_ledger.acknowledge(connection, [alarm_id, 999], "li", "theft", "")
    assert (first.is_new, second.is_new, second.by) == (True, False, "wang")
    assert connection.execute("select cause, note from ops.alarm").fetchall() == [("network", "bursts")]
    assert history(connection) == ["raised", "acknowledged"]


PIECES = st.lists(
    st.tuples(st.sampled_from(["server", "device"]), st.integers(0, 40), st.integers(1, 8)),
    min_size=1,
    max_size=6,
    unique_by=lambda x: x[:2],
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES, st.randoms(use_true_random=False))
def test_whatever_became_known_first_the_alarms_are_the_same(
    connection: psycopg.Connection, pieces: list[Any], random: Any
) -> None:
    spans = [span(5 * begin, 5 * (begin + length), origin) for origin, begin, length in pieces]
    spans = [one for one in spans if not any(_later_of_same(one, other) for other in spans)]
    found = []
    for order in (spans, random.sample(spans, len(spans))):
        connection.execute("truncate ops.alarm_span, ops.alarm, ops.alarm_history cascade")
        for one in order:
            tell(
                connection,
                [one],
                (one.started_at - START).total_seconds() / 60,
                (one.until - START).total_seconds() / 60 - 1,
                one.origin,
            )
        found.append(alarms(connection))
    assert (
        found[0]
        == found[1]
        == [
            (
                (alarm.raised_at - START).total_seconds() / 60,
                (alarm.until - START).total_seconds() / 60,
                alarm.peak_value,
                alarm.origin,
            )
            for alarm in joined(spans, "below")
        ]
    )


def _later_of_same(one: Span, other: Span) -> bool:
    """Whether another span of the same origin begins within this one or before it: an origin's spans lie apart."""
    return (
        other is not one
        and other.origin == one.origin
        and other.started_at <= one.until
        and one.started_at <= other.until
        and other.started_at <= one.started_at
    )

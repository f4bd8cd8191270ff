"""Alarm events: from a terminal's alarm word to PostgreSQL, whatever is away."""

import time
from datetime import UTC, datetime, timedelta
from itertools import permutations

import psycopg

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.ops_tables import migrate, migrations
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.alarm_sink import AlarmStateMachine, AlarmWord, from_payload, insert
from ingest_daemon.journal.reader import backlog
from ingest_daemon.terminals.table import Terminal
from tests.daemon_helpers import TERMINALS, Client, Daemon, alarm_events, delivered, eventually, frame, minutes_ago, running

METER = TERMINALS[0]


def word(at: int, *active: str) -> AlarmWord:
    """An alarm word of METER."""
    return AlarmWord(METER, "device", at, at, 0, active, {})


def test_what_is_raised_and_cleared_follows_from_the_words_in_order() -> None:
    states = AlarmStateMachine([(METER, "device", datetime.fromtimestamp(1, UTC), ["MAG"])])
    assert states.apply(word(2_000_000, "MAG", "P_HI")) == [("P_HI", "raised")]
    assert states.apply(word(3_000_000, "MAG", "P_HI")) == []
    assert states.apply(word(4_000_000, "P_HI")) == [("MAG", "cleared")]
    assert states.is_late(word(3_500_000))
    assert states.apply(word(5_000_000)) == [("P_HI", "cleared")]


def test_an_alarm_word_survives_the_journal() -> None:
    told = AlarmWord(METER, "server", 1, 2, 3, ("CLOCK",), {"CLOCK": 130.5}, 120.0)
    assert from_payload(told.payload()) == told


def test_an_alarm_frame_becomes_an_event_with_value_and_limit_and_is_cleared_by_the_next_word(daemon: Daemon, dsn: str) -> None:
    write_json(daemon.site.state / "postgres.json", {"dsn": dsn}, durable=False)
    raised, cleared = minutes_ago(20), minutes_ago(10)
    client = Client(daemon.alarm_port)
    client.send(frame(METER, raised, 1, pressure_mpa=0.65, alarms=["P_HI", "MAG"]))
    client.send(frame(METER, raised, 1, pressure_mpa=0.65, alarms=["P_HI", "MAG"]))  # repeated, as terminals do
    client.send(frame(METER, cleared, 1, pressure_mpa=0.40, alarms=["MAG"]))
    client.acknowledged(3)
    eventually(lambda: len(alarm_events(dsn)) == 3, "three events")
    assert alarm_events(dsn) == [
        (METER, "MAG", "raised", raised, None, None, "", "device", f"M{METER}"),
        (METER, "P_HI", "raised", raised, 0.65, 0.60, "MPa", "device", f"M{METER}"),
        (METER, "P_HI", "cleared", cleared, 0.40, 0.60, "MPa", "device", f"M{METER}"),
    ]


def test_an_alarm_that_comes_after_a_later_word_is_told_and_does_not_stay_open(daemon: Daemon, dsn: str) -> None:
    write_json(daemon.site.state / "postgres.json", {"dsn": dsn}, durable=False)
    late, now = minutes_ago(20), minutes_ago(10)
    client = Client(daemon.alarm_port)
    client.send(frame(METER, now, 1, alarms=[]))
    client.acknowledged(1)
    client.send(frame(METER, late, 1, alarms=["MAG"]) + frame(METER, late, 1, alarms=["MAG"]))
    client.acknowledged(2)
    eventually(lambda: len(alarm_events(dsn)) == 2, "two events")
    assert [event[1:4] for event in alarm_events(dsn)] == [("MAG", "raised", late), ("MAG", "cleared", now)]


def test_in_whatever_order_the_words_of_a_terminal_come_its_alarms_are_the_same(dsn: str) -> None:
    words = [word(10_000_000, "MAG"), word(20_000_000, "MAG", "DOOR"), word(30_000_000, "DOOR"), word(40_000_000)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
        for order in permutations(words):
            connection.execute("truncate ops.alarm_event, ops.alarm_word, ops.alarm_span, ops.alarm, ops.alarm_history")
            for told in order:
                with connection.transaction():
                    insert(connection, [(told, Terminal("M"))])
            rows = connection.execute(
                "select code, extract(epoch from raised_at)::int, extract(epoch from cleared_at)::int from ops.alarm "
                "where retracted_at is null order by code"
            ).fetchall()
            assert rows == [("DOOR", 20, 40), ("MAG", 10, 30)], order


def test_what_a_version_without_words_had_told_becomes_alarms(site: Site, dsn: str) -> None:
    times = [minutes_ago(ago) for ago in (59, 55, 51)]
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    with psycopg.connect(dsn) as connection:
        migrate(connection, migrations()[:4])
        for state, at in zip(("raised", "cleared", "raised"), times, strict=True):
            connection.execute(
                "insert into ops.alarm_event values (%s, %s, 'MAG', %s, %s, now(), null, null, '', 'device', 1)",
                [METER, METER, state, at],
            )
    with running(site):
        rows = eventually(lambda: alarm_rows(dsn), "alarms")
    assert rows == [("MAG", times[0], times[1]), ("MAG", times[2], None)]


def alarm_rows(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass('ops.alarm')").fetchone() == (None,):
            return []
        return connection.execute("select code, raised_at, cleared_at from ops.alarm order by raised_at").fetchall()


def test_events_wait_for_postgresql_through_kills_and_come_once(site: Site, dsn: str) -> None:
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": "host=127.0.0.1 port=1"}, durable=False)
    daemon = Daemon(site)
    client = Client(daemon.alarm_port)
    for number in range(3):
        client.send(frame(METER, minutes_ago(30 - number), 1, alarms=["MAG"] if number % 2 == 0 else []))
        client.acknowledged(1)
    assert len(delivered(site)) == 3, "readings are not held up"
    daemon.kill()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    for _ in range(2):  # the second time with the cursor lost: the same events again are the same rows
        with running(site):
            eventually(lambda: backlog(site)["alarm-events"] == 0, "all events are delivered")
        (site.state / "forward-alarm-events.json").unlink()
    assert [event[2] for event in alarm_events(dsn)] == ["raised", "cleared", "raised"]


def test_an_alarm_appears_while_the_raw_store_is_away_and_a_backlog_of_data_waits(site: Site, dsn: str) -> None:
    site.raw.write_text("a file where the archive's folder must be")
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    with running(site) as daemon:
        data = Client(daemon.data_port)
        data.send(b"".join(frame(METER, minutes_ago(9000 - number), number, sequence=number + 1) for number in range(5000)))
        data.acknowledged(5000)
        alarm = Client(daemon.alarm_port)
        alarm.send(frame(TERMINALS[1], minutes_ago(1), 1, alarms=["BATT"], battery_v=3.1))
        alarm.acknowledged(1)
        (event,) = eventually(lambda: alarm_events(dsn), "the event")
        assert event[:3] == (TERMINALS[1], "BATT", "raised")
        assert backlog(site)["data"] > 0


def test_a_wrong_device_clock_is_an_event_of_the_server_and_cleared_when_it_is_right_again(daemon: Daemon, dsn: str) -> None:
    write_json(daemon.site.state / "postgres.json", {"dsn": dsn}, durable=False)
    client = Client(daemon.data_port)
    for number, behind in enumerate((600, 600, 0, 0)):
        sent = datetime.now(UTC) - timedelta(seconds=behind)
        client.send(frame(METER, minutes_ago(30 - number), number, sent_at=sent))
        client.acknowledged(1)
        delivered(daemon.site)
    eventually(lambda: len(alarm_events(dsn)) == 2, "raised and cleared")
    wrong, right = alarm_events(dsn)
    assert (wrong[1:3], wrong[5:8]) == (("CLOCK", "raised"), (120.0, "s", "server"))
    assert right[1:3] == ("CLOCK", "cleared")
    assert abs(wrong[4] - 600) < 60
    assert abs(right[4]) < 60
    assert time.time() - wrong[3].timestamp() < 60

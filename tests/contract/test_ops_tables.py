"""Schema `ops` comes to today's version from every former one, and nothing in it is lost on the way."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from ingest_daemon.contract import ops_tables, ownership
from ingest_daemon.contract.latest_reading import COLUMNS
from ingest_daemon.contract.ops_tables import Migration, NewerSchema, migrate, migrations

ALARM_EVENT = """
create schema if not exists ops;
create table if not exists ops.alarm_event (
    meter text not null, terminal text not null, code text not null,
    state text not null check (state in ('raised', 'cleared')),
    event_at timestamptz not null, received_at timestamptz not null, value double precision, limit_value double precision,
    unit text not null, origin text not null check (origin in ('device', 'server')), frame bigint not null,
    primary key (terminal, code, state, event_at)
)"""
LATEST_READING = """
create table if not exists ops.latest_reading (
    terminal text primary key, meter text not null, ts timestamptz not null, forward_m3 double precision,
    reverse_m3 double precision, flow_m3h double precision, pressure_mpa double precision, battery_v double precision,
    signal bigint, status bigint, received_at timestamptz not null, channel text not null, stream text not null,
    frame bigint not null, updated_at timestamptz not null
)"""
SITE = """
create table if not exists ops.site (only_row boolean primary key default true check (only_row), site_id text not null)"""
BOARDS = "grant usage on schema ops to mainflow_board; grant select on ops.alarm_event to mainflow_board"

FORMER = {
    "nothing": [],
    "alarm events": [ALARM_EVENT],
    "latest readings": [ALARM_EVENT, LATEST_READING],
    "the site's number": [ALARM_EVENT, LATEST_READING, SITE],
    "rights of boards": [ALARM_EVENT, BOARDS, LATEST_READING, SITE],
    "only the site's number": ["create schema ops", SITE],
}
"""Statements with which versions before there were numbers made schema `ops`."""

EVENT = "insert into ops.alarm_event values ('M1', 'T1', 'P_LO', 'raised', '2026-01-01', '2026-01-01', 1, 2, 'MPa', 'device', 7)"


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    """An administrator's connection to a database without schema `ops`, with the roles of boards and of somebody else."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in ("mainflow_board", "somebody"):
            if not connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                connection.execute(f"create role {role}")
        yield connection


def versions(connection: psycopg.Connection) -> list[int]:
    return [number for (number,) in connection.execute("select number from ops.schema_version order by 1")]


def columns(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select table_name, column_name, data_type, is_nullable from information_schema.columns where table_schema = 'ops' "
        "and table_name <> 'mine' order by table_name, ordinal_position"
    ).fetchall()


@pytest.mark.parametrize("former", FORMER.values(), ids=FORMER)
def test_every_former_version_comes_to_today_with_its_rows_rights_and_views(
    connection: psycopg.Connection, former: list[str]
) -> None:
    migrate(connection)
    today = columns(connection)
    connection.execute("drop schema ops cascade")
    for statement in former:
        connection.execute(statement)
    if had_events := ALARM_EVENT in former:
        connection.execute(EVENT)
        connection.execute("create view ops.mine as select meter from ops.alarm_event")
        connection.execute("grant usage on schema ops to somebody; grant select on ops.alarm_event, ops.mine to somebody")
    for _ in range(2):
        migrate(connection)
        assert versions(connection) == [file.number for file in migrations()]
        assert columns(connection) == today
    if had_events:
        connection.execute("set role somebody")
        assert connection.execute("select meter from ops.mine join ops.alarm_event using (meter)").fetchall() == [("M1",)]
        connection.execute("reset role")
    connection.execute("set role mainflow_board")
    assert connection.execute("select count(*) from ops.alarm_event").fetchone() == (int(had_events),)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from ops.site")
    connection.execute("reset role")


def test_the_table_of_latest_readings_has_the_columns_that_are_written(connection: psycopg.Connection) -> None:
    migrate(connection)
    named = {column: kind for table, column, kind, _ in columns(connection) if table == "latest_reading"}
    written = {name: kind.replace("timestamptz", "timestamp with time zone") for name, kind in COLUMNS.items()}
    assert named == {**written, "updated_at": "timestamp with time zone"}


def test_of_several_starters_at_once_each_finds_every_file_applied_once(dsn: str) -> None:
    counted = Migration(99, "counted", "create table if not exists ops.count (n int); insert into ops.count values (1)")
    starters = 6
    together = threading.Barrier(starters)

    def start(_: int) -> None:
        with psycopg.connect(dsn) as connection:
            together.wait(30)
            migrate(connection, (*migrations(), counted))

    with ThreadPoolExecutor(starters) as pool:
        list(pool.map(start, range(starters)))
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from ops.count").fetchone() == (1,)


def test_a_file_that_fails_leaves_those_before_it_and_nothing_of_itself(dsn: str) -> None:
    good = Migration(98, "good", "create table ops.good (n int)")
    bad = Migration(99, "bad", "create table ops.bad (n int); select 1 / 0")
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.DivisionByZero):
        migrate(connection, (*migrations(), good, bad))
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select to_regclass('ops.good') is null, to_regclass('ops.bad') is null").fetchone()
        assert found == (False, True)
        assert versions(connection)[-1] == 98


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(dsn: str) -> None:
    newer = Migration(99, "of_tomorrow", "create table ops.tomorrow (n int)")
    with psycopg.connect(dsn) as connection:
        migrate(connection, (*migrations(), newer))
        before = columns(connection)
        newest = migrations()[-1].number
        with pytest.raises(NewerSchema, match=rf"has version 99 \(of_tomorrow\), this Mainflow knows {newest}: install"):
            ownership.claim(connection, "one")
        assert columns(connection) == before
        assert connection.execute("select count(*) from ops.site").fetchone() == (0,)


def test_a_file_that_was_changed_after_it_was_applied_is_named(
    dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_tables, "_LIMITED", ops_tables.RateLimitedLog())
    changed = [file._replace(statements=file.statements + "-- a word\n") for file in migrations()[:1]] + [*migrations()[1:]]
    with psycopg.connect(dsn) as connection, caplog.at_level(logging.WARNING, "mainflow"):
        migrate(connection)
        assert not caplog.messages
        migrate(connection, changed)
    (message,) = caplog.messages
    assert message.startswith("schema ops: 0001_alarm_event: was applied with other content")


def test_a_user_who_may_only_write_needs_no_more_until_there_is_a_new_file(connection: psycopg.Connection) -> None:
    migrate(connection)
    connection.execute("grant usage on schema ops to somebody; grant insert, select on ops.alarm_event to somebody")
    connection.execute("set role somebody")
    migrate(connection)
    connection.execute(EVENT)
    with pytest.raises(psycopg.OperationalError, match=r"needs 0099_new, and user .* may not change it"):
        migrate(connection, (*migrations(), Migration(99, "new", "create table ops.new (n int)")))
    connection.execute("reset role")


def test_a_database_of_another_site_is_not_migrated(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create schema ops")
        connection.execute(SITE)
        connection.execute("insert into ops.site (site_id) values ('other')")
        connection.commit()
        with pytest.raises(ownership.ForeignDatabase):
            ownership.claim(connection, "one")
        assert connection.execute("select to_regclass('ops.schema_version')").fetchone() == (None,)

"""What is served is what was computed, to the last digit, and a reader never sees half of it. Against a real PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import psycopg
import pytest

from assets import publication, tables
from assets.marts import Partitions
from assets.warehouse import has_table
from ingest_daemon.contract.site import Site
from pipelines.postgres import embedded
from tests.figures import empty_warehouse

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, SECOND = date(2025, 6, 1), date(2025, 6, 2)
NAMES = [
    "东方化工有限公司",
    'a "quoted", name',
    "line\nbreak",
    "tab\tand \\ backslash",
    "O'Brien",
    " spaces ",
    "NULL",
    "\\N",
    "",
    "😀",
    None,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(Site(tmp_path_factory.mktemp("site")), 0) as dsn:
        yield dsn


@pytest.fixture
def dsn(server: str) -> str:
    """The server without anything published."""
    with psycopg.connect(server) as connection:
        connection.execute("drop schema if exists mart cascade")
    return server


@contextmanager
def warehouse(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Two days of two meters in the marts that differ in how they are cut, with all that is hard to copy."""
    with empty_warehouse(tmp_path / "marts.duckdb", [FIRST, SECOND], ZONE) as connection:
        for day in (FIRST, SECOND):
            at = datetime(day.year, day.month, day.day, tzinfo=ZONE)
            for meter, volume in (("M1", 0.1 + 0.2), ("表二", None)):
                insert(
                    connection,
                    "daily_usage",
                    meter=meter,
                    day=day,
                    volume_m3=volume,
                    coverage=1 / 3,
                    complete=volume is not None,
                    clean=True,
                )
                insert(connection, "usage_comparison", meter=meter, grain="day", period=day, volume_m3=volume, change_pct=-1e-17)
                for hour in range(24):
                    insert(
                        connection,
                        "hourly_coefficient",
                        meter=meter,
                        hour_start=at + timedelta(hours=hour),
                        day=day,
                        coefficient=hour / 7,
                    )
        insert(connection, "usage_comparison", meter="M1", grain="month", period=FIRST, volume_m3=1e15 + 0.5)
        insert(
            connection,
            "interval_reading",
            meter="M1",
            interval_end=datetime(2025, 6, 1, 0, 0, 0, 123457, UTC),
            day=FIRST,
            flags=1 << 40,
        )
        insert(
            connection,
            "interval_reading",
            meter="M1",
            interval_end=datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
            day=FIRST,
            flags=-1,
        )
        for number, name in enumerate(NAMES):
            insert(connection, "customer", customer_no=f"C{number}", name=name, meters=number, source="registry")
        yield connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    places = ", ".join("?" for _ in row)
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", list(row.values())).fetchall()


def prepare(connection: duckdb.DuckDBPyConnection, *days: date) -> Partitions:
    partitions = Partitions(days, ZONE)
    tables.prepare(connection, partitions, every_bill=False)
    return partitions


def computed(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that is served, as DuckDB has it, rows in an order of Python's."""
    connection.execute("set timezone = 'UTC'").fetchall()
    found = {}
    for name, _, _ in publication.published_tables():
        if has_table(connection, name):
            found[name] = sorted(connection.execute(f"select * from {name}").fetchall(), key=repr)
    return found


def served(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    with psycopg.connect(dsn) as connection:
        connection.execute("set time zone 'UTC'")
        names = connection.execute("select table_name from information_schema.tables where table_schema = 'mart'").fetchall()
        for (name,) in names:
            found[name] = sorted(connection.execute(f'select * from mart."{name}"').fetchall(), key=repr)
    return found


def plain(content: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Instants in one kind of UTC, so that two drivers' rows compare and sort alike."""

    def cell(value: Any) -> Any:
        return value.astimezone(UTC) if isinstance(value, datetime) else value

    return {name: sorted((tuple(map(cell, row)) for row in rows), key=repr) for name, rows in content.items()}


def test_what_is_served_equals_what_was_computed(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        rows = publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        wanted = plain(computed(connection))
    assert plain(served(dsn)) == wanted
    assert rows == sum(map(len, wanted.values()))
    assert {name for name, kept in wanted.items() if kept} >= {
        "daily_usage",
        "hourly_coefficient",
        "usage_comparison",
        "customer",
        "interval_reading",
    }


def test_published_again_nothing_changes(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        before = served(dsn)
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        publication.publish(connection, dsn, prepare(connection, SECOND))
    assert served(dsn) == before


def test_only_touched_partitions_are_replaced_and_these_as_a_whole(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        connection.execute("update daily_usage set volume_m3 = 7 where meter = 'M1'").fetchall()
        connection.execute("delete from daily_usage where meter = '表二'").fetchall()
        connection.execute("update usage_comparison set volume_m3 = 8 where grain = 'day'").fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND))
    with psycopg.connect(dsn) as reader:
        usage = reader.execute("select meter, day, volume_m3 from mart.daily_usage order by day, meter").fetchall()
        compared = reader.execute(
            "select period, volume_m3 from mart.usage_comparison where grain = 'day' and meter = 'M1' order by 1"
        ).fetchall()
    assert usage == [("M1", FIRST, 0.1 + 0.2), ("表二", FIRST, None), ("M1", SECOND, 7.0)]
    assert compared == [(FIRST, 0.1 + 0.2), (SECOND, 8.0)]


def test_a_reader_sees_all_tables_before_or_all_after(tmp_path: Path, dsn: str) -> None:
    """A reader of its own connection asks before each table is copied: until the commit it sees the old figures everywhere."""
    query = (
        "select (select sum(volume_m3) from mart.daily_usage),"
        " (select sum(coefficient) from mart.hourly_coefficient), (select count(*) from mart.customer)"
    )
    with warehouse(tmp_path) as connection, psycopg.connect(dsn, autocommit=True) as reader:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        reader.execute("set lock_timeout = '5s'")
        before = reader.execute(query).fetchone()
        for change in (
            "update daily_usage set volume_m3 = volume_m3 + 100",
            "update hourly_coefficient set coefficient = coefficient + 1",
            "delete from customer where meters > 3",
        ):
            connection.execute(change).fetchall()
        seen: list[Any] = []
        publication.publish(
            connection, dsn, prepare(connection, FIRST, SECOND), lambda _: seen.append(reader.execute(query).fetchone())
        )
        after = reader.execute(query).fetchone()
    assert len(seen) > 10
    assert set(seen) == {before}
    assert before
    assert after
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_failure_on_the_way_leaves_what_was_served(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        before = served(dsn)
        connection.execute("update daily_usage set volume_m3 = 7").fetchall()
        copied: list[str] = []

        def power_cut(table: str) -> None:
            if table == "usage_comparison":
                raise KeyboardInterrupt
            copied.append(table)

        with pytest.raises(KeyboardInterrupt):
            publication.publish(connection, dsn, prepare(connection, FIRST, SECOND), power_cut)
    assert "daily_usage" in copied
    assert served(dsn) == before


@pytest.mark.parametrize(
    "change",
    [
        "alter table daily_usage add column night_m3 double",
        "alter table daily_usage drop column clean",
        "alter table daily_usage alter coverage type bigint",
    ],
)
def test_a_table_whose_columns_changed_is_made_anew_and_whole(tmp_path: Path, dsn: str, change: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        connection.execute(change).fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND))
        wanted = plain(computed(connection))
    assert plain(served(dsn)) == wanted


def test_the_first_publication_brings_the_whole_history(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, SECOND))
        wanted = plain(computed(connection))
    assert plain(served(dsn)) == wanted


def test_an_absent_server_is_an_error_and_not_a_silent_success(tmp_path: Path) -> None:
    with warehouse(tmp_path) as connection, pytest.raises(psycopg.OperationalError):
        publication.publish(connection, "host=127.0.0.1 port=1 user=nobody connect_timeout=2", prepare(connection, FIRST))


def test_a_server_that_already_runs_is_used_and_left_running(tmp_path: Path) -> None:
    with embedded(Site(tmp_path), 0) as outer:
        with embedded(Site(tmp_path), 0) as inner:
            assert inner == outer
        with psycopg.connect(outer) as connection:
            assert connection.execute("select 1").fetchone() == (1,)

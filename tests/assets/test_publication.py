"""What is served is what was computed, to the last digit, and a reader never sees half of it. Against a real PostgreSQL."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import psycopg
import pytest
from psycopg import sql

from assets import publication, serving
from assets.partitions import Partitions
from assets.warehouse import has_table
from ingest_daemon.contract.settings import SettingError
from ingest_daemon.contract.site import Site
from pipelines.processes.postgres import embedded
from pipelines.settings import load
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
    """Of the superuser, so that tests can make roles of others."""
    site = Site(tmp_path_factory.mktemp("site"))
    with embedded(site, 0) as dsn:
        word = json.loads((site.state / "postgres-roles.json").read_text())["postgres"]
        yield re.sub(r"user=\S+ password=\S+", f"user=postgres password={word}", dsn)


@pytest.fixture
def dsn(server: str) -> str:
    """The server without anything published."""
    with psycopg.connect(server) as connection:
        connection.execute("drop schema if exists mart, mart_range, rights, out_v1 cascade")
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
            "unit_interval",
            meter="M1",
            day=FIRST,
            starts_at=datetime(2025, 5, 31, 16, tzinfo=UTC),
            end_ms=[900_123, 1_800_000],
            length_ms=[900_123, 0],
            volume_nl=[123_456_789_012_345, None],
            reverse_nl=[None, 1],
            pressure_pa=[300_000, None],
            register_ul=[4_520_300_000_000, None],
            device_flow_m3h=[1 / 3, None],
            flags=[0, 1 << 11],
        )
        for number, name in enumerate(NAMES):
            insert(connection, "customer", customer_no=f"C{number}", name=name, meters=number, source="registry")
        yield connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    places = ", ".join("?" for _ in row)
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", list(row.values())).fetchall()


def prepare(connection: duckdb.DuckDBPyConnection, *days: date) -> Partitions:
    partitions = Partitions(days, ZONE)
    partitions.prepare(connection)
    return partitions


def computed(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that is served, as DuckDB has it, rows in an order of Python's."""
    connection.execute("set timezone = 'UTC'").fetchall()
    serving.create_in_warehouse(connection, str(ZONE))
    found = {}
    for name in (
        "interval_reading",
        *(view.name for view in serving.views()),
        *(name for name, _, _ in publication.published_tables()),
    ):
        if has_table(connection, name):
            found[name] = sorted(connection.execute(f"select * from {name}").fetchall(), key=repr)
    return found


def served(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        connection.execute("set time zone 'UTC'")
        names = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'mart' and table_name <> 'published'"
        ).fetchall()
        return {name: rows(connection, name) for (name,) in names}


def rows(connection: psycopg.Connection, name: str) -> list[tuple[Any, ...]]:
    """All rows of a served table."""
    return sorted(connection.execute(f'select * from mart."{name}"').fetchall(), key=repr)


def plain(content: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Instants in one kind of UTC, so that two drivers' rows compare and sort alike."""

    def cell(value: Any) -> Any:
        return value.astimezone(UTC) if isinstance(value, datetime) else value

    return {name: sorted((tuple(map(cell, row)) for row in rows), key=repr) for name, rows in content.items()}


def test_what_is_served_equals_what_was_computed(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        copied = publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        wanted = plain(computed(connection))
    assert plain(served(dsn)) == wanted
    assert copied == sum(len(rows) for name, rows in wanted.items() if name not in ("interval_reading", "latest_status"))
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
def test_a_table_whose_columns_changed_is_altered_and_copied_whole(tmp_path: Path, dsn: str, change: str) -> None:
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


# Tables live on

CHANGES = {
    "a column comes": "alter table daily_usage add column night_m3 double",
    "a column goes": "alter table daily_usage drop column clean",
    "a number becomes exact": "alter table daily_usage alter coverage type decimal(18, 3)",
    "a type that PostgreSQL cannot cast": "alter table daily_usage alter complete type date using date '2025-06-01'",
}
OTHERS = """
drop role if exists somebody;
create role somebody nologin;
grant usage on schema mart to somebody;
grant select on mart.daily_usage to somebody;
alter table mart.daily_usage enable row level security;
create policy only_m1 on mart.daily_usage for select to somebody using (meter = 'M1');
create view public.mine as select meter, day, volume_m3 from mart.daily_usage;
"""


@pytest.fixture
def others(dsn: str) -> Iterator[None]:
    """Takes away what `OTHERS` made."""
    yield
    with psycopg.connect(dsn) as connection:
        connection.execute("drop view if exists public.mine cascade; drop schema mart cascade; drop role somebody")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_grants_policies_and_views_of_others_survive_a_new_version(tmp_path: Path, dsn: str, change: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        with psycopg.connect(dsn) as other:
            other.execute(OTHERS)
        connection.execute(change).fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND))
        wanted = plain(computed(connection))["daily_usage"]
    assert plain(served(dsn))["daily_usage"] == wanted
    with psycopg.connect(dsn) as reader:
        assert reader.execute("select count(*) from public.mine").fetchone() == (4,)
        reader.execute("set role somebody")
        assert reader.execute("select distinct meter from mart.daily_usage").fetchall() == [("M1",)]


def test_views_of_the_output_contract_and_what_others_built_on_them_outlive_an_altered_table(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        at = datetime(2025, 6, 1, tzinfo=ZONE)
        insert(connection, "hourly_usage", meter="M1", hour_start=at, day=FIRST, volume_m3=1.5, coverage=1.0, clean=True)
        publication.publish(connection, dsn, prepare(connection, FIRST))
        with psycopg.connect(dsn) as other:
            other.execute("create view public.theirs as select meter, volume_m3 from out_v1.hourly_volumes")
        connection.execute("alter table hourly_usage alter coverage type decimal(18, 3)").fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        assert reader.execute("select * from public.theirs").fetchall() == [("M1", 1.5)]
        reader.execute("set role mainflow_reader")
        assert reader.execute("select hour_start, coverage from out_v1.hourly_volumes").fetchall() == [(at, 1.0)]


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    "change", ["alter table daily_usage drop column volume_m3", "alter table daily_usage alter volume_m3 type decimal(18, 3)"]
)
def test_a_view_of_somebody_else_that_uses_the_column_is_named_and_stops_nothing_else(
    tmp_path: Path, dsn: str, change: str
) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        before = served(dsn)
        with psycopg.connect(dsn) as other:
            other.execute(OTHERS)
        connection.execute(change).fetchall()
        connection.execute("update hourly_coefficient set coefficient = 5").fetchall()
        with pytest.raises(
            publication.Hindered, match=r"mart\.daily_usage keeps its old .*view (public\.)?mine.* next publication"
        ):
            publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        after = served(dsn)
        assert after["daily_usage"] == before["daily_usage"]
        assert {row[-1] for row in after["hourly_coefficient"]} == {5.0}
        with psycopg.connect(dsn) as other:
            other.execute("drop view public.mine")
        connection.execute("update daily_usage set coverage = 0.5").fetchall()
        publication.publish(connection, dsn, prepare(connection))
        assert plain(served(dsn))["daily_usage"] == plain(computed(connection))["daily_usage"]


def test_a_renewed_table_is_replaced_whole(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        connection.execute("update daily_usage set volume_m3 = 7").fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND), renewed=["daily_usage"])
        assert plain(served(dsn))["daily_usage"] == plain(computed(connection))["daily_usage"]


def test_a_table_without_partitions_is_only_rewritten_where_its_content_changed(tmp_path: Path, dsn: str) -> None:
    query = "select distinct xmin::text from mart.customer"

    def written_by() -> list[tuple[str]]:
        with psycopg.connect(dsn) as reader:
            return reader.execute(query).fetchall()

    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST))
        first = written_by()
        connection.execute("create or replace table customer as select * from customer order by meters desc").fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST))
        assert written_by() == first
        connection.execute("update customer set address = 'somewhere' where meters = 3").fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST))
        assert written_by() != first
        assert plain(served(dsn))["customer"] == plain(computed(connection))["customer"]


# Native partitions

KEPT_BY_OTHERS = """
comment on table mart.daily_usage is 'read by the control room';
grant select (meter) on mart.daily_usage to public;
create view public.on_mine with (security_invoker = true) as select meter from public.mine;
"""
"""Beside `OTHERS`."""


def ranges_of(dsn: str, table: str) -> list[str]:
    with psycopg.connect(dsn) as reader:
        query = "select relname from pg_inherits join pg_class on oid = inhrelid where inhparent = to_regclass(%s) order by 1"
        return [name for (name,) in reader.execute(query, [f"mart.{table}"])]


def test_great_tables_are_cut_by_month_and_served_as_computed(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND), partitioned=True)
        assert plain(served(dsn)) == plain(computed(connection))
        insert(connection, "daily_usage", meter="M1", day=date(2025, 7, 1), volume_m3=1.5)
        connection.execute("update hourly_coefficient set coefficient = 5").fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND, date(2025, 7, 1)), partitioned=True)
        connection.execute("update hourly_coefficient set coefficient = hour(hour_start) / 7 where day = '2025-06-01'").fetchall()
    found = plain(served(dsn))
    assert {row[-1] for row in found["hourly_coefficient"] if row[2] == SECOND} == {5.0}
    assert ranges_of(dsn, "daily_usage") == ["daily_usage_202506", "daily_usage_202507"]
    for name in ("hourly_coefficient", "unit_interval", "usage_comparison"):
        assert ranges_of(dsn, name) == [f"{name}_202506"]
    assert ranges_of(dsn, "customer") == []


@pytest.mark.usefixtures("others")
def test_a_site_that_wants_partitions_loses_no_row_and_nothing_that_others_built(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        with psycopg.connect(dsn) as other:
            other.execute(OTHERS + KEPT_BY_OTHERS)
        before = served(dsn)
        publication.publish(connection, dsn, prepare(connection), partitioned=True)
        assert served(dsn) == before
        insert(connection, "daily_usage", meter="M1", day=date(2025, 7, 1), volume_m3=1.5)
        connection.execute("update daily_usage set coverage = 0.5").fetchall()
        publication.publish(connection, dsn, prepare(connection, SECOND, date(2025, 7, 1)), partitioned=True)
        publication.publish(connection, dsn, prepare(connection, FIRST), partitioned=False)
        assert plain(served(dsn)) == plain(computed(connection))
    assert ranges_of(dsn, "daily_usage") == ["daily_usage_202507", "daily_usage_before"]
    with psycopg.connect(dsn) as reader:
        assert reader.execute("select count(*) from public.mine").fetchone() == (5,)
        assert reader.execute("select reloptions from pg_class where relname = 'on_mine'").fetchone() == (
            ["security_invoker=true"],
        )
        comment = reader.execute("select obj_description('mart.daily_usage'::regclass)").fetchone()
        assert comment == ("read by the control room",)
        reader.execute("set role somebody")
        assert reader.execute("select distinct meter from mart.daily_usage").fetchall() == [("M1",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("select * from mart_range.daily_usage_before")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("hanging", "named"),
    [
        ("create materialized view mart.stored as select meter from mart.daily_usage", r"materialized view mart\.stored"),
        (
            "create function mart.counted() returns bigint begin atomic select count(*) from mart.daily_usage; end",
            r"function mart\.counted\(\)",
        ),
    ],
    ids=["a materialized view", "a function that PostgreSQL has read"],
)
def test_what_cannot_be_carried_over_is_named_and_its_table_stays_as_it_is(
    tmp_path: Path, dsn: str, hanging: str, named: str
) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        with psycopg.connect(dsn) as other:
            other.execute(OTHERS + hanging)
        with pytest.raises(publication.Hindered, match=named):
            publication.publish(connection, dsn, prepare(connection), partitioned=True)
        assert plain(served(dsn))["daily_usage"] == plain(computed(connection))["daily_usage"]
    assert ranges_of(dsn, "daily_usage") == []
    assert ranges_of(dsn, "hourly_coefficient") == ["hourly_coefficient_before"]


def test_months_of_intervals_that_are_not_kept_go_as_soon_as_nobody_reads_and_come_back_when_wanted(
    tmp_path: Path, dsn: str
) -> None:
    def days() -> tuple[date, int, int]:
        with psycopg.connect(dsn) as reader:
            row = reader.execute("select min(day), count(distinct day), count(*) from mart.unit_interval").fetchone()
            assert row
            return row

    with warehouse(tmp_path) as connection:
        add_intervals(connection, 40)
        publication.publish(connection, dsn, prepare(connection, FIRST), partitioned=True)
        whole, until = days(), ranges_of(dsn, "unit_interval")
        with psycopg.connect(dsn) as reader:
            reader.execute("select count(*) from mart.unit_interval")
            publication.publish(connection, dsn, prepare(connection), interval_days=5, partitioned=True)
            assert days() == whole
        publication.publish(connection, dsn, prepare(connection), interval_days=5, partitioned=True)
        assert ranges_of(dsn, "unit_interval") == until[-2:]
        assert days()[0] == date(2025, 5, 1)
        publication.publish(connection, dsn, prepare(connection), interval_days=100, partitioned=True)
        assert (days(), ranges_of(dsn, "unit_interval")) == (whole, until)


# Types and values


def test_amounts_and_wide_sums_are_served_exactly(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        connection.execute("alter table customer add column owed decimal(18, 2) default 1234567890123456.07").fetchall()
        connection.execute(
            "alter table customer add column total hugeint default 170141183460469231731687303715884105727"
        ).fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        found = reader.execute("select distinct owed::text, total::text from mart.customer").fetchall()
        kind = reader.execute("select format_type(atttypid, atttypmod) from pg_attribute where attname = 'owed'").fetchone()
    assert found == [("1234567890123456.07", "170141183460469231731687303715884105727")]
    assert kind == ("numeric(18,2)",)


def test_a_type_that_cannot_be_published_is_named_with_its_column(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        connection.execute("alter table customer add column place struct(x double)").fetchall()
        with pytest.raises(ValueError, match=r"customer\.place has type STRUCT.*allowed: DECIMAL"):
            publication.publish(connection, dsn, prepare(connection, FIRST))


REFUSED = {
    "NUL in a text": ("update customer set name = 'a' || chr(0) where customer_no = 'C3'", "customer", "name", "null", "C3"),
    "infinite": ("update daily_usage set coverage = 'inf' where meter = 'M1'", "daily_usage", "coverage", "null", "M1"),
    "not a number": ("update daily_usage set coverage = 'nan' where meter = 'M1'", "daily_usage", "coverage", "null", "M1"),
    "NUL in a key": (
        "update customer set customer_no = 'C' || chr(0) where meters = 3",
        "customer",
        "customer_no",
        "left out",
        "C",
    ),
    "a key too long": (
        "update customer set customer_no = repeat('9', 5000) where meters = 3",
        "customer",
        "customer_no",
        "left out",
        "9",
    ),
}


@pytest.mark.parametrize(("change", "table", "column", "fate", "key"), REFUSED.values(), ids=REFUSED)
def test_a_value_that_postgresql_refuses_costs_its_cell_or_row_and_is_named(
    tmp_path: Path, dsn: str, caplog: pytest.LogCaptureFixture, change: str, table: str, column: str, fate: str, key: str
) -> None:
    with warehouse(tmp_path) as connection:
        connection.execute(change).fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST, SECOND))
        wanted = plain(computed(connection))
    found = plain(served(dsn))
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"mart.{table}" in warning and f"column {column}" in warning and fate in warning and key in warning
    same = [row for row in wanted[table] if row in found[table]]
    assert len(found[table]) == len(wanted[table]) - (fate == "left out")
    assert len(same) == len(wanted[table]) - (1 if table == "customer" else 2)
    assert {name: rows for name, rows in found.items() if name != table} == {
        name: rows for name, rows in wanted.items() if name != table
    }


# Intervals


def add_intervals(connection: duckdb.DuckDBPyConnection, days: int) -> None:
    """A year of quarter hours of two meters up to `FIRST`, every tenth interval a hole."""
    connection.execute(
        f"""insert into unit_interval by name
        select meter, date '{FIRST}' - d as day, timezone('Asia/Shanghai', cast(date '{FIRST}' - d as timestamp)) as starts_at,
            [cast(i * 900000 as integer) for i in range(1, 97)] as end_ms,
            [cast(900000 as integer) for i in range(1, 97)] as length_ms,
            [case when i % 10 <> 0 then i * d * 1000000001 end for i in range(1, 97)] as volume_nl,
            [cast(null as bigint) for i in range(1, 97)] as reverse_nl,
            [cast(i * d as integer) for i in range(1, 97)] as pressure_pa,
            [cast(i * d as bigint) for i in range(1, 97)] as register_ul,
            [cast(i / 7 as double) for i in range(1, 97)] as device_flow_m3h,
            [cast(if(i % 10 = 0, 1, 0) as integer) for i in range(1, 97)] as flags
        from (select cast(range as integer) as d from range(1, {days})), (values ('M1'), ('M2')) as meters (meter)"""
    ).fetchall()


def test_intervals_are_served_compact_and_read_with_the_columns_of_the_warehouse(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        add_intervals(connection, 40)
        copied = publication.publish(connection, dsn, prepare(connection, FIRST))
        wanted = plain(computed(connection))
        described = connection.execute("describe interval_reading").fetchall()
    assert plain(served(dsn))["interval_reading"] == wanted["interval_reading"]
    assert len(wanted["interval_reading"]) > 7000 > copied
    with psycopg.connect(dsn) as reader:
        kinds = reader.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = 'mart.interval_reading'::regclass order by attnum"
        ).fetchall()
    assert kinds == [(name, publication.TYPES[kind]) for name, kind, *_ in described]


def test_a_span_of_one_meter_is_found_by_meter_and_day(tmp_path: Path, dsn: str) -> None:
    """Also where the span begins and ends within a day, whatever the zone of the session."""
    start, end = datetime(2025, 5, 1, 23, 10, tzinfo=ZONE), datetime(2025, 5, 8, 0, 0, tzinfo=ZONE)
    query = "select * from mart.intervals('M1', %s, %s) order by interval_end"
    slow = "select * from mart.interval_reading where meter = 'M1' and interval_end between %s and %s order by interval_end"
    with warehouse(tmp_path) as connection:
        add_intervals(connection, 400)
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
            reader.execute(f"set time zone '{zone}'")
            found = reader.execute(query, [start, end]).fetchall()
            assert found == reader.execute(slow, [start, end]).fetchall()
            assert len(found) == 6 * 96 + 4
        reader.execute("set enable_seqscan = off")
        plan = "\n".join(line for (line,) in psycopg.ClientCursor(reader).execute("explain " + query, [start, end]))
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert (
        "unit_interval_meter_day_idx" in plan and "meter = 'M1'" in condition and "day >=" in condition and "day <=" in condition
    )


def test_only_so_many_days_of_intervals_are_kept_and_more_come_back_when_wanted(tmp_path: Path, dsn: str) -> None:
    def kept() -> tuple[date, int]:
        with psycopg.connect(dsn) as reader:
            row = reader.execute("select min(day), count(distinct day) from mart.unit_interval").fetchone()
            assert row
            return row

    with warehouse(tmp_path) as connection:
        add_intervals(connection, 40)
        for days, touched in ((10, [FIRST]), (5, [FIRST]), (20, []), (20, [FIRST - timedelta(days=30)])):
            publication.publish(connection, dsn, prepare(connection, *touched), interval_days=days)
            assert kept() == (FIRST - timedelta(days=days), days + 1)


def test_rows_of_intervals_of_an_older_version_become_a_view(tmp_path: Path, dsn: str) -> None:
    with psycopg.connect(dsn) as other:
        other.execute("create schema mart; create table mart.interval_reading (meter text, day date)")
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST))
        assert plain(served(dsn))["interval_reading"] == plain(computed(connection))["interval_reading"]


@pytest.mark.usefixtures("others")
def test_a_view_on_intervals_survives_new_columns_and_a_policy_holds_through_it(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        add_intervals(connection, 3)
        publication.publish(connection, dsn, prepare(connection, FIRST))
        with psycopg.connect(dsn) as other:
            other.execute(OTHERS.replace("daily_usage", "unit_interval").replace("volume_m3", "starts_at"))
            other.execute("grant select on mart.interval_reading to somebody")
            other.execute("create view mart.theirs as select meter, volume_m3 from mart.interval_reading")
        connection.execute("alter table unit_interval alter pressure_pa type bigint[]").fetchall()
        connection.execute("alter table unit_interval add column source varchar").fetchall()
        publication.publish(connection, dsn, prepare(connection, FIRST))
        assert plain(served(dsn))["interval_reading"] == plain(computed(connection))["interval_reading"]
    with psycopg.connect(dsn) as reader:
        assert reader.execute("select count(distinct meter) from mart.theirs").fetchone() == (2,)
        reader.execute("set role somebody")
        assert reader.execute("select distinct meter from mart.interval_reading").fetchall() == [("M1",)]
        span = "select distinct meter from mart.intervals({}, '2025-01-01', '2026-01-01')"
        assert reader.execute(span.format("'M1'")).fetchall() == [("M1",)]
        assert reader.execute(span.format("'M2'")).fetchall() == []


# Functions


def test_functions_have_the_columns_of_their_headers_and_boards_may_call_them(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST))
        with psycopg.connect(dsn) as other:
            other.execute("revoke execute on all functions in schema mart from public")
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        query = (
            "select proname, cast(cast(proargtypes as regtype[]) as text[]) from pg_proc "
            "where pronamespace = 'mart'::regnamespace"
        )
        arguments = dict(reader.execute(query).fetchall())
    assert {function.name for function in serving.functions()} == set(arguments)
    with psycopg.connect(dsn, autocommit=True) as reader:
        reader.execute("set role mainflow_board")
        for function in serving.functions():
            nulls = ", ".join(f"null::{kind}" for kind in arguments[function.name])
            described = reader.execute(f"select * from mart.{function.name}({nulls})").description
            assert described is not None
            assert [column.name for column in described] == list(function.columns)
            assert len(function.parameters) == nulls.count("null::")


def test_a_function_of_another_version_is_replaced_and_one_that_somebody_uses_is_named(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST))
        with psycopg.connect(dsn) as other:
            other.execute("drop function mart.crossings")
            other.execute("create function mart.crossings(meter text) returns int language sql as 'select 1'")
            other.execute("update mart.published set content = 'another' where table_name in ('crossings', 'compare_periods')")
            other.execute("drop function mart.compare_periods")
            other.execute(
                "create function mart.compare_periods(meter text, a_first date, a_last date, b_first date, b_last date,"
                " customer_no text) returns int language sql as 'select 1'"
            )
            other.execute("create view public.mine as select mart.compare_periods('M1', null, null, null, null, null)")
        with pytest.raises(publication.Hindered, match=r"mart\.compare_periods keeps its old"):
            publication.publish(connection, dsn, prepare(connection, FIRST))
        with psycopg.connect(dsn) as other:
            other.execute("drop view public.mine")
            assert other.execute("select * from mart.crossings('M1', 1, now(), now())").fetchall() == []
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        assert reader.execute(
            "select a_m3 from mart.compare_periods('M1', %s, %s, %s, %s)", [FIRST, FIRST, FIRST, FIRST]
        ).fetchone()


def test_crossings_list_each_time_above_the_line_and_another_line_changes_them(tmp_path: Path, dsn: str) -> None:
    flows = [40, 52, 56, 50, 64, None, 64, 40]
    end_ms = [900_000 * (place + 1) for place in range(len(flows))]
    starts_at = datetime(2025, 5, 31, 16, tzinfo=UTC)
    with warehouse(tmp_path) as connection:
        connection.execute("delete from unit_interval").fetchall()
        insert(
            connection,
            "unit_interval",
            meter="M1",
            day=FIRST,
            starts_at=starts_at,
            end_ms=end_ms,
            length_ms=[900_000] * len(flows),
            volume_nl=[None if flow is None else flow * 250_000_000_000 for flow in flows],
            reverse_nl=[None] * len(flows),
            pressure_pa=[None] * len(flows),
            register_ul=[None] * len(flows),
            device_flow_m3h=[None] * len(flows),
            flags=[int(flow is None) for flow in flows],
        )
        publication.publish(connection, dsn, prepare(connection, FIRST))

    def crossings(limit_m3h: float) -> list[tuple[int, float, float]]:
        """Minutes from midnight to the start, minutes and volume above of each."""
        query = "select * from mart.crossings('M1', %s, %s, %s)"
        with psycopg.connect(dsn) as reader:
            found = reader.execute(query, [limit_m3h, starts_at, starts_at + timedelta(days=1)]).fetchall()
        assert all(ends_at - start == timedelta(minutes=minutes) for start, ends_at, minutes, *_ in found)
        return [((start - starts_at) // timedelta(minutes=1), minutes, volume) for start, _, minutes, volume, _ in found]

    assert crossings(50) == [(15, 30, 2.0), (60, 15, 3.5), (90, 15, 3.5)], "50 itself is not above, and a hole ends one"
    assert crossings(60) == [(60, 15, 1.0), (90, 15, 1.0)]
    assert crossings(64) == []


def days_of_usage(connection: duckdb.DuckDBPyConnection, meter: str, first: date, volumes: list[float | None]) -> None:
    connection.execute("delete from daily_usage where meter = ?", [meter]).fetchall()
    for place, volume in enumerate(volumes):
        is_known = volume is not None
        row = {"volume_m3": volume, "coverage": 1.0 if is_known else 0.25, "complete": is_known, "clean": True}
        insert(connection, "daily_usage", meter=meter, day=first + timedelta(days=place), **row)


def test_any_two_periods_of_a_meter_or_a_customer_are_compared(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        insert(connection, "criterion", name="coverage.period", valid_from=date.min, value=0.95, name_zh="", name_en="")
        days_of_usage(connection, "M1", date(2025, 5, 1), [10, 20, None, 40])
        days_of_usage(connection, "M2", date(2025, 5, 1), [1, 2, 3, 4])
        moved = {"customer_no": "C1", "first_day": None, "last_day": date(2025, 5, 2)}
        insert(connection, "meter_history", meter="M1", **moved)
        insert(
            connection,
            "meter_history",
            meter="M1",
            valid_from=datetime(2025, 5, 3, tzinfo=UTC),
            customer_no="C2",
            first_day=date(2025, 5, 3),
        )
        insert(connection, "meter_history", meter="M2", customer_no="C1")
        publication.publish(connection, dsn, prepare(connection, FIRST))
    one, two, three, four = (date(2025, 5, day) for day in (1, 2, 3, 4))
    cases = {
        ("M1", two, two, one, one, None): (20, 10, 10, 100, 20, 10, 1, 1, True, False),
        ("M1", one, two, three, four, None): (30, 40, -10, -25, 15, 40, 1, 0.625, False, True),
        ("M1", four, four, three, three, None): (40, None, None, None, 40, None, 1, 0.25, False, True),
        ("M9", four, four, three, three, None): (None, None, None, None, None, None, 0, 0, False, True),
        (None, one, two, three, four, "C1"): (33, 7, 26, 100 * 26 / 7, 16.5, 3.5, 1, 1, True, False),
    }
    with psycopg.connect(dsn) as reader:
        for arguments, wanted in cases.items():
            found = reader.execute("select * from mart.compare_periods(%s::text, %s, %s, %s, %s, %s)", arguments).fetchone()
            assert found == pytest.approx(wanted), arguments


def test_the_total_row_of_any_days_is_that_of_all_their_intervals(tmp_path: Path, dsn: str) -> None:
    at = datetime(2025, 6, 1, 8, tzinfo=UTC)
    peaks = [(30.0, 2.0, 10.0, 24.0, 1.0), (40.0, 5.0, 20.0, 24.0, 1.0), (40.0, 2.0, 40.0, 6.0, 0.25)]
    with warehouse(tmp_path) as connection:
        for place, (highest, lowest, mean, known_h, coverage) in enumerate(peaks):
            day = {"period": FIRST + timedelta(days=place), "coverage": coverage, "complete": coverage == 1}
            flows = {"flow_max_m3h": highest, "flow_min_m3h": lowest, "flow_mean_m3h": mean, "known_h": known_h}
            times = dict.fromkeys(("flow_max_at", "flow_min_at"), at + timedelta(days=place))
            pressures = {"pressure_mean_mpa": 0.3 if place else None, "pressures": 96 * place}
            insert(connection, "peak_valley", meter="M1", grain="day", **day, **flows, **times, **pressures)
        insert(connection, "peak_valley", meter="M1", grain="month", period=FIRST, flow_max_m3h=99.0)
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn) as reader:
        reader.execute("set time zone 'UTC'")
        query = "select * from mart.peak_valley_between('M1', %s, %s)"
        found = reader.execute(query, [FIRST, FIRST + timedelta(days=2)]).fetchone()
        assert found is not None
        flow, pressure, known = found[:5], found[5:10], found[10:]
        assert flow == (40.0, at + timedelta(days=1), 2.0, at, pytest.approx(960 / 54))
        assert pressure == (None, None, None, None, pytest.approx(0.3))
        assert known == (0.75, False)
        assert reader.execute(query, [FIRST, SECOND]).fetchone()[10:] == (1.0, True)  # type: ignore[index]


# Rights and words


def test_the_role_of_boards_reads_every_table_and_changes_none(tmp_path: Path, dsn: str) -> None:
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST))
    with psycopg.connect(dsn, autocommit=True) as reader:
        reader.execute("create table mart.later (x int)")
        reader.execute("set role mainflow_board")
        for name in (*served(dsn), "later"):
            reader.execute(f"select * from mart.{name}").fetchall()
        reader.execute("select * from mart.intervals('M1', '2025-01-01', '2026-01-01')").fetchall()
        for change in ("insert into mart.later values (1)", "delete from mart.customer", "create table mart.own (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(change)


def test_where_roles_may_not_be_made_the_log_says_once_what_to_run(
    tmp_path: Path, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop owned by mainflow_board; drop role mainflow_board")
        connection.execute(sql.SQL("create role plain login password {}").format(connection.info.password))
        connection.execute("grant connect, create on database mainflow to plain")
        connection.execute("grant usage on schema ops to plain; grant select on ops.latest_reading, ops.alarm to plain")
    try:
        with warehouse(tmp_path) as connection:
            for _ in range(2):
                publication.publish(connection, dsn.replace("user=postgres", "user=plain"), prepare(connection, FIRST))
        (warning,) = [record.getMessage() for record in caplog.records]
        assert "create role mainflow_board nologin" in warning and "plain may not" in warning
        assert served(dsn)["customer"]
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("drop owned by plain cascade; drop role plain; create role mainflow_board nologin")


def test_words_of_columns_become_comments(tmp_path: Path, dsn: str) -> None:
    words = {"daily_usage": {"volume_m3": "用水量 · it's a volume"}, "interval_reading": {"flow_m3h": "流量"}}
    with warehouse(tmp_path) as connection:
        publication.publish(connection, dsn, prepare(connection, FIRST), comments=words)
    with psycopg.connect(dsn) as reader:
        found = reader.execute(
            "select c.relname, a.attname, d.description from pg_description d join pg_class c on c.oid = d.objoid "
            "join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid "
            "where c.relnamespace = 'mart'::regnamespace order by 1"
        ).fetchall()
    assert found == [(table, column, text) for table, columns in words.items() for column, text in columns.items()]


def test_fewer_than_one_day_of_intervals_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[serving]\ninterval_days = 0\n")
    with pytest.raises(SettingError, match=r"\[serving\] interval_days.*1"):
        load(tmp_path)


def test_the_latest_status_is_the_daemons_reading_where_it_is_newer(tmp_path: Path, dsn: str) -> None:
    today = datetime.now(ZONE).date()
    computed_at, live_at = datetime(2025, 6, 1, 3, tzinfo=UTC), datetime(2025, 6, 1, 4, tzinfo=UTC)
    with warehouse(tmp_path) as connection:
        for meter, terminal, day in (("M1", "001", FIRST), ("M2", "002", FIRST), ("M3", "003", today)):
            insert(
                connection,
                "latest_figures",
                meter=meter,
                terminal=terminal,
                reading_at=computed_at,
                day=day,
                register_m3=10.0,
                pressure_mpa=0.3,
                pressure_at=computed_at,
                day_m3=5.0,
                month_m3=7.0,
            )
        publication.publish(connection, dsn, prepare(connection, FIRST))
    columns = "reading_at, register_m3, pressure_mpa, pressure_at, today_m3, month_m3"
    rows = [("001", "M1", live_at, 11.0), ("002", "M2", computed_at - timedelta(hours=1), 9.0), ("003", "M1", live_at, 99.0)]
    with psycopg.connect(dsn, autocommit=True) as board:
        for terminal, meter, at, register in rows:
            board.execute(
                "insert into ops.latest_reading "
                "(terminal, meter, ts, forward_m3, received_at, channel, stream, frame, updated_at) "
                "values (%s, %s, %s, %s, now(), 'tcp', 'data', 1, now())",
                [terminal, meter, at, register],
            )
        found = board.execute(f"select meter, {columns} from mart.latest_status order by meter").fetchall()
        board.execute("delete from ops.latest_reading")
    assert found == [
        ("M1", live_at, 11.0, 0.3, computed_at, None, 7.0),
        ("M2", computed_at, 10.0, 0.3, computed_at, None, 7.0),
        ("M3", computed_at, 10.0, 0.3, computed_at, 5.0, 7.0),
    ], "newer live reading; older live reading; a terminal that measures another meter now"

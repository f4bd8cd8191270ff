"""The utility's billing database for the same customers: master data, reads, bills, payments, and a few known faults.

Tables and columns are those of docs/data-flow.md. A period ends on the day of the month of the fleet's last midnight, so that
the last bills lie within the data; periods before the data have volumes of the customer's usual size. With a history all
periods lie within the data, customers pay each in their way, and some bills are wrong.
"""

import sqlite3
import zlib
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from simulator import faults, truth
from simulator.customers import CUSTOMERS, INSTALLED_ON, Meter
from simulator.fleet import Fleet, Floats, Period, days_after, first_meters, local, periods

PAYS_WITHIN_DAYS = 15
DUE_DAYS = 20
LATE_DAYS = (40, 80)
SHORT_SHARE = 0.25
TOO_MUCH_M3 = 1000
"""What a bill that is taken back has too much."""

CREDITED_AFTER_DAYS = 30
MAJOR_DN_MM = 100

PRICES: dict[str, tuple[float, float]] = {"residents": (2.50, 0.95), "business": (4.10, 1.40), "special": (8.20, 2.10)}
"""CNY a m³: water, drainage."""

PRICE_OF = {"housing": "residents", "school": "residents", "laundry": "special", "sport": "special"}
"""Price class of an industry; all others pay the business price."""

DDL: dict[str, str] = {
    "customer": (
        "CREATE TABLE customer (customer_no TEXT PRIMARY KEY, name TEXT NOT NULL, industry TEXT, region TEXT, address TEXT, "
        "group_no TEXT, major TEXT, updated_at TEXT NOT NULL)"
    ),
    "meter_card": (
        "CREATE TABLE meter_card (meter_no TEXT PRIMARY KEY, customer_no TEXT NOT NULL, dn_mm INTEGER, book_no TEXT, "
        "installed_on TEXT, removed_on TEXT, vendor TEXT, cycle_months INTEGER, updated_at TEXT NOT NULL)"
    ),
    "meter_read": (
        "CREATE TABLE meter_read (read_id TEXT PRIMARY KEY, meter_no TEXT NOT NULL, read_at TEXT NOT NULL, "
        "register_m3 DOUBLE PRECISION, kind TEXT NOT NULL, updated_at TEXT NOT NULL)"
    ),
    "bill": (
        "CREATE TABLE bill (bill_no TEXT PRIMARY KEY, customer_no TEXT NOT NULL, meter_no TEXT NOT NULL, "
        "period_start TEXT NOT NULL, period_end TEXT NOT NULL, billed_m3 DOUBLE PRECISION, water_charge DOUBLE PRECISION, "
        "drainage_charge DOUBLE PRECISION, amount DOUBLE PRECISION, status TEXT NOT NULL, "
        "issued_on TEXT, account_month TEXT, due_on TEXT, updated_at TEXT NOT NULL)"
    ),
    "charge": (
        "CREATE TABLE charge (bill_no TEXT NOT NULL, meter_no TEXT NOT NULL, charge_kind TEXT NOT NULL, amount DOUBLE PRECISION, "
        "updated_at TEXT NOT NULL)"
    ),
    "payment": (
        "CREATE TABLE payment (payment_id TEXT PRIMARY KEY, bill_no TEXT NOT NULL, customer_no TEXT NOT NULL, "
        "paid_on TEXT NOT NULL, amount DOUBLE PRECISION, charge_kind TEXT, updated_at TEXT NOT NULL)"
    ),
}
"""One statement a table, for SQLite and PostgreSQL alike."""


def tables(fleet: Fleet) -> dict[str, pl.DataFrame]:
    """The billing database's tables by name, with the columns of `DDL`. The inlet of a zone has no card."""
    rows = faults.reported(fleet)
    billed = [meter for meter in fleet.every_meter if meter.customer]
    meters = {meter.number: _of_meter(fleet, meter, rows.get(meter.number, fleet.recorded(meter.number))) for meter in billed}
    if fleet.by_hand:
        _swap(*(meters[number] for number in faults.BILL_SWAPPED))
    opened = _updated(INSTALLED_ON)
    lines = [line for made in meters.values() for line in made.lines]
    content: dict[str, list[tuple[object, ...]]] = {
        "customer": [_customer_row(number, meter, opened) for number, meter in sorted(first_meters(billed).items())],
        "meter_card": [_card_row(meter, opened) for meter in billed],
        "meter_read": [row for made in meters.values() for row in made.reads],
        "bill": [line.row() for line in lines],
        "charge": [row for line in lines for row in line.charges()],
        "payment": [row for line in lines for row in _payments(fleet, line)],
    }
    return {name: pl.DataFrame(found, schema=_schema(name), orient="row") for name, found in content.items()}


def _customer_row(number: int, meter: Meter, opened: str) -> tuple[object, ...]:
    customer = CUSTOMERS[number]
    is_major = "yes" if meter.dn_mm >= MAJOR_DN_MM else "no"
    own = (meter.customer_no, customer.name, customer.industry, meter.region, customer.address)
    return (*own, customer.group, is_major, opened)


def _card_row(meter: Meter, opened: str) -> tuple[object, ...]:
    own = (meter.name, meter.customer_no, meter.dn_mm, meter.book_no, INSTALLED_ON.isoformat(), None)
    return (*own, meter.vendor, meter.cycle_months, opened)


def write_billing(content: dict[str, pl.DataFrame], target: Path | sqlite3.Connection) -> None:
    """Write the tables into a new SQLite file, or into an open connection that has none of them. Commits."""
    if isinstance(target, Path):
        connection = sqlite3.connect(target)
        try:
            write_billing(content, connection)
        finally:
            connection.close()
        return
    for name, table in content.items():
        target.execute(DDL[name])
        target.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * table.width)})", table.rows())
    target.commit()


def accounts(content: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """What the accounts of the tables come to, by customer (null: all of them) and month, while anything is billed or owed.

    `month`, `customer_no`, `billed_m3`, `billed` (bills of the month's account), `received` (in the month), `arrears` (unpaid of
    all bills at the month's end).
    """
    bills = content["bill"].filter(pl.col("status") != "cancelled")
    month_of = pl.col("account_month").str.to_date("%Y-%m")
    booked = bills.select(month_of.alias("month"), "customer_no", "billed_m3", billed="amount")
    paid = content["payment"].select(
        pl.col("paid_on").str.to_date().dt.truncate("1mo").alias("month"), "customer_no", received="amount"
    )
    moved = pl.concat([booked, paid], how="diagonal")
    months = moved.select(pl.date_range(pl.col("month").min(), pl.col("month").max(), "1mo"))
    sums = [pl.col("billed_m3").sum(), pl.col("billed").sum().round(2), pl.col("received").sum().round(2)]
    of_all = moved.with_columns(customer_no=pl.lit(None, pl.String))
    summed = pl.concat([moved, of_all]).group_by("month", "customer_no").agg(sums)
    grid = months.join(summed.select("customer_no").unique(), how="cross")
    return (
        grid.join(summed, on=["month", "customer_no"], how="left", nulls_equal=True)
        .sort("customer_no", "month")
        .with_columns(pl.col("billed_m3", "billed", "received").fill_null(0.0))
        .with_columns(arrears=(pl.col("billed") - pl.col("received")).cum_sum().over("customer_no").round(2))
        .select("month", "customer_no", "billed_m3", "billed", "received", "arrears")
    )


class _Bill(NamedTuple):
    """A bill of a meter, and how its customer pays: share, days after the issue, charge (None: all) of each payment."""

    bill_no: str
    meter: Meter
    period: Period
    volume_m3: float
    status: str
    issued_on: date
    account_month: str
    payments: tuple[tuple[float, int, str | None], ...]

    @property
    def by_charge(self) -> dict[str, float]:
        """Amount of each charge."""
        prices = PRICES[PRICE_OF.get(CUSTOMERS[self.meter.customer].industry, "business")]
        return {kind: round(self.volume_m3 * price, 2) for kind, price in zip(("water", "drainage"), prices, strict=True)}

    def row(self) -> tuple[object, ...]:
        """Its row of table `bill`."""
        charges = self.by_charge
        amount = round(sum(charges.values()), 2)
        period = (self.period.start.isoformat(), self.period.end.isoformat())
        due = self.issued_on + timedelta(days=DUE_DAYS)
        dates = (self.issued_on.isoformat(), self.account_month, due.isoformat(), _updated(self.issued_on))
        own = (self.bill_no, self.meter.customer_no, self.meter.name, *period, self.volume_m3, *charges.values())
        return (*own, amount, self.status, *dates)

    def charges(self) -> list[tuple[object, ...]]:
        """Its rows of table `charge`."""
        when = _updated(self.issued_on)
        return [(self.bill_no, self.meter.name, kind, amount, when) for kind, amount in self.by_charge.items()]


class _Made(NamedTuple):
    reads: list[tuple[object, ...]]
    lines: list[_Bill]


def _of_meter(fleet: Fleet, meter: Meter, rows: pl.DataFrame) -> _Made:
    rng = np.random.default_rng([fleet.seed, zlib.crc32(meter.name.encode()), 1])
    made = _Made([], [])
    listed = periods(fleet, meter.cycle_months)
    at, register = truth.registers(fleet, meter, rows)
    ends = [listed[0].start, *(period.end for period in listed)]
    midnights = np.array([local(fleet.until, fleet.zone, days_after(fleet, day)).timestamp() for day in ends])
    known = truth.known_at(midnights, at, register)
    lengths = np.diff(midnights) / 3600
    usual = float(register[-1] - register[0]) / float(at[-1] - at[0]) * 3600
    measured = np.diff(known)
    guessed = usual * lengths * rng.normal(1, 0.06, len(lengths))
    volumes: Floats = np.asarray(np.round(np.where(np.isfinite(measured), measured, guessed)), dtype=np.float64)
    shown = _shown_at_ends(meter, rows, midnights, volumes)
    made.reads.append((f"R{meter.number:03d}00", meter.name, ends[0].isoformat(), shown[0], "actual", _updated(ends[0])))
    for number, period in enumerate(listed, start=1):
        last = number == len(listed)
        volume = float(volumes[number - 1])
        register_m3: float | None = shown[number]
        estimated = last and meter.number == faults.BILL_ESTIMATED
        if estimated:
            volume = float(volumes[number - 2])
            register_m3 = round(shown[number - 1] + volume, 3)
        made.reads.append(
            (
                f"R{meter.number:03d}{number:02d}",
                meter.name,
                period.end.isoformat(),
                register_m3,
                "estimated" if estimated else "actual",
                _updated(period.end),
            )
        )
        if last and meter.number == faults.BILL_MISSING:
            continue
        if last and meter.number == faults.BILL_SHORT:
            volume = float(round(volume * (1 - SHORT_SHARE)))
        issued_on = min(period.end + timedelta(days=1 + int(meter.book_no[1:]) % 4), _today(fleet))
        bill = _Bill(
            bill_no=f"B{period.end:%y%m}{meter.number:03d}",
            meter=meter,
            period=period,
            volume_m3=volume,
            status="estimated" if estimated else "actual",
            issued_on=issued_on,
            account_month=f"{period.end - timedelta(days=1):%Y-%m}",
            payments=_habit(fleet, meter, number - 1 - len(listed), rng),
        )
        made.lines.extend(_mended(fleet, bill) if fleet.by_hand and number - 1 - len(listed) == faults.MENDED_PERIOD else [bill])
    return made


def _today(fleet: Fleet) -> date:
    return fleet.until.astimezone(fleet.zone).date()


def _habit(fleet: Fleet, meter: Meter, place: int, rng: np.random.Generator) -> tuple[tuple[float, int, str | None], ...]:
    """How a bill is paid (see `_Bill`). `place`: of its period, counted back from the last (-1).

    Without a history nine of ten bills are paid in full, some half, some not at all; with one it depends on the customer.
    """
    soon = int(rng.integers(1, PAYS_WITHIN_DAYS))
    if not fleet.by_hand:
        share = float(rng.choice([1.0, 0.5, 0.0], p=[0.9, 0.05, 0.05]))
        return ((share, soon, None),) if share else ()
    if meter.number == faults.UNPAID and place >= -faults.UNPAID_PERIODS:
        return ()
    late = int(rng.integers(*LATE_DAYS))
    if meter.number == faults.PARTIAL_PAYER:
        return ((1.0, soon, "water"), (1.0, late, "drainage"))
    return ((1.0, late if meter.number == faults.LATE_PAYER else soon, None),)


def _mended(fleet: Fleet, bill: _Bill) -> list[_Bill]:
    """The bill, or a wrong one that is cancelled or taken back by a credit note, with the right one in its place."""
    if bill.meter.number == faults.BILL_CANCELLED:
        return [bill._replace(status="cancelled", payments=()), bill._replace(bill_no=f"{bill.bill_no}R")]
    if bill.meter.number != faults.BILL_CREDITED:
        return [bill]
    later = min(bill.issued_on + timedelta(days=CREDITED_AFTER_DAYS), _today(fleet))
    wrong = bill._replace(volume_m3=bill.volume_m3 + TOO_MUCH_M3, payments=())
    right = bill._replace(bill_no=f"{bill.bill_no}R", issued_on=later, account_month=f"{later:%Y-%m}")
    credit = right._replace(bill_no=f"{bill.bill_no}C", volume_m3=-wrong.volume_m3, status="credit", payments=())
    return [wrong, credit, right]


def _swap(one: _Made, other: _Made) -> None:
    """Cross the volumes of the last bills of two meters, as a book does whose cards lie in each other's place."""
    for place in range(-min(faults.SWAPPED_PERIODS, len(one.lines)), 0):
        first, second = one.lines[place], other.lines[place]
        one.lines[place], other.lines[place] = (
            first._replace(volume_m3=second.volume_m3),
            second._replace(volume_m3=first.volume_m3),
        )


def _payments(fleet: Fleet, bill: _Bill) -> list[tuple[object, ...]]:
    """Nothing is paid after the fleet's last midnight."""
    found: list[tuple[object, ...]] = []
    for number, (share, days, charge) in enumerate(bill.payments):
        amount = round(share * (bill.by_charge[charge] if charge else round(sum(bill.by_charge.values()), 2)), 2)
        paid_on = bill.issued_on + timedelta(days=days)
        if amount and paid_on < _today(fleet):
            key = f"P{bill.bill_no[1:]}{number or ''}"
            found.append((key, bill.bill_no, bill.meter.customer_no, paid_on.isoformat(), amount, charge, _updated(paid_on)))
    return found


def _shown_at_ends(meter: Meter, rows: pl.DataFrame, midnights: Floats, volumes: Floats) -> list[float]:
    """The register at each period's end as a reader would see it, or counted back from the first one in the data."""
    at = rows["ts"].dt.epoch("us").to_numpy() / 1e6
    forward = rows["forward_m3"].to_numpy()
    seen = np.searchsorted(at, midnights, side="right") - 1
    shown = [float(forward[place]) if place >= 0 else float("nan") for place in seen]
    for index in range(len(shown) - 2, -1, -1):
        if np.isnan(shown[index]):
            later = forward[0] if seen[index + 1] >= 0 else shown[index + 1]
            shown[index] = round(float(later - volumes[index]) % meter.modulus_m3, 3)
    return shown


def _updated(day: date) -> str:
    """The evening of the day on which it was entered (UTC)."""
    return f"{day.isoformat()} 10:00:00"


_TYPES: dict[str, pl.DataType] = {"DOUBLE": pl.Float64(), "INTEGER": pl.Int64(), "TEXT": pl.String()}


def _schema(table: str) -> dict[str, pl.DataType]:
    """Column types of a table, from its own DDL."""
    inside = DDL[table].split("(", 1)[1].rstrip(")")
    return {words[0]: _TYPES[words[1]] for words in (column.split() for column in inside.split(", "))}

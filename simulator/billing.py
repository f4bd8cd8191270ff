"""The utility's billing database for the same customers: master data, reads, bills, payments, and a few known faults.

Tables and columns are those of docs/data-flow.md. A period ends on the day of the month of the fleet's last midnight, so that
the last bills lie within the data; periods before the data have volumes of the customer's usual size.
"""

import sqlite3
import zlib
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from simulator import faults, truth
from simulator.fleet import CUSTOMERS, INSTALLED_ON, Fleet, Floats, Meter, Period, book_of, days_after, local, periods

PAYS_WITHIN_DAYS = 15
SHORT_SHARE = 0.25

PRICES: dict[str, tuple[float, float]] = {"residents": (2.50, 0.95), "business": (4.10, 1.40), "special": (8.20, 2.10)}
"""CNY a m³: water, drainage."""

PRICE_OF = {"housing": "residents", "school": "residents", "laundry": "special", "sport": "special"}
"""Price class of an industry; all others pay the business price."""

DDL: dict[str, str] = {
    "customer": (
        "CREATE TABLE customer (customer_no TEXT PRIMARY KEY, name TEXT NOT NULL, industry TEXT, region TEXT, address TEXT, "
        "updated_at TEXT NOT NULL)"
    ),
    "meter_card": (
        "CREATE TABLE meter_card (meter_no TEXT PRIMARY KEY, customer_no TEXT NOT NULL, dn_mm INTEGER, book_no TEXT, "
        "installed_on TEXT, removed_on TEXT, updated_at TEXT NOT NULL)"
    ),
    "meter_read": (
        "CREATE TABLE meter_read (read_id TEXT PRIMARY KEY, meter_no TEXT NOT NULL, read_at TEXT NOT NULL, "
        "register_m3 DOUBLE PRECISION, kind TEXT NOT NULL, updated_at TEXT NOT NULL)"
    ),
    "bill": (
        "CREATE TABLE bill (bill_no TEXT PRIMARY KEY, customer_no TEXT NOT NULL, meter_no TEXT NOT NULL, "
        "period_start TEXT NOT NULL, period_end TEXT NOT NULL, billed_m3 DOUBLE PRECISION, water_charge DOUBLE PRECISION, "
        "drainage_charge DOUBLE PRECISION, amount DOUBLE PRECISION, status TEXT NOT NULL, updated_at TEXT NOT NULL)"
    ),
    "payment": (
        "CREATE TABLE payment (payment_id TEXT PRIMARY KEY, bill_no TEXT NOT NULL, customer_no TEXT NOT NULL, "
        "paid_on TEXT NOT NULL, amount DOUBLE PRECISION, updated_at TEXT NOT NULL)"
    ),
}
"""One statement a table, for SQLite and PostgreSQL alike."""


def tables(fleet: Fleet) -> dict[str, pl.DataFrame]:
    """The billing database's tables by name, with the columns of `DDL`."""
    rows = faults.reported(fleet)
    meters = [_of_meter(fleet, meter, rows[meter.number]) for meter in fleet.meters]
    opened = _updated(INSTALLED_ON)
    first_meter = {meter.customer: meter for meter in reversed(fleet.meters)}
    return {
        "customer": pl.DataFrame(
            [
                (
                    meter.customer_no,
                    CUSTOMERS[number].name,
                    CUSTOMERS[number].industry,
                    meter.region,
                    CUSTOMERS[number].address,
                    opened,
                )
                for number, meter in sorted(first_meter.items())
            ],
            schema=_schema("customer"),
            orient="row",
        ),
        "meter_card": pl.DataFrame(
            [
                (meter.name, meter.customer_no, meter.dn_mm, book_of(meter), INSTALLED_ON.isoformat(), None, opened)
                for meter in fleet.meters
            ],
            schema=_schema("meter_card"),
            orient="row",
        ),
        "meter_read": pl.DataFrame([row for made in meters for row in made.reads], schema=_schema("meter_read"), orient="row"),
        "bill": pl.DataFrame([row for made in meters for row in made.bills], schema=_schema("bill"), orient="row"),
        "payment": pl.DataFrame([row for made in meters for row in made.payments], schema=_schema("payment"), orient="row"),
    }


def write_billing(fleet: Fleet, target: Path | sqlite3.Connection) -> None:
    """Write the tables into a new SQLite file, or into an open connection that has none of them. Commits."""
    if isinstance(target, Path):
        connection = sqlite3.connect(target)
        try:
            write_billing(fleet, connection)
        finally:
            connection.close()
        return
    for name, table in tables(fleet).items():
        target.execute(DDL[name])
        target.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * table.width)})", table.rows())
    target.commit()


class _Made(NamedTuple):
    reads: list[tuple[object, ...]]
    bills: list[tuple[object, ...]]
    payments: list[tuple[object, ...]]


def _of_meter(fleet: Fleet, meter: Meter, rows: pl.DataFrame) -> _Made:
    rng = np.random.default_rng([fleet.seed, zlib.crc32(meter.name.encode()), 1])
    made = _Made([], [], [])
    listed = periods(fleet)
    at, register = truth.registers(fleet, meter, rows)
    ends = [listed[0].start, *(period.end for period in listed)]
    midnights = np.array([local(fleet.until, fleet.zone, days_after(fleet, day)).timestamp() for day in ends])
    known = truth.known_at(midnights, at, register)
    lengths = np.diff(midnights) / 3600
    usual = float(register[-1] - register[0]) / float(at[-1] - at[0]) * 3600
    measured = np.diff(known)
    guessed = usual * lengths * rng.normal(1, 0.06, len(lengths))
    volumes: Floats = np.asarray(np.round(np.where(np.isfinite(measured), measured, guessed)), dtype=np.float64)
    shown = _shown_at_ends(fleet, meter, rows, midnights, volumes)
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
        bill_no = f"B{period.end:%y%m}{meter.number:03d}"
        water_price, drainage_price = PRICES[PRICE_OF.get(CUSTOMERS[meter.customer].industry, "business")]
        water, drainage = round(volume * water_price, 2), round(volume * drainage_price, 2)
        amount = round(water + drainage, 2)
        status = "estimated" if estimated else "actual"
        charges = (volume, water, drainage, amount, status, _updated(period.end))
        made.bills.append((bill_no, meter.customer_no, meter.name, period.start.isoformat(), period.end.isoformat(), *charges))
        made.payments.extend(_payments(fleet, meter, bill_no, period, amount, rng))
    return made


def _payments(
    fleet: Fleet, meter: Meter, bill_no: str, period: Period, amount: float, rng: np.random.Generator
) -> list[tuple[object, ...]]:
    """Nine of ten pay in full, some half, some not at all; nothing is paid after the fleet's last midnight."""
    paid_on = period.end + timedelta(days=int(rng.integers(1, PAYS_WITHIN_DAYS)))
    share = float(rng.choice([1.0, 0.5, 0.0], p=[0.9, 0.05, 0.05]))
    if share == 0 or amount == 0 or paid_on >= fleet.until.astimezone(fleet.zone).date():
        return []
    return [(f"P{bill_no[1:]}", bill_no, meter.customer_no, paid_on.isoformat(), round(amount * share, 2), _updated(paid_on))]


def _shown_at_ends(fleet: Fleet, meter: Meter, rows: pl.DataFrame, midnights: Floats, volumes: Floats) -> list[float]:
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

"""Why a bill differs from what was measured: 200 cycles with a known error each, and the reason that is found."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pytest

from assets import marts, warehouse
from assets.partitions import Partitions
from tests.figures import empty_warehouse

ZONE = ZoneInfo("Asia/Shanghai")
START, END = date(2025, 5, 1), date(2025, 6, 1)
BEFORE = 12
"""Days of the curve before the period, and after it."""

MIX = {
    "rounding": 60,
    "cut_off": 30,
    "estimate": 20,
    "replacement": 20,
    "factor": 20,
    "swapped": 20,
    "missing_data": 15,
    "unexplained": 15,
}
"""Cycles of each error; rounding is none but for whole cubic metres."""


class Cycle(NamedTuple):
    """A meter's bill with its error; `registers`: of each midnight from `BEFORE` days before the period on."""

    meter: str
    error: str
    daily: Any
    registers: Any
    billed_m3: float
    reads: list[tuple[date, float, str]]
    status: str = "actual"
    replaced_on: date | None = None

    @property
    def measured_m3(self) -> float:
        """What the register moved in the period."""
        return float(self.registers[BEFORE + (END - START).days] - self.registers[BEFORE])


def cycles() -> list[Cycle]:
    """The labelled cycles, seeded."""
    rng = np.random.default_rng(12)
    made = [
        _cycle(f"M{number:03d}", error, rng) for number, error in enumerate(e for e, count in MIX.items() for _ in range(count))
    ]
    swapped = [cycle for cycle in made if cycle.error == "swapped"]
    for one, other in zip(swapped[::2], swapped[1::2], strict=True):
        for own, its in ((one, other), (other, one)):
            made[made.index(own)] = own._replace(billed_m3=float(round(its.measured_m3)))
    return made


def _cycle(meter: str, error: str, rng: np.random.Generator) -> Cycle:
    days = BEFORE + (END - START).days + BEFORE
    use = float(np.exp(rng.uniform(np.log(4), np.log(400))))
    daily = np.round(use * rng.uniform(0.7, 1.3, days), 3)
    registers = float(round(rng.uniform(1000, 90000), 3)) + np.concatenate([[0.0], np.cumsum(daily)])

    def at(day: date, hour: float = 0) -> float:
        place = BEFORE + (day - START).days
        return float(registers[place] + daily[place] * hour / 24)

    first, last = float(np.floor(at(START))), float(np.floor(at(END)))
    billed, reads, status, replaced_on = last - first, [(START, first, "actual"), (END, last, "actual")], "actual", None
    if error == "cut_off":
        off = int(rng.choice([-4, -3, -2, 2, 3, 4]))
        day = END + timedelta(days=off)
        last = float(np.floor(at(day, rng.uniform(8, 17))))
        reads = [reads[0], (day if rng.random() < 0.5 else END, last, "actual")]
        billed = last - first
    elif error == "estimate":
        billed = float(round(billed * rng.choice([0.6, 0.75, 1.3, 1.5])))
        named = rng.random() < 0.5
        status = "actual" if named else "估抄"
        reads = [reads[0], (END, first + billed, "estimated")] if named else []
    elif error == "replacement":
        replaced_on = START + timedelta(days=int(rng.integers(6, 25)))
        billed = float(np.floor(at(replaced_on) - first if rng.random() < 0.5 else last - at(replaced_on)))
        reads = []
    elif error == "factor":
        billed = float(round(float(rng.choice([10, 100, 0.1, 0.01])) * (at(END) - at(START)), 1))
        reads = []
    elif error == "unexplained":
        billed = float(round(billed * rng.choice([0.35, 0.55, 1.5, 1.9])))
        reads = [reads[0], (END, first + billed, "actual")]
    elif error == "swapped":
        reads = []
    return Cycle(meter, error, daily, registers, billed, reads, status, replaced_on)


def _lay(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    with warehouse.registered(connection, "incoming", pl.DataFrame(rows, infer_schema_length=None)):
        connection.execute(f"insert into {table} by name select * from incoming").fetchall()


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Cycle], duckdb.DuckDBPyConnection]]:
    """The cycles, and the warehouse with their reconciliation and its reasons."""
    made = cycles()
    with empty_warehouse(tmp_path_factory.mktemp("reasons") / "marts.duckdb", [START], ZONE) as connection:
        days = [START + timedelta(days=offset) for offset in range(-BEFORE, (END - START).days + BEFORE)]
        instants = [datetime(day.year, day.month, day.day, tzinfo=ZONE) for day in [*days, days[-1] + timedelta(days=1)]]
        seen = [cycle for cycle in made if cycle.error != "missing_data"]
        cells = [(cycle, place) for cycle in seen for place in range(len(days))]
        registers = [
            {
                "meter": cycle.meter,
                "day": days[place],
                "first_at": instants[place],
                "first_ul": round(cycle.registers[place] * 1e9),
                "last_at": instants[place + 1],
                "last_ul": round(cycle.registers[place + 1] * 1e9),
                "replaced_count": int(days[place] == cycle.replaced_on and cycle.meter[-1] in "02468"),
            }
            for cycle, place in cells
        ]
        known = {"complete": True, "clean": True, "coverage": 1.0}
        usage = [{**known, "meter": c.meter, "day": days[place], "volume_m3": float(c.daily[place])} for c, place in cells]
        _lay(connection, "unit_day", registers)
        _lay(connection, "daily_usage", usage)
        bill = {"customer_no": "C1", "period_start": START, "period_end": END}
        bills = [
            {
                **bill,
                "bill_no": f"B{cycle.meter}",
                "meter_no": cycle.meter,
                "billed_m3": cycle.billed_m3,
                "status": cycle.status,
                "amount": round(cycle.billed_m3 * 3.45, 2),
            }
            for cycle in made
        ]
        reads = [
            {
                "read_id": f"{cycle.meter}-{number}",
                "meter_no": cycle.meter,
                "read_at": datetime(day.year, day.month, day.day),
                "register_m3": register,
                "kind": kind,
            }
            for cycle in made
            for number, (day, register, kind) in enumerate(cycle.reads)
        ]
        _lay(connection, "billing.bill", bills)
        _lay(connection, "billing.meter_read", reads)
        _lay(connection, "meter", [{"meter": cycle.meter, "reads": "register"} for cycle in made])
        _lay(
            connection, "register_bill", [{"bill_no": f"B{c.meter}", "meter": c.meter, "volume_m3": c.measured_m3} for c in seen]
        )
        dated = [cycle for cycle in seen if cycle.replaced_on and cycle.meter[-1] not in "02468"]
        replacement = {"old_final_m3": 500.0, "new_initial_m3": 0.5}
        _lay(
            connection, "registry.replacements", [{"meter": c.meter, "replaced_on": c.replaced_on, **replacement} for c in dated]
        )
        Partitions((START,), ZONE).prepare(connection)
        for name in ("bill_charge", "bill", "reconciliation", "reconciliation_reason"):
            marts.build(next(mart for mart in marts.all_marts() if mart.name == name), connection)
        yield made, connection


def test_at_least_95_of_100_errors_get_their_reason(reasons: tuple[list[Cycle], duckdb.DuckDBPyConnection]) -> None:
    made, connection = reasons
    found = dict(connection.execute("select meter, reason from reconciliation_reason where is_main").fetchall())
    wrong = Counter((cycle.error, found.get(cycle.meter, "rounding")) for cycle in made)
    right = sum(count for (error, reason), count in wrong.items() if error == reason)
    assert len(made) == 200
    assert right >= 190, {pair: count for pair, count in wrong.items() if pair[0] != pair[1]}


def test_the_parts_add_up_to_each_difference_and_to_the_total(reasons: tuple[list[Cycle], duckdb.DuckDBPyConnection]) -> None:
    _, connection = reasons
    parts = "select bill_no, sum(difference_m3) as parts from reconciliation_reason group by bill_no"
    sums = connection.execute(
        f"select max(abs(difference_m3 - coalesce(parts, 0))), sum(difference_m3) - sum(parts) "
        f"from reconciliation left join ({parts}) using (bill_no)"
    ).fetchall()[0]
    assert max(abs(value) for value in sums) < 0.001


def test_swapped_meters_name_each_other_and_a_factor_is_told(reasons: tuple[list[Cycle], duckdb.DuckDBPyConnection]) -> None:
    made, connection = reasons
    swapped = [cycle.meter for cycle in made if cycle.error == "swapped"]
    expected = {one: other for a, b in zip(swapped[::2], swapped[1::2], strict=True) for one, other in ((a, b), (b, a))}
    found = connection.execute("select meter, partner from reconciliation_reason where reason = 'swapped' and is_main").fetchall()
    assert dict(found) == expected
    factors = connection.execute(
        "select distinct factor from reconciliation_reason where reason = 'factor' order by 1"
    ).fetchall()
    assert factors == [(0.01,), (0.1,), (10.0,), (100.0,)]


def test_a_part_has_the_price_of_its_bill(reasons: tuple[list[Cycle], duckdb.DuckDBPyConnection]) -> None:
    _, connection = reasons
    off = "select count(*) from reconciliation_reason where abs(amount - difference_m3 * 3.45) > 0.02 + 0.01 * abs(difference_m3)"
    assert connection.execute(off).fetchall() == [(0,)]

"""Readings in, figures out: kinds of trouble that meters, terminals and clocks make, each with its right figures.

The true meter passes 6 m³/h, 144 m³ a day. A figure may be missing where its readings cannot be believed; it is never another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets import calendar, periods
from assets.kernel import NL_PER_M3
from tests.figures import Figures, figures, readings, terminals, typed, unit_tables

ZONE = ZoneInfo("Asia/Shanghai")
FIRST = date(2025, 6, 2)
DAYS = calendar.days_between(FIRST, FIRST + timedelta(days=3))
DAY = 144.0
MODULUS = 1_000_000.0

Register = tuple[list[datetime], list[float]]


def local(text: str) -> datetime:
    """A time of June 2025, `dd hh:mm`."""
    return datetime.fromisoformat(f"2025-06-{text.replace(' ', 'T')}").replace(tzinfo=ZONE).astimezone(UTC)


def even(
    minutes: int, first: float = 1000.0, m3_per_hour: float = 6.0, begin: str = "01 20:00", end: str = "06 04:00"
) -> Register:
    """A register that rises evenly, read every so many minutes."""
    count = int((local(end) - local(begin)) / timedelta(minutes=minutes))
    at = [local(begin) + timedelta(minutes=minutes) * step for step in range(count + 1)]
    return at, [round(first + m3_per_hour * minutes / 60 * step, 6) for step in range(count + 1)]


def daily(*registers: float) -> Register:
    """A register read at midnight, from the one before the first day on."""
    midnights = [calendar.midnight(FIRST + timedelta(days=place - 1), ZONE) for place in range(len(registers))]
    return midnights, [float(register) for register in registers]


def spoilt(register: Register, begin: str, hours: float, value: Callable[[float], float]) -> Register:
    """The register with other values from a time on, for so many hours."""
    start, end = local(begin), local(begin) + timedelta(hours=hours)
    at, forward = register
    return at, [value(total) if start <= instant < end else total for instant, total in zip(at, forward, strict=True)]


def joined(*registers: Register) -> Register:
    """One register after the other: meters that replaced each other."""
    return [instant for at, _ in registers for instant in at], [total % MODULUS for _, forward in registers for total in forward]


def change(at: str | None, old_final: float, new_initial: float, on: int | None = None) -> dict[str, Any]:
    """A replacement at a time, or on a day of June 2025."""
    return {
        "meter": "M1",
        "replaced_at": local(at) if at else None,
        "replaced_on": date(2025, 6, on) if on else None,
        "old_final_m3": old_final,
        "new_initial_m3": new_initial,
    }


def of(register: Register, changes: Sequence[dict[str, Any]] = (), zone: ZoneInfo = ZONE, **facts: Any) -> Figures:
    rows = readings(register[0], forward_m3=register[1]).sort("ts")
    return figures(unit_tables(rows, DAYS, zone, registry=terminals({"step_min": 60, "q3_m3h": 100.0, **facts}), changes=changes))


def total(found: Figures, changes: Sequence[dict[str, Any]] = (), **facts: Any) -> float | None:
    """Volume of the four days as one period."""
    wanted = pl.DataFrame([("P", "M1", DAYS[0], DAYS[-1] + timedelta(days=1))], schema=periods.PERIOD, orient="row")
    volumes = periods.volumes(found.days, wanted, terminals({"step_min": 60, **facts}), typed("replacements", changes), ZONE)
    (volume_nl,) = volumes["volume_nl"].to_list() or [None]
    return None if volume_nl is None else volume_nl / NL_PER_M3


@dataclass
class Case:
    """A register and its figures: `days` by day of June (left out: 144 m³), `unclean` days, counts, the total."""

    register: Register
    days: dict[int, float | None] = field(default_factory=dict)
    unclean: set[int] = field(default_factory=set)
    total: float | None = 4 * DAY
    counts: dict[str, int] = field(default_factory=dict)
    highest_m3h: float = 6.0
    changes: Sequence[dict[str, Any]] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def half(register: float) -> float:
    return round(register / 2, 1)


def less_a_tenth(register: float) -> float:
    return round(register * 0.9, 1)


def near_zero(_: float) -> float:
    return 0.3


def zero(_: float) -> float:
    return 0.0


FALLS = {
    **{
        # A day that ends above its beginning does not show by itself that its register fell: the total stays missing.
        f"{name} {where} at {minutes} min": Case(
            spoilt(even(minutes), begin, hours, value),
            days,
            unclean,
            None if days and value is less_a_tenth else 4 * DAY,
            facts={"step_min": minutes},
        )
        for minutes in (15, 60)
        for name, value in (("a fall to half", half), ("a fall to near zero", near_zero), ("a fall by a tenth", less_a_tenth))
        for where, begin, hours, days, unclean in (
            ("in an hour", "03 08:00", 1, {}, {3}),
            ("for twelve hours of a day", "03 08:00", 12, {}, {3}),
            ("at the last reading of a day", "04 00:00", 0.2, {}, {3, 4}),
            ("for an hour over midnight", "03 23:30", 1, {}, {3, 4}),
            ("for twelve hours over midnight", "03 20:00", 12, {3: None, 4: None}, {3, 4}),
            ("for twenty hours over midnight", "03 20:00", 20, {3: None, 4: None}, {3, 4}),
        )
    },
    "a young meter that fell and went on past its old register": Case(
        spoilt(even(60), "03 08:00", 200, lambda v: v - 1216), {3: None}, {3}, None, {"reset": 1}
    ),
    "a fall that nothing explains, for good": Case(
        spoilt(even(60), "03 08:00", 200, lambda v: v - 500), {3: None}, {3}, None, {"reset": 1}
    ),
    "a fall that nothing explains, into the register's past": Case(
        spoilt(even(60), "03 08:00", 200, lambda v: v - 100), {3: None}, {3}, None, {"reset": 1}
    ),
}

ZEROS = {
    **{
        f"zeros {where} at {minutes} min": Case(
            spoilt(even(minutes), begin, hours, zero),
            days,
            unclean,
            counts={"refused": max(1, round(hours * 60 / minutes))},
            facts={"step_min": minutes},
        )
        for minutes in (1, 15, 60)
        for where, begin, hours, days, unclean in (
            ("for one reading", "03 08:00", 1 / 60, {}, {3}),
            ("at the last reading of a day", "03 00:00", 1 / 60, {}, {2, 3}),
            ("for an hour", "03 08:00", 1, {}, {3}),
            ("for twelve hours of a day", "03 06:00", 12, {}, {3}),
            ("for twelve hours over midnight", "03 21:00", 12, {3: None, 4: None}, {3, 4}),
            ("for twenty hours over midnight", "03 20:00", 20, {3: None, 4: None}, {3, 4}),
        )
    },
    "zeros twice a day": Case(
        spoilt(spoilt(even(15), "03 03:00", 1, zero), "03 15:00", 3, zero), {}, {3}, counts={"refused": 16, "bridged": 2}
    ),
    "zeros of a young meter that could have passed its register in an hour": Case(
        spoilt(even(60, first=10.0), "03 21:00", 12, zero), {3: None, 4: None}, {3, 4}, counts={"refused": 12}
    ),
    "a new meter that stands at zero is no restart": Case(even(60, first=0.0)),
    "one zero of a daily meter": Case(daily(1000, 1144, 0, 1432, 1576, 1720), {2: None, 3: None}, {2, 3}, highest_m3h=0),
    "two zeros of a daily meter": Case(
        daily(1000, 1144, 0, 0, 1576, 1720), {2: None, 3: None, 4: None}, {2, 3, 4}, highest_m3h=0
    ),
}

DAILY = {
    "a daily meter": Case(daily(1000, 1144, 1288, 1432, 1576, 1720), highest_m3h=0),
    "a fall to half of a daily meter": Case(daily(1000, 1144, 644, 1432, 1576, 1720), {2: None, 3: None}, {2, 3}, highest_m3h=0),
    "a fall to near zero of a daily meter": Case(
        daily(1000, 1144, 0.3, 1432, 1576, 1720), {2: None, 3: None}, {2, 3}, highest_m3h=0
    ),
    "a daily meter that was replaced unseen, with a hole in which the new one passes the old one's register": Case(
        (daily(40, 184, 0.3, 0, 0, 288)[0][:3] + daily(0, 0, 0, 0, 0, 0)[0][-1:], [40.0, 184.0, 0.3, 432.3]),
        {2: None, 3: None, 4: None, 5: None},
        {2},
        None,
        highest_m3h=0,
    ),
    "a spike of a daily meter": Case(
        daily(1000, 1144, 99_999, 1432, 1576, 1720), {2: None, 3: None}, {2, 3}, None, highest_m3h=0
    ),
    "a burst of a daily meter at twice what is possible": Case(
        daily(1000, 1144, 8344, 8488, 8632, 8776), {2: 7200.0}, {2}, 7200.0 + 3 * DAY, {"impossible_rise": 1}, 0
    ),
}


def burst(begin: str, hours: int, flow_m3h: float, *, goes_back: bool = False) -> Register:
    """Hourly readings of which some pass more, for good or until the register goes back."""
    at, forward = even(60)
    start, end = local(begin), local(begin) + timedelta(hours=hours)
    more, found = 0.0, []
    for instant, register in zip(at, forward, strict=True):
        more += (flow_m3h - 6.0) if start < instant <= end else 0.0
        found.append(round(register + (0.0 if goes_back and instant > end else more), 6))
    return at, found


def cut(register: Register, last: str) -> Register:
    """The readings up to a time: the end of the data."""
    count = sum(instant <= local(last) for instant in register[0])
    return register[0][:count], register[1][:count]


BURSTS = {
    "a burst of an hour at twice what is possible": Case(
        burst("03 08:00", 1, 300), {3: 438.0}, {3}, 870.0, {"impossible_rise": 1}, 300.0
    ),
    "a burst of five hours at twice what is possible": Case(
        burst("03 08:00", 5, 300), {3: 114 + 1500.0}, {3}, 432 + 1614.0, {"impossible_rise": 5}, 300.0
    ),
    "a burst of an hour at ten times what is possible": Case(
        burst("03 08:00", 1, 1500), {3: 1638.0}, {3}, 2070.0, {"impossible_rise": 1}, 1500.0
    ),
    "a burst over midnight": Case(
        burst("03 22:00", 4, 300), {3: 132 + 600.0, 4: 132 + 600.0}, {3, 4}, 288 + 1464.0, {"impossible_rise": 4}, 300.0
    ),
    "a rise that goes back after an hour": Case(burst("03 08:00", 1, 1500, goes_back=True), {}, {3}, counts={"refused": 1}),
    "a rise that goes back after three hours": Case(burst("03 08:00", 3, 300, goes_back=True), {}, {3}, counts={"refused": 3}),
    "a rise at the last reading of the data, which nothing confirms": Case(
        cut(burst("04 08:00", 1, 300), "04 09:00"), {4: None, 5: None}, {4}, None, {"refused": 1, "impossible_rise": 0}
    ),
    "a rise that one more reading confirms": Case(
        cut(burst("04 08:00", 1, 300), "04 10:00"), {4: None, 5: None}, {4}, None, {"refused": 0, "impossible_rise": 1}, 300.0
    ),
    "a limit typed ten times too small": Case(
        even(60, m3_per_hour=60.0),
        dict.fromkeys(range(2, 6), 1440.0),
        {2, 3, 4, 5},
        5760.0,
        {"impossible_rise": 96},
        60.0,
        facts={"q4_m3h": 5.0},
    ),
    "a limit typed in litres an hour still refuses zeros and spikes": Case(
        spoilt(spoilt(even(60), "03 08:00", 1, zero), "04 08:00", 1, lambda v: v + 5e5),
        {},
        {3, 4},
        counts={"refused": 2},
        facts={"q4_m3h": 125_000.0},
    ),
}

OLD = even(60, end="03 08:00")  # shows 1216.0 at its end
REPLACED = {
    "one on its day": Case(joined(OLD, even(60, 5.0, begin="03 09:00")), changes=[change(None, 1218, 1, on=3)]),
    "one of another day is not this fall": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00")), {3: None}, {3}, None, {"reset": 1}, changes=[change(None, 1218, 1, on=2)]
    ),
    "one written an hour too early": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00")), {}, {3}, counts={"refused": 1}, changes=[change("03 07:30", 1218, 1)]
    ),
    "one of a day without a reading": Case(
        joined(OLD, even(60, 5.0, begin="05 09:00")),
        {3: None, 4: None, 5: None},
        set(),
        192 + 144 + 4 + 90.0,
        changes=[change(None, 1360, 1, on=4)],
    ),
    "three in one silence, one by its day": Case(
        joined(OLD, even(60, 5.0, begin="05 09:00")),
        {3: None, 4: None, 5: None},
        set(),
        192 + (24 + 50 + 27 + 4) + 90.0,
        changes=[change("03 12:00", 1240, 100), change(None, 150, 3, on=4), change("05 02:00", 30, 1)],
    ),
    "two on a day with readings between": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00", end="03 15:00"), even(60, 700.0, begin="03 16:00")),
        changes=[change("03 08:30", 1219, 2), change("03 15:30", 44, 697)],
        counts={"replaced": 2},
    ),
    "two by one day with readings between, in either order of writing": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00", end="03 15:00"), even(60, 700.0, begin="03 16:00")),
        changes=[change(None, 44, 697, on=3), change(None, 1219, 2, on=3)],
        counts={"replaced": 2},
    ),
    "two by one day within an hour": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00")), changes=[change(None, 1217, 100, on=3), change(None, 102, 2, on=3)]
    ),
    "three within an hour": Case(
        joined(OLD, even(60, 5.0, begin="03 09:00")),
        changes=[change("03 08:10", 1217, 0), change("03 08:20", 1, 300), change("03 08:40", 301, 2)],
    ),
    "a new meter that begins just below its modulus": Case(
        joined(OLD, even(60, 999_990.0, begin="03 09:00")),
        changes=[change("03 08:30", 1219, 999_987)],
        counts={"replaced": 1, "rollover": 1},
    ),
    "a new meter that is written as below zero": Case(
        joined(OLD, even(60, 999_990.0, begin="03 09:00")),
        changes=[change("03 08:30", 1219, -13)],
        counts={"replaced": 1, "rollover": 1},
    ),
    "a new meter that reports below zero": Case(
        (OLD[0] + even(60, begin="03 09:00")[0], OLD[1] + even(60, -20.0, begin="03 09:00")[1]),
        changes=[change("03 08:30", 1219, -23)],
    ),
    "a final value a tenth below the last reading": Case(
        joined(OLD, even(60, 7.1, begin="03 09:00")), changes=[change("03 08:05", 1215.9, 1)]
    ),
    "a new meter from zero is no restart": Case(
        joined(even(60, end="03 07:00"), even(60, 0.0, begin="03 08:00")), changes=[change("03 08:00", 1216, 0)]
    ),
}

EVERY = {**FALLS, **ZEROS, **DAILY, **BURSTS, **{f"replaced: {name}": case for name, case in REPLACED.items()}}


@pytest.mark.parametrize("case", EVERY.values(), ids=EVERY.keys())
def test_days_and_their_total_are_right_or_missing(case: Case) -> None:
    facts = case.facts if case.register[0][1] - case.register[0][0] < timedelta(days=1) else {"step_min": 1440}
    found = of(case.register, case.changes, **facts)
    expected = {day.day: case.days.get(day.day, DAY) for day in DAYS}
    volumes = dict.fromkeys(expected) | {
        row["day"].day: None if row["volume_nl"] is None else row["volume_nl"] / NL_PER_M3 for row in found.days.to_dicts()
    }
    assert volumes == pytest.approx(expected, abs=1e-6)
    assert total(found, case.changes, **facts) == (None if case.total is None else pytest.approx(case.total, abs=1e-6))
    assert set(found.days.filter(~pl.col("clean"))["day"].dt.day()) == case.unclean
    for name, count in case.counts.items():
        assert found.days[f"{name}_count"].sum() == count, name
    assert (found.days["flow_max_m3h"].max() or 0) == pytest.approx(case.highest_m3h, abs=0.5)

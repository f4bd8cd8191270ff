"""Volumes of periods: differences of the register curve between their ends, over holes, replacements and roll-overs inside."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import calendar, periods
from assets.kernel import NL_PER_M3
from tests.figures import figures, readings, terminals, typed, unit_tables

SHANGHAI, ROME = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Rome")
JUNE = date(2025, 6, 1)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


def steady(start: str, end: str, first: float = 1000.0, m3_per_hour: float = 6.0) -> pl.DataFrame:
    """A register that rises evenly, read every hour from start to end, both included."""
    hours = int((local(end) - local(start)) / timedelta(hours=1))
    at = [local(start) + timedelta(hours=hour) for hour in range(hours + 1)]
    return readings(at, forward_m3=[first + m3_per_hour * hour for hour in range(hours + 1)])


def silent(rows: pl.DataFrame, after: str, before: str) -> pl.DataFrame:
    """The rows without those between two times, both of which stay."""
    return rows.filter(~((pl.col("ts") > local(after)) & (pl.col("ts") < local(before))))


def volume(
    rows: pl.DataFrame,
    first: date,
    end: date,
    *,
    changes: Sequence[dict[str, Any]] = (),
    zone: ZoneInfo = SHANGHAI,
    open_end: bool = False,
    **facts: Any,
) -> float | None:
    """Volume (m³) of the local days from first to end, end excluded."""
    registry = terminals(facts)
    days = calendar.days_between(first, end - timedelta(days=1))
    register_days = figures(unit_tables(rows, days, zone, registry=registry, changes=changes)).days
    wanted = pl.DataFrame([("P", "M1", first, end)], schema=periods.PERIOD, orient="row")
    found = periods.volumes(register_days, wanted, registry, typed("replacements", changes), zone, open_end=open_end)
    (volume_nl,) = found["volume_nl"].to_list() or [None]
    return None if volume_nl is None else volume_nl / NL_PER_M3


def june(rows: pl.DataFrame, **options: Any) -> float | None:
    return volume(rows, JUNE, date(2025, 7, 1), **options)


WHOLE_JUNE = ("2025-05-31T20:00", "2025-07-01T04:00")


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([15, 60]))
def test_a_month_is_the_difference_of_the_register_between_its_ends(seed: int, minutes: int) -> None:
    """Random flows in Rome's February, with three holes somewhere, none of them at an end of the month."""
    random = np.random.default_rng(seed)
    start, end = calendar.midnight(date(2025, 2, 1), ROME), calendar.midnight(date(2025, 3, 1), ROME)
    at = np.arange(start.timestamp(), end.timestamp() + 1, minutes * 60)
    register = np.round(5000 + np.cumsum(random.uniform(0, 100, len(at)) * minutes / 60), 1)
    keep = np.ones(len(at), bool)
    for place in random.integers(10, len(at) - 200, 3):
        keep[place : place + random.integers(1, 30 * 60 // minutes)] = False
    rows = readings([datetime.fromtimestamp(t, UTC) for t in at[keep]], forward_m3=register[keep].tolist())
    assert volume(rows, date(2025, 2, 1), date(2025, 3, 1), zone=ROME) == pytest.approx(register[-1] - register[0], abs=1e-6)


def test_a_hole_over_midnight_does_not_lose_the_months_volume() -> None:
    assert june(silent(steady(*WHOLE_JUNE), "2025-06-02T22:00", "2025-06-03T01:00")) == pytest.approx(30 * 144.0)


def test_a_month_that_begins_in_a_hole_has_no_volume() -> None:
    assert june(steady("2025-06-01T05:00", "2025-07-01T04:00")) is None


def test_a_month_that_goes_on_has_the_volume_so_far_where_that_is_asked_for() -> None:
    rows = silent(steady("2025-05-31T20:00", "2025-06-12T06:00"), "2025-06-04T20:00", "2025-06-06T03:00")
    assert june(rows) is None
    assert june(rows, open_end=True) == pytest.approx(6.0 * (11 * 24 + 6))


def test_a_month_crosses_silent_days_a_replacement_and_a_roll_over() -> None:
    """First part, three silent days within which the meter was changed, then a new register that rolls over."""
    old = steady("2025-05-31T20:00", "2025-06-10T06:00")
    new = steady("2025-06-13T06:00", "2025-07-01T04:00", first=999_000.0)
    new = new.with_columns(forward_m3=(pl.col("forward_m3") % 1_000_000.0).round(6))
    change = {
        "meter": "M1",
        "replaced_at": local("2025-06-12T09:00"),
        "old_final_m3": old["forward_m3"][-1] + 10.0,
        "new_initial_m3": 998_990.0,
    }
    expected = 6.0 * (9 * 24 + 6) + 10.0 + 10.0 + 6.0 * (17 * 24 + 18)
    assert june(pl.concat([old, new]), changes=[change]) == pytest.approx(expected)


SILENCE = ("2025-06-10T06:00", "2025-06-13T06:00")


def replacement(at: str | None, old_final: float, new_initial: float, on: date | None = None) -> dict[str, Any]:
    return {
        "meter": "M1",
        "replaced_at": local(at) if at else None,
        "replaced_on": on,
        "old_final_m3": old_final,
        "new_initial_m3": new_initial,
    }


REPLACED = {
    "two": [replacement("2025-06-11T09:00", 2_500.0, 100.0), replacement("2025-06-12T09:00", 150.0, 0.5)],
    "three, one of them by its date": [
        replacement("2025-06-10T09:00", 2_500.0, 100.0),
        replacement(None, 120.0, 7.0, on=date(2025, 6, 11)),
        replacement("2025-06-12T09:00", 37.0, 0.5),
    ],
    "two on one day": [
        replacement(None, 2_500.0, 100.0, on=date(2025, 6, 11)),
        replacement(None, 150.0, 0.5, on=date(2025, 6, 11)),
    ],
    "one by the date of the day when the silence began": [replacement(None, 2_550.0, 0.5, on=date(2025, 6, 10))],
    "one by the date of the day when the silence ended": [replacement(None, 2_550.0, 0.5, on=date(2025, 6, 13))],
    "one that began just below its modulus": [replacement("2025-06-11T09:00", 2_550.0, 999_999.0)],
}


@pytest.mark.parametrize("changes", REPLACED.values(), ids=REPLACED.keys())
def test_every_replacement_of_one_silence_counts(changes: list[dict[str, Any]]) -> None:
    old = steady("2025-05-31T20:00", SILENCE[0])
    last, first = old["forward_m3"][-1], 20.0
    new = steady(SILENCE[1], "2025-07-01T04:00", first=first)
    between = sum(change["old_final_m3"] - change["new_initial_m3"] for change in changes) + first - last
    if between < 0:
        between += 1_000_000.0
    expected = 6.0 * (9 * 24 + 6) + between + 6.0 * (17 * 24 + 18)
    assert june(pl.concat([old, new]), changes=changes) == pytest.approx(expected)


def test_a_replacement_that_is_not_written_down_leaves_the_month_without_a_volume() -> None:
    rows = pl.concat([steady("2025-05-31T20:00", SILENCE[0]), steady(SILENCE[1], "2025-07-01T04:00", first=3.0)])
    assert june(rows) is None


def test_the_volume_of_a_great_main_over_years_does_not_overflow() -> None:
    """Ten months at 6300 m³/h are more than 2⁶³ nl hold twice over."""
    at = [local("2024-01-01T00:00") + timedelta(hours=2 * step) for step in range(12 * 50)]
    late = [moment + timedelta(days=600) for moment in at]
    register = [float(12_600 * step) for step in range(len(at))]
    rows = readings([*at, *late], forward_m3=[*register, *(value + 12_600.0 * 12 * 600 for value in register)])
    first, end = date(2024, 1, 1), late[-1].astimezone(SHANGHAI).date()
    hours = (local(f"{end}T00:00") - local("2024-01-01T00:00")) / timedelta(hours=1)
    assert volume(rows, first, end, q4_m3h=7_875.0, digits=9, resolution_m3=1.0) == pytest.approx(6_300.0 * hours)

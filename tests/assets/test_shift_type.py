"""Shift types against plants whose way of working is known: the confusion matrix of a labelled fleet of a month."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from assets import calendar, marts, warehouse
from assets.partitions import Partitions
from tests.figures import empty_warehouse

ZONE = ZoneInfo("Asia/Shanghai")
DAYS = calendar.days_between(date(2025, 9, 1), date(2025, 9, 30))
TYPES = ("day", "two", "three", "continuous", "irregular")
PLANTS = 20
"""Of each type."""

Shape = Callable[[np.random.Generator, bool], np.ndarray]
"""Hourly volumes of a day of rest, or of a work day."""


def block(random: np.random.Generator, first: int, hours: int, idle: float) -> np.ndarray:
    """A day that is busy for some hours, each a bit different, with a dip at noon."""
    shape = np.full(24, idle)
    shape[first : first + hours] = 1 + 0.15 * random.standard_normal(hours)
    shape[12] *= 0.7
    return np.clip(shape, 0, None)


def plant(kind: str, random: np.random.Generator) -> Shape:
    """A plant of a type with its own hours, idle flow and rest."""
    idle, start = random.uniform(0, 0.15), int(random.integers(6, 9))
    day_hours, two_hours = int(random.integers(8, 12)), int(random.integers(15, 18))
    rest = random.uniform(0.05, 0.5)

    def shape(random: np.random.Generator, is_work: bool) -> np.ndarray:
        level = random.normal(1, 0.08) * (1 if is_work else rest)
        if kind == "day":
            return level * block(random, start, day_hours, idle)
        if kind == "two":
            return level * block(random, 6, two_hours, idle)
        if kind == "three":
            at_change = np.where(np.arange(24) % 8 == 0, 0.6, 1)
            return (level if is_work else level / rest * random.uniform(0.5, 0.8)) * at_change * random.normal(1, 0.08, 24)
        if kind == "continuous":
            return random.normal(1, 0.03) * random.normal(1, 0.03, 24)
        hours = int(random.integers(1, 7))
        return random.uniform(0.2, 3) * block(random, int(random.integers(0, 24 - hours)), hours, 0.02)

    return shape


@pytest.fixture(scope="module")
def confusion(tmp_path_factory: pytest.TempPathFactory) -> Counter[tuple[str, str | None]]:
    """How many plants of each type were found to be of which."""
    random = np.random.default_rng(96)
    kinds = {f"{kind}-{number}": kind for kind in TYPES for number in range(PLANTS)}
    hours = []
    for meter, kind in kinds.items():
        shape, scale = plant(kind, random), random.uniform(2, 200)
        for day in DAYS:
            start = datetime(day.year, day.month, day.day, tzinfo=ZONE)
            volumes = scale * shape(random, day.isoweekday() < 6)
            hours += [(meter, start + timedelta(hours=hour), day, float(max(0, volume))) for hour, volume in enumerate(volumes)]
    frame = pl.DataFrame(
        hours,
        schema={"meter": pl.String, "hour_start": pl.Datetime("us", str(ZONE)), "day": pl.Date, "volume_m3": pl.Float64},
        orient="row",
    )
    days = frame.group_by("meter", "day").agg(pl.col("volume_m3").sum()).with_columns(complete=pl.lit(True))
    with empty_warehouse(tmp_path_factory.mktemp("shifts") / "marts.duckdb", DAYS, ZONE) as connection:
        for name, rows in (("hourly_usage", frame), ("daily_usage", days)):
            with warehouse.registered(connection, "incoming", rows):
                connection.execute(f"insert into {name} by name select * from incoming").fetchall()
        Partitions(tuple(DAYS), ZONE).prepare(connection)
        by_name = {mart.name: mart for mart in marts.all_marts()}
        for name in ("daily_pattern", "shift_type"):
            marts.build(by_name[name], connection)
        found = connection.execute("select meter, shift_type from shift_type").fetchall()
    return Counter((kinds[meter], shift_type) for meter, shift_type in found)


def test_nineteen_of_twenty_plants_are_of_the_shift_type_that_they_work_in(confusion: Counter[tuple[str, str | None]]) -> None:
    right = {kind: confusion[kind, kind] for kind in TYPES}
    assert sum(confusion.values()) == len(TYPES) * PLANTS
    assert all(count >= 0.9 * PLANTS for count in right.values()), confusion
    assert sum(right.values()) >= 0.95 * len(TYPES) * PLANTS, confusion

"""What is served of the supply: today so far, by the hour, of a group, and the curve of a meter, against rows made by hand."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

FUNCTIONS = Path(__file__).parents[2] / "sql" / "functions"
DAY = date(2026, 3, 10)
MIDNIGHT = datetime(2026, 3, 9, 16, tzinfo=UTC)  # of that day in Shanghai

TABLES = """
drop schema if exists mart cascade;
create schema mart;
create table mart.hourly_usage (meter text, hour_start timestamptz, day date, volume_m3 double precision);
create table mart.meter (meter text, inlet_of text);
create table mart.hourly_pressure (meter text, hour_start timestamptz, day date, pressure_mpa double precision);
create table mart.group_usage
    (kind text, code text, grain text, period date, volume_m3 double precision, meters bigint, complete boolean);
create table mart.interval_reading
    (meter text, interval_start timestamptz, interval_end timestamptz, day date, flow_m3h double precision,
    pressure_mpa double precision, register_m3 double precision, seconds double precision);
"""


@pytest.fixture
def served(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(TABLES)
        for name in ("intervals", "curve", "supply_so_far", "supply_by_hour", "group_so_far"):
            connection.execute((FUNCTIONS / f"{name}.sql").read_text(encoding="utf-8"))
        yield connection
        connection.execute("drop schema mart cascade")


def hours(served: psycopg.Connection, meter: str, days_ago: int, volumes: list[float | None]) -> None:
    for hour, volume in enumerate(volumes):
        start = MIDNIGHT - timedelta(days=days_ago) + timedelta(hours=hour)
        row = [meter, start, DAY - timedelta(days=days_ago), volume]
        served.execute("insert into mart.hourly_usage values (%s, %s, %s, %s)", row)


def test_today_so_far_is_compared_with_the_hours_that_are_known_on_both_days(served: psycopg.Connection) -> None:
    hours(served, "M1", 0, [10, 20, None])
    hours(served, "M1", 1, [5, 10, 99, 99])
    hours(served, "M1", 7, [20, 40, 99])
    hours(served, "M2", 0, [100])  # nothing is known of its yesterday
    found = served.execute("select * from mart.supply_so_far(%s)", [DAY]).fetchone()
    assert found == (MIDNIGHT + timedelta(hours=2), 130, pytest.approx(100), pytest.approx(-50), 2)


def test_what_comes_into_a_zone_is_not_counted_beside_the_customers_behind(served: psycopg.Connection) -> None:
    hours(served, "M1", 0, [10])
    hours(served, "INLET", 0, [12])
    served.execute("insert into mart.meter values ('M1', null), ('INLET', 'Z1')")
    assert served.execute("select volume_m3, meters from mart.supply_so_far(%s)", [DAY]).fetchone() == (10, 1)
    assert served.execute("select volume_m3, meters from mart.supply_by_hour(%s, %s)", [DAY, DAY]).fetchone() == (10, 1)


def test_a_day_of_which_nothing_is_known_has_no_row_and_no_zero(served: psycopg.Connection) -> None:
    hours(served, "M1", 1, [5, 10])
    assert served.execute("select * from mart.supply_so_far(%s)", [DAY]).fetchall() == []


def test_an_hour_of_all_meters_says_of_how_many_it_is_known(served: psycopg.Connection) -> None:
    hours(served, "M1", 0, [10, None, None])
    hours(served, "M2", 0, [1, 2, None])
    found = served.execute("select volume_m3, meters from mart.supply_by_hour(%s, %s)", [DAY, DAY]).fetchall()
    assert found == [(11, 2), (2, 1), (None, 0)]


def test_a_month_so_far_is_compared_with_the_same_days_of_the_month_before(served: psycopg.Connection) -> None:
    for day, volume, complete in (
        (date(2026, 3, 1), 10, True),
        (date(2026, 3, 2), 30, True),
        (date(2026, 3, 9), 50, False),
        (date(2026, 2, 1), 20, True),
        (date(2026, 2, 2), 60, True),
        (date(2026, 3, 2) - timedelta(days=7), 999, True),
        (DAY, 12345, True),  # it has not ended
    ):
        served.execute("insert into mart.group_usage values ('all', 'all', 'day', %s, %s, 1, %s)", [day, volume, complete])
    found = served.execute("select * from mart.group_so_far('all', 'all', %s)", [DAY]).fetchone()
    assert found == (date(2026, 3, 9), 50, pytest.approx(100 * (50 / 30 - 1)), 90, pytest.approx(-50), False)


@pytest.mark.parametrize(("days", "steps"), [(8, {15.0}), (9, {60.0})])
def test_a_curve_has_the_raw_step_up_to_eight_days_and_the_hour_beyond(
    served: psycopg.Connection, days: int, steps: set[float]
) -> None:
    served.execute(
        "insert into mart.interval_reading select 'M1', t - interval '15 min', t, (t - interval '1 s')::date, 4, 0.3, 1, 900"
        " from generate_series(%s::timestamptz, %s, interval '15 min') as t",
        [MIDNIGHT, MIDNIGHT + timedelta(hours=2)],
    )
    hours(served, "M1", 0, [4, None])
    found = served.execute(
        "select ends_at, flow_m3h, step_min from mart.curve('M1', %s, %s)",
        [MIDNIGHT - timedelta(days=days - 1), MIDNIGHT + timedelta(days=1)],
    ).fetchall()
    assert {step for *_, step in found} == steps
    assert [at for at, *_ in found] == sorted(at for at, *_ in found)
    if steps == {60.0}:
        assert [(at - MIDNIGHT, flow) for at, flow, _ in found] == [(timedelta(hours=1), 4), (timedelta(hours=2), None)]

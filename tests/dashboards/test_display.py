"""The functions behind the boards of customers and meters, on a real PostgreSQL with rows of their own."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from assets import serving
from dashboards.boards.display import flow_pressure, latest_data
from tests.mart_fixture import ZONE, mart_server

OWN = """
CREATE TABLE mart.meter_history (meter text, customer_no text, first_day date, last_day date);
CREATE TABLE mart.hourly_usage (meter text, hour_start timestamptz, day date, volume_m3 double precision);
CREATE TABLE mart.customer_usage (customer_no text, grain text, period date, volume_m3 double precision, complete boolean);
CREATE TABLE mart.criterion (name text, valid_from date, valid_to date, value double precision);
CREATE TABLE mart.relation (meter text, kind text, code text, valid_to date);
INSERT INTO mart.meter_history VALUES ('A1', 'A', NULL, NULL), ('A2', 'A', NULL, '2026-03-10'), ('A2', 'B', '2026-03-11', NULL);
"""
"""What the functions read and the other boards' tests do not have, with the columns that they use."""

MADE = {
    "compare_periods",
    "current_figures",
    "customer_comparison",
    "customer_curve",
    "customers_compared",
    "register_course",
    "register_days",
}


@pytest.fixture(scope="module")
def marts() -> Iterator[psycopg.Connection[Any]]:
    """Customer A has the meter A1, and A2 until 10 March 2026, which is then B's: 100 and 10 m³ a day, one more each month."""
    with mart_server() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OWN)
        for function in serving.functions():
            if function.name in MADE:
                connection.execute(function.query)  # type: ignore[arg-type]
        connection.execute("""INSERT INTO mart.daily_usage (meter, day, volume_m3, reverse_m3, coverage, complete)
            SELECT meter, CAST(day AS date), volume + extract(month FROM day), 0, 1, true
            FROM (VALUES ('A1', 100), ('A2', 10)) AS meters (meter, volume)
            CROSS JOIN generate_series(date '2025-01-01', date '2026-03-30', interval '1 day') AS day""")
        yield connection


def one(marts: psycopg.Connection[Any], call: str) -> tuple[Any, ...]:
    found = marts.execute(f"SELECT * FROM mart.{call}").fetchone()
    assert found is not None
    return tuple(found)


@pytest.mark.parametrize(
    ("call", "yesterday", "month", "last_month"),
    [
        ("current_figures('A1', '2026-03-11')", 103, 10 * 103, 10 * 102),
        ("current_figures(NULL, '2026-03-11', 'A')", 116, 10 * 116, 10 * 114),
        ("current_figures(NULL, '2026-03-13', 'A')", 103, 10 * 116 + 2 * 103, 12 * 114),
        ("current_figures(NULL, '2026-03-13', 'B')", 13, 2 * 13, None),
        ("current_figures('A1', '2026-03-01')", 102, None, None),
        ("current_figures('A1', '2026-03-31')", 103, 30 * 103, 28 * 102),
        ("current_figures('nobody', '2026-03-11')", None, None, None),
    ],
)
def test_a_head_compares_this_month_with_the_same_days_of_the_last(marts, call, yesterday, month, last_month):
    found = one(marts, call)
    assert (found[5], found[7], found[8]) == (yesterday, month, last_month)


def test_a_head_has_no_sum_where_one_of_the_meters_has_no_figure(marts):
    marts.execute("""INSERT INTO mart.latest_status (meter, customer_no, reading_at, flow_m3h, pressure_mpa, today_m3)
        VALUES ('A1', 'A', '2026-03-11 00:00Z', 4, 0.31, 12), ('A9', 'A', '2026-03-10 00:00Z', 2, 0.28, NULL)""")
    flow, pressure, today = one(marts, "current_figures(NULL, '2026-03-11', 'A')")[1:4]
    assert (flow, pressure, today) == (6, 0.28, None)
    assert one(marts, "current_figures('A1', '2026-03-11')")[1:4] == (4, 0.31, 12)


def test_the_running_month_of_a_customer_is_held_against_the_same_days(marts):
    rows = {row[0]: row[1:] for row in marts.execute("SELECT * FROM mart.customer_comparison('A', '2026-03-06')").fetchall()}
    assert len(rows) == 13
    assert rows[date(2026, 3, 1)][:3] == (True, 5 * 116, 5 * 114)
    assert rows[date(2026, 3, 1)][4] == 5 * 116, "the same days of March a year ago"
    assert rows[date(2026, 2, 1)][:3] == (False, 28 * 114, 31 * 112), "whole months, however long"
    assert (
        marts.execute("SELECT elapsed_part FROM mart.customer_comparison('A', '2026-03-01') ORDER BY period").fetchall()
        == [(False,)] * 13
    ), "on the first the last month is whole"


def test_a_customers_curve_sums_its_meters_of_the_day_and_stays_open_where_one_is_not_known(marts):
    first = datetime(2026, 3, 9, 16, tzinfo=UTC)
    for meter, volumes in (("A1", [1, 2, None, *[5] * 24]), ("A2", [10, 20, 30, *[50] * 24])):
        for hour, volume in enumerate(volumes):
            starts = first + timedelta(hours=hour)
            day = (starts + timedelta(hours=8)).date()
            marts.execute("INSERT INTO mart.hourly_usage VALUES (%s, %s, %s, %s)", [meter, starts, day, volume])
    found = marts.execute("SELECT * FROM mart.customer_curve('A', %s, %s)", [first, first + timedelta(hours=26)]).fetchall()
    assert [row[1] for row in found[:4]] == [11, 22, None, 55]
    assert found[0][0] == first + timedelta(hours=1), "labelled by the end"
    assert [row[1:] for row in found[23:25]] == [(55, 2), (5, 1)], "A2 is another customer's from midnight on"


def test_customers_are_laid_over_each_other_by_their_own_mean_and_a_missing_period_is_no_zero(marts):
    marts.execute("""INSERT INTO mart.customer_usage VALUES
        ('A', 'month', '2026-01-01', 100, true), ('A', 'month', '2026-02-01', 300, true),
        ('A', 'month', '2026-03-01', 50, false), ('B', 'month', '2026-02-01', 8, true)""")
    call = """SELECT customer_no, extract(month FROM period), volume_m3, of_mean, complete
        FROM mart.customers_compared(%s, 'month', %s, %s)"""
    found = marts.execute(call, [["A", "B"], date(2026, 1, 1), date(2026, 3, 31)]).fetchall()
    assert found == [
        ("A", 1, 100, 0.5, True),
        ("B", 1, None, None, False),
        ("A", 2, 300, 1.5, True),
        ("B", 2, 8, 1, True),
        ("A", 3, 50, 0.25, False),
        ("B", 3, None, None, False),
    ]


def test_the_course_of_a_register_sums_up_across_a_change_of_the_meter(marts):
    starts = datetime(2026, 3, 1, 16, tzinfo=UTC)
    steps = [(2, 0, 1002), (None, None, None), (3, 1, 3), (4, 0, 7)]
    for place, (volume, reverse, register) in enumerate(steps):
        marts.execute(
            "INSERT INTO mart.interval_reading (meter, interval_start, interval_end, day, volume_m3, reverse_m3, register_m3)"
            " VALUES ('A1', %s, %s, '2026-03-02', %s, %s, %s)",
            [starts + timedelta(hours=place), starts + timedelta(hours=place + 1), volume, reverse, register],
        )
    marts.execute("INSERT INTO mart.data_quality (meter, day, replacements) VALUES ('A1', '2026-03-02', 1)")
    found = marts.execute("SELECT * FROM mart.register_course('A1', %s, %s)", [starts, starts + timedelta(hours=9)]).fetchall()
    assert [row[1:] for row in found] == [(1002, 2, 0, 2), (None, 2, 0, 2), (3, 5, 1, 4), (7, 9, 1, 8)]
    days = marts.execute("SELECT * FROM mart.register_days('A1', '2026-03-01', '2026-03-02')").fetchall()
    assert [(row[0].day, row[1], row[3], row[6]) for row in days] == [(1, None, 103, False), (2, 7, 103, True)]


@pytest.mark.parametrize(("typed", "line"), [("60", 60), ("2.5", 2.5), ("", 250), ("a lot", 250), ("1e9", 250), ("-5", 250)])
def test_the_reference_line_is_what_people_type_else_the_meters_own(marts, typed, line):
    sql = flow_pressure.LINE.replace("${limit_m3h:sqlstring}", f"'{typed}'").replace("${meter:sqlstring}", "'M1'")
    assert marts.execute(f"SELECT {sql}").fetchone() == (line,)


def test_the_latest_table_has_the_urgent_first_and_says_what_is_silent(marts):
    marts.execute("DELETE FROM mart.latest_status WHERE meter LIKE 'A%'")
    sql = latest_data.latest_rows().replace("${__timezone:sqlstring}", f"'{ZONE}'").replace("${search:sqlstring}", "''")
    sql = sql.replace("${kind:sqlstring}", "'all'").replace("${code:sqlstring}", "'all'")
    found = marts.execute(sql).fetchall()
    assert [(row[1], row[3]) for row in found] == [("M2", "电池低电压, 箱门打开, 压力越下限"), ("M3", "静默"), ("M1", None)]
    assert [row[4] for row in found] == [0.121, None, 0.312], "missing is missing"

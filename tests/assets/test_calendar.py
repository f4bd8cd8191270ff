"""Local days and months are civil ones, whatever the zone does with its clocks."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import calendar

SHANGHAI, ROME = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Rome")
HOLE = timedelta(hours=2)
ZONES = st.sampled_from(
    ["Asia/Shanghai", "Europe/Rome", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
).map(ZoneInfo)
DAYS = st.dates(date(1986, 1, 1), date(2036, 12, 30))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (SHANGHAI, date(2025, 3, 30), 24),
        (SHANGHAI, date(1986, 5, 4), 23),
        (ROME, date(2025, 3, 30), 23),
        (ROME, date(2025, 10, 26), 25),
        (ROME, date(2025, 10, 27), 24),
        (ZoneInfo("America/Sao_Paulo"), date(2018, 11, 4), 23),  # the clock goes on at midnight: the day begins at 01:00
        (ZoneInfo("Asia/Kathmandu"), date(2025, 6, 1), 24),
    ],
)
def test_a_day_has_the_hours_of_its_zone(zone: ZoneInfo, day: date, hours: int) -> None:
    assert calendar.midnight(day + timedelta(days=1), zone) - calendar.midnight(day, zone) == timedelta(hours=hours)


@given(ZONES, DAYS)
def test_midnight_is_the_first_instant_of_its_day(zone: ZoneInfo, day: date) -> None:
    instant = calendar.midnight(day, zone)
    assert instant.astimezone(zone).date() == day
    assert (instant - timedelta(seconds=1)).astimezone(zone).date() < day


@given(DAYS)
def test_months_follow_each_other(day: date) -> None:
    month = calendar.month_of(day)
    assert month <= day < calendar.next_month(month)
    assert calendar.previous_month(calendar.next_month(month)) == month
    assert calendar.next_month(month).day == 1


@pytest.mark.parametrize(
    ("day", "before"),
    [
        (date(2024, 2, 29), date(2023, 2, 28)),
        (date(2025, 2, 28), date(2024, 2, 28)),
        (date(2025, 3, 1), date(2024, 3, 1)),
        (date(2024, 2, 28), date(2023, 2, 28)),
    ],
)
def test_29_february_compares_with_the_28th(day: date, before: date) -> None:
    assert calendar.year_before(day) == before


@given(DAYS)
def test_the_days_that_compare_with_a_day_are_all_found(day: date) -> None:
    around = calendar.days_between(day + timedelta(days=360), day + timedelta(days=370))
    assert calendar.years_after(day) == [later for later in around if calendar.year_before(later) == day]


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2025-06-02 12:00", "2025-06-02 12:00", [date(2025, 6, 2)]),
        ("2025-06-02 23:00", "2025-06-02 23:00", [date(2025, 6, 2), date(2025, 6, 3)]),
        ("2025-06-02 01:00", "2025-06-02 03:00", [date(2025, 6, 1), date(2025, 6, 2)]),
        ("2025-06-02 00:00", "2025-06-02 00:00", [date(2025, 6, 1), date(2025, 6, 2)]),
        ("2025-06-02 02:00", "2025-06-02 02:00", [date(2025, 6, 1), date(2025, 6, 2)]),
        ("2025-06-02 02:01", "2025-06-02 21:59", [date(2025, 6, 2)]),
        ("2025-06-02 22:00", "2025-06-02 22:00", [date(2025, 6, 2), date(2025, 6, 3)]),
        ("2025-06-01 12:00", "2025-06-03 23:30", [date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3), date(2025, 6, 4)]),
    ],
)
def test_a_span_touches_the_days_within_a_holes_length(start: str, end: str, days: list[date]) -> None:
    first, last = (datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC) for text in (start, end))
    assert calendar.days_touched(first, last, HOLE, SHANGHAI) == days


def test_a_holes_length_is_elapsed_time_where_the_clock_changes() -> None:
    """On 30 March 2025 02:30 in Rome does not exist: 03:30 is one and a half hours after 01:00, 2.5 after midnight."""
    at = datetime(2025, 3, 30, 1, 30, tzinfo=UTC)
    assert at.astimezone(ROME).hour == 3
    assert calendar.days_touched(at, at, timedelta(hours=2), ROME) == [date(2025, 3, 30)]
    assert calendar.days_touched(at, at, timedelta(hours=2.5), ROME) == [date(2025, 3, 29), date(2025, 3, 30)]


@given(st.sets(DAYS.filter(lambda day: day.year == 2025), max_size=40))
def test_runs_are_the_days_as_the_fewest_ranges(days: set[date]) -> None:
    found = list(calendar.runs(days))
    assert [day for first, last in found for day in calendar.days_between(first, last)] == sorted(days)
    assert all(later[0] - earlier[1] > timedelta(days=1) for earlier, later in itertools.pairwise(found))

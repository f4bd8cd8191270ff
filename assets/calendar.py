"""Local civil days and months of the utility's zone as instants. No data, no tables."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from ingest_daemon.contract.schema import TIMESTAMP

TICK = timedelta(microseconds=1)
"""The resolution of times."""


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which a local day begins (23-, 24- and 25-hour days alike)."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def midnights(days: pl.Series, zone: ZoneInfo, *, later: int = 0) -> pl.Series:
    """The instants at which days begin, or the days so many days later; null where there is none. A day is looked up once."""
    known = days.unique().drop_nulls()
    instants = pl.Series([midnight(day + timedelta(days=later), zone) for day in known], dtype=TIMESTAMP)
    return days.replace_strict(known, instants, default=None, return_dtype=TIMESTAMP)


def microseconds(instant: datetime) -> int:
    """µs since 1970 UTC."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // TICK


def instant(microseconds: int) -> datetime:
    """The instant (UTC) of µs since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def month_of(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """The first day of the following month."""
    return (month + timedelta(days=32)).replace(day=1)


def previous_month(month: date) -> date:
    """The first day of the month before."""
    return (month - timedelta(days=1)).replace(day=1)


def year_before(day: date) -> date:
    """The same day a year earlier; 29 February compares with the 28th (docs/domain.md#growth-rates)."""
    return day.replace(year=day.year - 1, day=28) if (day.month, day.day) == (2, 29) else day.replace(year=day.year - 1)


def years_after(day: date) -> list[date]:
    """The days whose year-before is this one: normally one, for 28 February two before a leap day."""
    later = [date(day.year + 1, day.month, 28 if (day.month, day.day) == (2, 29) else day.day)]
    if (day.month, day.day) == (2, 28) and _is_leap(day.year + 1):
        later.append(date(day.year + 1, 2, 29))
    return [candidate for candidate in later if year_before(candidate) == day]


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_between(first: date, last: date) -> list[date]:
    """Every day from first to last, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def days_touched(start: datetime, end: datetime, reach: timedelta, zone: ZoneInfo) -> list[date]:
    """Local days whose figures a reading within [start, end] can change: those that lie within `reach` of it.

    A day is (00:00, 24:00]: the midnight reading closes the day before, and opens the next.
    """
    # The step back is the resolution of a time: a span that starts exactly `reach` after midnight still reaches the day before.
    first, last = (start - reach - TICK).astimezone(zone), (end + reach).astimezone(zone)
    return days_between(first.date(), last.date())


def runs(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """Days as contiguous ranges (first, last), in order."""
    ordered = sorted(set(days))
    start = 0
    for index, day in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] - day > timedelta(days=1):
            yield ordered[start], day
            start = index + 1

"""Partitions: which keys of a table a set of touched local days leads to.

Each way of cutting a table is one `Partitioning`: the temporary table with the touched keys, its columns, and how its rows follow
from the days. Marts select from these tables, replace and publish the rows whose key lies in them.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from assets import calendar, changed_days, warehouse
from ingest_daemon.contract.schema import TIMESTAMP

ALIGNED = timedelta(days=364)
"""From a day to the one nearest a year later that is the same day of the week."""

IN_PIECES = ("day", "month")
"""Cuts of tables that are made in pieces where the days are many."""

PIECE_METER_DAYS = 124_000
"""Days of meters of which tables with a row an hour are made at a time: they have three million hours."""


class Partitions(NamedTuple):
    """The partitions that a set of touched local days leads to.

    `everything`: the days are all that there are, and partitions that do not follow from days are touched as well.
    """

    days: tuple[date, ...]
    zone: ZoneInfo
    everything: bool = False

    @property
    def months(self) -> list[date]:
        """The months of the days."""
        return sorted({calendar.month_of(day) for day in self.days})

    @property
    def years(self) -> list[date]:
        """The years of the days, by their first day."""
        return sorted({day.replace(month=1, day=1) for day in self.days})

    @property
    def compared_days(self) -> list[date]:
        """The days whose comparison uses one of the days: itself, the next, the same day a year later and 364 days later."""
        return sorted(
            {
                *self.days,
                *(day + timedelta(days=1) for day in self.days),
                *(later for day in self.days for later in calendar.years_after(day)),
                *(day + ALIGNED for day in self.days),
            }
        )

    @property
    def compared_months(self) -> list[date]:
        """The months whose comparison uses one of the months: itself, the next, and the same a year later."""
        months = self.months
        return sorted(
            {
                *months,
                *(calendar.next_month(month) for month in months),
                *(_next_year(month) for month in months),
            }
        )

    @property
    def compared_years(self) -> list[date]:
        """The years whose comparison uses one of the years: itself and the next."""
        return sorted({*self.years, *(_next_year(year) for year in self.years)})

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the temporary table of every `Partitioning`."""
        for partitioning in PARTITIONINGS.values():
            partitioning.prepare(connection, self)

    def pieces(self, word: str, meters: int) -> list["Partitions"]:
        """The partitions of a table that is cut by `word`, so many at a time as need little memory for so many meters.

        `word` is one of `IN_PIECES`: tables that look beyond their own days or months are not cut, and their rows are few.
        """
        if len(self.days) * meters <= PIECE_METER_DAYS:
            return [self]
        if word == "month":
            months = {month: [day for day in self.days if calendar.month_of(day) == month] for month in self.months}
            return [self._replace(days=tuple(days)) for days in months.values()]
        most = max(1, PIECE_METER_DAYS // meters)
        return [self._replace(days=self.days[start : start + most]) for start in range(0, len(self.days), most)]


class Partitioning(NamedTuple):
    """One way of cutting a table.

    `touched`: temporary table of the touched keys. `keys`: its key columns, which the table cut by it has as well. `rows`: the
    rows of `touched`, as a frame or as a select of the warehouse, which may use the temporary tables listed before it; None: the
    table is one partition.
    """

    touched: str
    keys: tuple[str, ...]
    rows: Callable[[Partitions], pl.DataFrame | str] | None

    @property
    def condition(self) -> str:
        """SQL condition for the rows of the touched partitions."""
        keys = ", ".join(self.keys)
        return f"({keys}) in (select ({keys}) from {self.touched})" if self.rows else "true"

    def prepare(self, connection: duckdb.DuckDBPyConnection, partitions: Partitions) -> None:
        """Make `touched`."""
        if not self.rows:
            return
        rows = self.rows(partitions)
        made = f"create or replace temp table {self.touched} as"
        if isinstance(rows, str):
            connection.execute(f"{made} {rows}").fetchall()
            return
        with warehouse.registered(connection, "incoming", rows):
            connection.execute(f"{made} select * from incoming").fetchall()


def _days(partitions: Partitions) -> pl.DataFrame:
    return _instants("day", partitions.days, lambda day: day + timedelta(days=1), partitions.zone)


def _months(partitions: Partitions) -> pl.DataFrame:
    return _instants("month", partitions.months, calendar.next_month, partitions.zone)


def _years(partitions: Partitions) -> pl.DataFrame:
    return _instants("year", partitions.years, _next_year, partitions.zone)


def _instants(name: str, keys: Sequence[date], following: Callable[[date], date], zone: ZoneInfo) -> pl.DataFrame:
    """A row a key: `name`, `starts_at`, `ends_at`."""
    rows = [(key, calendar.midnight(key, zone), calendar.midnight(following(key), zone)) for key in keys]
    return pl.DataFrame(rows, schema={name: pl.Date, "starts_at": TIMESTAMP, "ends_at": TIMESTAMP}, orient="row")


def _compared(partitions: Partitions) -> pl.DataFrame:
    return _periods(partitions.compared_days, partitions.compared_months, partitions.compared_years)


def _grains(partitions: Partitions) -> pl.DataFrame:
    """A row a day, month and year of the days: `grain`, `period`, and `next`, the day after it."""
    rows = [
        *(("day", day, day + timedelta(days=1)) for day in partitions.days),
        *(("month", month, calendar.next_month(month)) for month in partitions.months),
        *(("year", year, _next_year(year)) for year in partitions.years),
    ]
    return pl.DataFrame(rows, schema={"grain": pl.String, "period": pl.Date, "next": pl.Date}, orient="row")


def _periods(days: Iterable[date], months: Iterable[date], years: Iterable[date]) -> pl.DataFrame:
    """A row a period: `grain`, `period`, and those that it is compared with: `previous`, `last_year`, of a day `aligned`."""
    rows = [
        *(("day", day, day - timedelta(days=1), calendar.year_before(day), day - ALIGNED) for day in days),
        *(("month", month, calendar.previous_month(month), calendar.year_before(month), None) for month in months),
        *(("year", year, calendar.year_before(year), calendar.year_before(year), None) for year in years),
    ]
    schema = {"grain": pl.String(), **dict.fromkeys(("period", "previous", "last_year", "aligned"), pl.Date())}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _next_year(first_day: date) -> date:
    return first_day.replace(year=first_day.year + 1)


def _weekdays(partitions: Partitions) -> str:
    """The days of the week of the touched days."""
    return "select distinct cast(isodow(day) as integer) as weekday from touched_day"


def _fit_months(partitions: Partitions) -> str:
    """The months whose window of meter fit holds a touched month."""
    return (
        "select distinct cast(month + to_months(cast(ahead as integer)) as date) as month from ("
        "select month, unnest(generate_series(0, cast(criterion('fit.months', month) as bigint) - 1)) as ahead from touched_month"
        ") where month + to_months(cast(ahead as integer)) <= greatest("
        "(select max(day) from unit_day), (select max(day) from touched_day))"
    )


DATA_DAYS = "select day, lag(day) over (order by day) as before from (select day from unit_day union select day from touched_day)"
"""Days that have figures or are touched, each with the one before it: what lies between had no reading at all."""


def _days_on(last: str) -> str:
    """From the day after the last one with figures to `last`, an expression of the touched `day`; none after all figures."""
    return f"""
        with days as ({DATA_DAYS})
        select distinct
            cast(unnest(generate_series(coalesce(before + 1, day), least({last}, newest), interval 1 day)) as date) as day
        from days
        join touched_day using (day)
        cross join (select max(day) as newest from days)"""


def _reviewed_days(_: Partitions) -> str:
    """Days that are held against a touched day or its month: later ones in the window of like days and in the next month."""
    return _days_on(
        "greatest(last_day(cast(day + interval 1 month as date)), day + cast(criterion('vee.like_window_days', day) as integer))"
    )


def _success_days(_: Partitions) -> str:
    """Days whose window of reading success holds a touched day: `day`, `window_days`."""
    days = _days_on("day + cast(criterion('reading.window_days', day) as integer) - 1")
    return f"select day, cast(criterion('reading.window_days', day) as integer) as window_days from ({days})"


def _gap_days(partitions: Partitions) -> str:
    """Days of gaps: touched ones, and those of gaps that a run found, closed or saw expire."""
    return "select day from touched_day union select day from " + ("gap_ledger" if partitions.everything else "gap_changed")


def _bills(partitions: Partitions) -> str:
    """Bills whose period holds a touched day, and those that the billing system has changed or taken back."""
    touched = "exists (select 1 from touched_day where day >= period_start and day < period_end)"
    return (
        f"select bill_no from billing.bill where {'true' if partitions.everything else touched} "
        "union select bill_no from billing.changed_bill"
    )


def _customers(partitions: Partitions) -> str:
    """Days, months and years of the days, and of those on which meters are other customers' than they were.

    `grain`, `period`, and `next`, the day after it. The days are those of `touched_day`.
    """
    changed = f"(select distinct * from {changed_days.TABLE})"
    periods = (
        f"select '{grain}' as grain, cast(date_trunc('{grain}', day) as date) as period, "
        f"cast(date_trunc('{grain}', day) + interval 1 {grain} as date) as next from days"
        for grain in ("day", "month", "year")
    )
    return (
        f"with days as (select day from touched_day union "
        f"select unit_day.day from unit_day join {changed} on day between first_day and last_day) {' union '.join(periods)}"
    )


def _ranks(partitions: Partitions) -> str:
    """The periods of customers and those after them, each with the one before: `grain`, `period`, `previous`."""
    return (
        "select grain, period, cast(period - case grain when 'day' then interval 1 day when 'month' then interval 1 month "
        "else interval 1 year end as date) as previous "
        "from (select grain, period from touched_customer union select grain, next from touched_customer)"
    )


SHIFT_DAYS = 10
"""Days around a bill's period that tell why it differs from what was measured: its reads may be as far from the period's ends."""


def _disputes(partitions: Partitions) -> str:
    """Bills of the periods of touched bills, and of touched days shortly before or after, and those of the periods beside them:
    meters that were swapped are found among the bills of one period, and what one bill has too much the next one sets right."""
    near = f"exists (select 1 from touched_day where day >= period_start - {SHIFT_DAYS} and day < period_end + {SHIFT_DAYS})"
    touched = "true" if partitions.everything else near
    return f"""
        with periods as (select distinct period_start, period_end from billing.bill where period_start is not null),
        own as (
            select period_start, period_end from periods where {touched}
            union
            select period_start, period_end from billing.bill semi join touched_bill using (bill_no)
        ),
        wanted as (
            select * from own
            union
            select periods.* from periods
            join own on periods.period_end = own.period_start or periods.period_start = own.period_end
        )
        select bill_no from billing.bill join wanted using (period_start, period_end)
        union select bill_no from touched_bill"""


ACCOUNT_YEARS = 10
"""Months of account further back come from a date that is typed wrong."""


def _account_months(partitions: Partitions) -> str:
    """Months of account (`month`, `next_month`) of the days, and every month since the first in which billing changed something:
    what is owed goes on from month to month. None before the first bill."""
    own = "account_month_of(account_month, issued_on, period_end)"
    bills = f"select {own} as month from billing.bill union all select month from month_end"  # billing takes old bills away
    changed = bills if partitions.everything else "select month from billing.changed_month"
    return f"""
        with sound as (
            select min(month) as first_month
            from ({bills})
            where month between current_date - interval {ACCOUNT_YEARS} year and current_date
        ),
        changed as (
            select greatest(min(month), first_month) as month
            from ({changed}), sound
            where month <= current_date
            group by first_month
        ),
        touched as (
            select month from touched_month, sound where month >= first_month
            union
            select cast(unnest(generate_series(month, date_trunc('month', current_date), interval 1 month)) as date) from changed
        )
        select month, cast(month + interval 1 month as date) as next_month from touched order by month"""


def _account_years(_: Partitions) -> str:
    """Years of the months of account, and the next ones, which compare with them."""
    return """
        select distinct cast(date_trunc('year', month) + to_years(later) as date) as year
        from touched_account, (values (0), (1)) as years (later)
        where date_trunc('year', month) + to_years(later) <= current_date"""


def _nights(_: Partitions) -> str:
    """The touched days, and the later ones whose baseline, or whose first suspect night, goes back to one of them."""
    return _followed("2 * criterion('night.baseline_nights', day)")


def _reversals(_: Partitions) -> str:
    """The touched days, the ones before, from which an event may last, and the later ones whose hints look back to them."""
    followed = _followed("criterion('reverse.history_days', day)")
    return f"{followed} union select cast(day - 1 as date) from touched_day"


def _forecasts(_: Partitions) -> str:
    """The days of forecasts that look at a touched day."""
    return _followed("7 * criterion('forecast.weeks', day) + criterion('forecast.calibration_days', day) + 15")


def _made_on(_: Partitions) -> str:
    """The days on which forecasts are made, and those whose forecasts are kept no more."""
    return (
        "select day as made_on from touched_forecast union "
        "select newest - cast(criterion('forecast.kept_days', newest) as integer) - cast(gone as integer) "
        f"from (select max(day) as newest from unit_day), range({GONE_DAYS}) as before (gone) where newest is not null"
    )


GONE_DAYS = 31
"""Days before the kept ones whose forecasts are taken away, should so many days have passed since the last run."""


def _forecast_months(_: Partitions) -> str:
    """The months of scores that forecasts of touched days change."""
    return "select distinct cast(date_trunc('month', day) as date) as month from touched_forecast"


def _changes(_: Partitions) -> str:
    """The weeks (by their Monday) whose changes look at a touched day."""
    return (
        "select distinct cast(date_trunc('week', day) as date) + 7 * cast(later as integer) as week from touched_day, "
        "generate_series(0, cast(criterion('change.weeks', day) as bigint) + 1) as after (later) "
        "where cast(date_trunc('week', day) as date) + 7 * cast(later as integer) <= "
        "greatest((select max(unit_day.day) from unit_day), (select max(day) from touched_day))"
    )


def _followed(days: str) -> str:
    """The touched days and so many days after each that have figures."""
    return (
        "select day from touched_day union select cast(day + cast(later as integer) as date) "
        f"from touched_day, generate_series(1, cast({days} as bigint)) as after (later) "
        "where day + cast(later as integer) <= (select max(unit_day.day) from unit_day)"
    )


PARTITIONINGS = {
    "whole": Partitioning("", (), None),
    "day": Partitioning("touched_day", ("day",), _days),
    "month": Partitioning("touched_month", ("month",), _months),
    "year": Partitioning("touched_year", ("year",), _years),
    "comparison": Partitioning("touched_period", ("grain", "period"), _compared),
    "grain": Partitioning("touched_grain", ("grain", "period"), _grains),
    "weekday": Partitioning("touched_weekday", ("weekday",), _weekdays),
    "fit": Partitioning("touched_fit_month", ("month",), _fit_months),
    "night": Partitioning("touched_night", ("day",), _nights),
    "reverse": Partitioning("touched_reverse", ("day",), _reversals),
    "forecast": Partitioning("touched_forecast", ("day",), _forecasts),
    "made_on": Partitioning("touched_made_on", ("made_on",), _made_on),
    "forecast_month": Partitioning("touched_forecast_month", ("month",), _forecast_months),
    "change": Partitioning("touched_change", ("week",), _changes),
    "review": Partitioning("touched_review_day", ("day",), _reviewed_days),
    "success": Partitioning("touched_success_day", ("day",), _success_days),
    "gap": Partitioning("touched_gap", ("day",), _gap_days),
    "bill": Partitioning("touched_bill", ("bill_no",), _bills),
    "customer": Partitioning("touched_customer", ("grain", "period"), _customers),
    "rank": Partitioning("touched_rank", ("grain", "period"), _ranks),
    "dispute": Partitioning("touched_dispute", ("bill_no",), _disputes),
    "account": Partitioning("touched_account", ("month",), _account_months),
    "account_year": Partitioning("touched_account_year", ("year",), _account_years),
}
"""By the word that a mart's header has for it."""

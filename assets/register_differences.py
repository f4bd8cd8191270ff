"""Volumes of periods as differences of the register curve: of months, years and the periods of bills."""

from datetime import date
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from assets import periods, warehouse
from assets.kernel import NL_PER_M3

REGISTER_DAY = "meter, day, first_at, first_ul, last_at, last_ul, between_nl, replaced_count, clean"
"""Columns of `unit_day` that a difference needs."""

BILL_DAYS = (date(1970, 1, 1), date(2200, 1, 1))
"""Bills of periods outside of these days are not measured: there is no reading, and a date may be absurd."""

REGISTER_BILL: dict[str, pl.DataType] = {"bill_no": pl.String(), "meter": pl.String(), "volume_m3": pl.Float64()}
"""The volume that the register moved in the period of a bill, of each of its meters."""

NO_VOLUMES = pl.DataFrame(schema={"key": pl.String(), "meter": pl.String(), "volume_m3": pl.Float64()})


def make_months(connection: duckdb.DuckDBPyConnection, months: list[date], zone: ZoneInfo) -> int:
    """Replace `register_month` of the months. Gives the rows written."""
    days = warehouse.frame(
        connection, f"select {REGISTER_DAY} from unit_day join touched_month on day >= month and day < month + interval 1 month"
    )
    wanted = periods.month_periods(days, months)
    whole = period_volumes(connection, days, wanted, zone)
    so_far = period_volumes(connection, days, wanted, zone, open_start=True, open_end=True)
    rows = so_far.rename({"volume_m3": "so_far_m3"}).join(whole, on=["key", "meter"], how="left")
    rows = rows.select("meter", "volume_m3", "so_far_m3", month=pl.col("key").str.to_date())
    return warehouse.replace_rows(connection, "register_month", rows, "month", months)


def make_years(connection: duckdb.DuckDBPyConnection, years: list[date], zone: ZoneInfo) -> int:
    """Replace `register_year` of the years: of meters whose register is known on the first and the last day, but not at the end
    of every month between. Other years are the sum of their months. Gives the rows written.
    """
    wanted = warehouse.frame(
        connection,
        "select cast(year as varchar) as key, starts.meter, year as first, cast(year + interval 1 year as date) as end "
        "from touched_year join unit_day as starts on starts.day = year "
        "join unit_day as ends on ends.day = year + interval 1 year - interval 1 day and ends.meter = starts.meter "
        "where (select count(volume_m3) from register_month where register_month.meter = starts.meter "
        "and month >= year and month < year + interval 1 year) < 12",
    )
    found = period_volumes(connection, _days_of(connection, wanted), wanted, zone) if wanted.height else NO_VOLUMES
    rows = found.select("meter", "volume_m3", year=pl.col("key").str.to_date())
    return warehouse.replace_rows(connection, "register_year", rows, "year", years)


def period_volumes(
    connection: duckdb.DuckDBPyConnection,
    register_days: pl.DataFrame,
    wanted: pl.DataFrame,
    zone: ZoneInfo,
    *,
    open_start: bool = False,
    open_end: bool = False,
) -> pl.DataFrame:
    """`key`, `meter`, `volume_m3` of periods, with the facts of the registry; see `periods.volumes`."""
    terminals, replacements = (
        warehouse.frame(connection, f"select * from registry.{name}") for name in ("terminals", "replacements")
    )
    found = periods.volumes(register_days, wanted, terminals, replacements, zone, open_start=open_start, open_end=open_end)
    return found.select("key", "meter", volume_m3=pl.col("volume_nl") / NL_PER_M3)


def make_bills(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo) -> int:
    """Replace `register_bill` of the touched bills. Gives the rows written.

    Bills of each month apart: so many days of the register are joined with so many bills at a time.
    """
    bills = warehouse.frame(
        connection,
        "select bill_no as key, meter_no as meter, period_start as first, period_end as end from billing.bill "
        "join touched_bill using (bill_no) where meter_no is not null and period_start < period_end "
        f"and period_start >= '{BILL_DAYS[0]}' and period_end < '{BILL_DAYS[1]}' order by all",
    )
    found = [
        period_volumes(connection, _days_of(connection, own), own, zone)
        for _, own in bills.group_by(pl.col("first").dt.month_start(), maintain_order=True)
    ]
    rows = pl.concat([pl.DataFrame(schema=REGISTER_BILL), *(own.rename({"key": "bill_no"}) for own in found)])
    connection.execute("delete from register_bill where bill_no in (select bill_no from touched_bill)").fetchall()
    warehouse.append(connection, "register_bill", rows)
    return rows.height


def _days_of(connection: duckdb.DuckDBPyConnection, wanted: pl.DataFrame) -> pl.DataFrame:
    """The days of the register (`REGISTER_DAY`) that the periods hold."""
    with warehouse.registered(connection, "bill_period", wanted):
        return warehouse.frame(
            connection,
            f"select {REGISTER_DAY} from unit_day where day >= (select min(first) from bill_period) "
            "and day < (select max(bill_period.end) from bill_period) and exists (select 1 from bill_period "
            "where bill_period.meter = unit_day.meter and unit_day.day >= bill_period.first and unit_day.day < bill_period.end)",
        )

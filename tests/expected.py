"""Comparison of marts with the independently computed results of the shared data, cell by cell.

Definitions: shared data/README.md. Strict where both `complete` and `clean` are true there; unclean rows must only be flagged.
"""

from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

RELATIVE, ABSOLUTE_M3 = 1e-6, 1e-3
BANDS = ("zero_or_negative", "below_q1", "q1_to_q2", "q2_to_q3", "q3_to_q4", "above_q4")
"""Zones of flow as `meter_fit.csv` names them, in the order of `flow_distribution`."""
PRINTED = 5e-7
"""The files are rounded to six decimals."""


class Compared(NamedTuple):
    """Cells compared, and the rows that differ."""

    cells: int
    wrong: pl.DataFrame


def compare(marts: Path, expected: Path, zone: str) -> dict[str, Compared]:
    """By figure: hourly, daily, monthly volumes; coefficients; month comparisons; flags of unclean days."""
    with duckdb.connect(str(marts), read_only=True) as connection:
        connection.execute(f"set timezone = '{zone}'").fetchall()
        hours = connection.sql(
            "select meter, hour_start, hourly_usage.volume_m3, coefficient "
            "from hourly_usage left join hourly_coefficient using (meter, hour_start)"
        ).pl()
        days = connection.sql(
            "select meter, daily_usage.day, volume_m3, complete, clean, coefficient "
            "from daily_usage left join daily_coefficient using (meter, day)"
        ).pl()
        months = connection.sql(
            "select m.meter, month, m.volume_m3, complete, clean, change_pct, yoy_pct from monthly_usage as m "
            "left join usage_comparison as c on c.meter = m.meter and grain = 'month' and period = month"
        ).pl()
        zones = connection.sql(
            "select meter, unnest(range(6)) as zone, unnest(zone_h) as hours, unnest(zone_m3) as volume_m3 from flow_distribution"
        ).pl()
    hours = hours.with_columns(pl.col("hour_start").dt.convert_time_zone("UTC"))
    hourly = _read(expected / "hourly.csv.gz").with_columns(
        hour_start=pl.col("hour_start_utc").str.to_datetime(time_zone="UTC", time_unit="us")
    )
    daily = _read(expected / "daily.csv.gz").with_columns(day=pl.col("day_local").str.to_date())
    monthly = _read(expected / "monthly.csv").with_columns(month=pl.col("month").str.to_date("%Y-%m"))

    whole_hours = hourly.filter(pl.col("day_complete") & pl.col("day_clean"))
    good_days = daily.filter(pl.col("complete") & pl.col("clean"))
    unclean = daily.filter(~pl.col("clean"))
    good_months = monthly.filter(pl.col("complete") & pl.col("clean"))
    fit = _fit(expected / "meter_fit.csv", zones) if (expected / "meter_fit.csv").exists() else {}
    return fit | {
        "hourly volume": _volumes(whole_hours, hours, ["meter", "hour_start"]),
        "hourly coefficient": _ratios(whole_hours, hours, ["meter", "hour_start"], "hour_coef", "coefficient"),
        "daily volume": _volumes(good_days, days, ["meter", "day"]),
        "daily coefficient": _ratios(good_days.filter("month_clean"), days, ["meter", "day"], "day_coef", "coefficient"),
        "monthly volume": _volumes(good_months, months, ["meter", "month"]),
        "month on month": _ratios(good_months.filter("mom_both_complete"), months, ["meter", "month"], "mom_pct", "change_pct"),
        "year on year": _ratios(good_months.filter("yoy_both_complete"), months, ["meter", "month"], "yoy_pct", "yoy_pct"),
        "complete flag": _flags(daily, days, "complete"),
        "unclean days flagged": _flags(unclean, days, "clean"),
    }


def _fit(path: Path, zones: pl.DataFrame) -> dict[str, Compared]:
    """Hours and volumes by zone of flow over the whole of the data."""
    bands = pl.DataFrame({"band": BANDS, "zone": range(len(BANDS))})
    found = zones.group_by("meter", "zone").agg(pl.col("hours", "volume_m3").sum()).join(bands, on="zone")
    wanted = _read(path)
    return {
        "hours by zone of flow": _ratios(wanted, found, ["meter", "band"], "hours", "hours"),
        "volume by zone of flow": _volumes(wanted, found, ["meter", "band"]),
    }


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema_length=None).rename({"meter_id": "meter"})


def _volumes(wanted: pl.DataFrame, found: pl.DataFrame, keys: list[str]) -> Compared:
    joined = wanted.select(*keys, wanted=pl.col("volume_m3").cast(pl.Float64)).join(
        found.select(*keys, found="volume_m3"), on=keys, how="left"
    )
    near = (pl.col("found") - pl.col("wanted")).abs() <= pl.max_horizontal(pl.lit(ABSOLUTE_M3), pl.col("wanted").abs() * RELATIVE)
    return Compared(joined.height, joined.filter(~near.fill_null(False)))


def _ratios(wanted: pl.DataFrame, found: pl.DataFrame, keys: list[str], there: str, here: str) -> Compared:
    joined = (
        wanted.filter(pl.col(there).is_not_null())
        .select(*keys, wanted=pl.col(there).cast(pl.Float64))
        .join(found.select(*keys, found=here), on=keys, how="left")
    )
    near = (pl.col("found") - pl.col("wanted")).abs() <= pl.col("wanted").abs() * RELATIVE + PRINTED
    return Compared(joined.height, joined.filter(~near.fill_null(False)))


def _flags(wanted: pl.DataFrame, found: pl.DataFrame, name: str) -> Compared:
    """A day without any reading has no row here and counts as not complete."""
    joined = wanted.select("meter", "day", wanted=name).join(
        found.select("meter", "day", found=name), on=["meter", "day"], how="left"
    )
    return Compared(joined.height, joined.filter(pl.col("wanted") != pl.col("found").fill_null(False)))

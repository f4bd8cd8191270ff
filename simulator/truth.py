"""The truth about a fleet: volumes of hours, days, months, years and billing periods, by a method of its own.

An independent witness: plain numpy interpolation over the readings the terminals delivered; roll-over and replacement are known
from the simulation, never guessed from the readings. Nothing of the product's cleaning may be used here.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator import faults
from simulator.customers import Meter
from simulator.fleet import Fleet, Floats, days_after, local, periods

LONGEST_HOLE_S = 2 * 3600.0
"""Between two readings further apart than this the register is not known."""


class Truth(NamedTuple):
    """Volumes (m³), forward and reverse, of the meters with a terminal; null where the register is not known at an end.

    `hourly`: meter, hour_start (UTC), day, volume_m3, reverse_m3. `daily`: meter, day, volume_m3, reverse_m3. `monthly`: meter,
    month, volume_m3 (between the month's ends; null where the data do not hold both), measured_m3 (sum of the days known), days.
    `yearly`: as `monthly`, without days. `cycles`: meter (also those without a terminal), period_start, period_end, volume_m3.
    """

    hourly: pl.DataFrame
    daily: pl.DataFrame
    monthly: pl.DataFrame
    yearly: pl.DataFrame
    cycles: pl.DataFrame


def truth(fleet: Fleet) -> Truth:
    """The volumes of every meter over the fleet's local days and the months they touch."""
    rows = faults.reported(fleet)
    parts = [_of_meter(fleet, meter, rows[meter.number]) for meter in fleet.meters]
    hourly, daily, monthly, yearly = (pl.concat(tables) for tables in zip(*parts, strict=True))
    cycles = [_cycles(fleet, meter, rows.get(meter.number, fleet.recorded(meter.number))) for meter in fleet.every_meter]
    return Truth(hourly, daily, monthly, yearly, pl.concat(cycles))


def write_truth(fleet: Fleet, folder: Path) -> None:
    """Write a Parquet file for each table of the truth, and faults.csv into `folder` (made where it is absent)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in truth(fleet)._asdict().items():
        table.write_parquet(folder / f"{name}.parquet")
    faults.known(fleet).write_csv(folder / "faults.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")


def registers(fleet: Fleet, meter: Meter, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """Times (s since 1970) and the forward register (m³) as if it had never rolled over nor been replaced."""
    at = rows["ts"].dt.epoch("us").to_numpy() / 1e6
    forward = rows["forward_m3"].to_numpy().copy()
    for carry in fleet.carries[meter.number]:
        forward[at >= carry.at.timestamp()] += carry.add_m3
    return at, forward


def known_at(where: Floats, at: Floats, register: Floats) -> Floats:
    """The register at the instants `where` (s): linear between readings, NaN outside them and within a long hole."""
    value = np.interp(where, at, register, left=np.nan, right=np.nan)
    before = at[np.clip(np.searchsorted(at, where, side="right") - 1, 0, None)]
    after = at[np.clip(np.searchsorted(at, where, side="left"), None, len(at) - 1)]
    return np.asarray(np.where(after - before <= LONGEST_HOLE_S, value, np.nan))


def _of_meter(fleet: Fleet, meter: Meter, rows: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    at, forward = registers(fleet, meter, rows)
    reverse = rows["reverse_m3"].to_numpy()

    def volumes(ends: NDArray[np.float64]) -> dict[str, pl.Series]:
        return {
            name: pl.Series(np.diff(known_at(ends, at, register))).fill_nan(None)
            for name, register in (("volume_m3", forward), ("reverse_m3", reverse))
        }

    first = fleet.since.astimezone(fleet.zone).date()
    days = [first + timedelta(days=day) for day in range(-days_after(fleet, first))]
    midnights = np.array([*(_midnight(fleet, day) for day in days), fleet.until.timestamp()])
    hours = pl.datetime_range(fleet.since, fleet.until, "1h", time_unit="us", time_zone="UTC", eager=True)
    hourly = pl.DataFrame(
        {
            "meter": [meter.name] * (len(hours) - 1),
            "hour_start": hours[:-1],
            "day": hours[:-1].dt.convert_time_zone(fleet.zone.key).dt.date(),
            **volumes(hours.dt.epoch("s").to_numpy().astype(np.float64)),
        }
    )
    daily = pl.DataFrame(
        {
            "meter": [meter.name] * len(days),
            "day": days,
            **volumes(midnights),
        }
    )
    months = daily.group_by(month=pl.col("day").dt.truncate("1mo"), maintain_order=True).agg(
        measured_m3=pl.when(pl.col("volume_m3").count() > 0).then(pl.col("volume_m3").sum()),
        days=pl.col("volume_m3").count().cast(pl.Int64),
    )
    ends = [(_midnight(fleet, month), _midnight(fleet, _next_month(month))) for month in months["month"]]
    volume = np.diff(known_at(np.array(ends), at, forward), axis=1)[:, 0]
    monthly = months.select(
        pl.lit(meter.name).alias("meter"), "month", pl.Series("volume_m3", volume).fill_nan(None), "measured_m3", "days"
    )
    years = sorted({day.year for day in days})
    ends = [(_midnight(fleet, date(year, 1, 1)), _midnight(fleet, date(year + 1, 1, 1))) for year in years]
    volume = np.diff(known_at(np.array(ends), at, forward), axis=1)[:, 0]
    yearly = pl.DataFrame(
        {
            "meter": [meter.name] * len(years),
            "year": [date(year, 1, 1) for year in years],
            "volume_m3": pl.Series(volume).fill_nan(None),
        }
    ).join(
        daily.group_by(year=pl.col("day").dt.truncate("1y")).agg(measured_m3=pl.col("volume_m3").sum()),
        on="year",
        maintain_order="left",
    )
    return hourly, daily, monthly, yearly


def _cycles(fleet: Fleet, meter: Meter, rows: pl.DataFrame) -> pl.DataFrame:
    at, forward = registers(fleet, meter, rows)
    listed = periods(fleet, meter.cycle_months)
    ends = [(_midnight(fleet, period.start), _midnight(fleet, period.end)) for period in listed]
    volume = np.diff(known_at(np.array(ends), at, forward), axis=1)[:, 0]
    return pl.DataFrame(
        {
            "meter": [meter.name] * len(listed),
            "period_start": [period.start for period in listed],
            "period_end": [period.end for period in listed],
            "volume_m3": pl.Series(volume).fill_nan(None),
        }
    )


def _midnight(fleet: Fleet, day: date) -> float:
    return local(fleet.until, fleet.zone, days_after(fleet, day)).timestamp()


def _next_month(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1)

"""What the night flow of each meter usually is: the median and spread of the comparable nights before each night."""

from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl

from assets import rules, warehouse
from assets.kernel import NL_PER_M3
from assets.kernel.unit import HOUR_US, Floats, Ints

CRITERIA = ("night.baseline_nights",)

NIGHT_LEVEL: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "night_min_m3h": pl.Float64(),
    "baseline_m3h": pl.Float64(),
    "mad_m3h": pl.Float64(),
    "usual_m3h": pl.Float64(),
    "baseline_nights": pl.Int64(),
}
"""A night and, of the comparable ones before it: median, median deviation, median of the mean flows of their days, number."""

CHUNK = 31
"""So many nights are made at a time: bounds the memory."""


def make(connection: duckdb.DuckDBPyConnection) -> int:
    """Replace `night_level` of the touched nights; gives the rows written."""
    touched = connection.execute("select day from touched_night order by day").fetchall()
    nights = [night for (night,) in touched]
    chunks = [nights[start : start + CHUNK] for start in range(0, len(nights), CHUNK)]
    if not chunks:
        warehouse.replace_rows(connection, "night_level", pl.DataFrame(schema=NIGHT_LEVEL), "day", [])
    return sum(warehouse.replace_rows(connection, "night_level", _levels(connection, own), "day", own) for own in chunks)


def _levels(connection: duckdb.DuckDBPyConnection, nights: list[date]) -> pl.DataFrame:
    reach = {night: int(count) for night, (count,) in rules.values(connection, CRITERIA, nights).items()}
    needed = sorted({night - timedelta(days=back) for night in nights for back in range(reach[night] + 1)})
    days = ", ".join(f"date '{day}'" for day in needed)
    known = warehouse.frame(
        connection,
        "select meter, day, night_min_nlh, known_volume_nl / nullif(known_us, 0) as nl_us, day_kind = 'work' as is_work "
        f"from unit_day join calendar using (day) where day in ({days}) order by meter, day",
    )
    if known.is_empty():
        return pl.DataFrame(schema=NIGHT_LEVEL)
    meters, place = known["meter"].unique().sort(), {day: number for number, day in enumerate(needed)}
    row = meters.search_sorted(known["meter"]).to_numpy()
    column = known["day"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    shape = (len(meters), len(needed))
    lowest, mean, is_there = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    lowest[row, column] = known["night_min_nlh"].cast(pl.Float64).fill_null(np.nan) / NL_PER_M3
    mean[row, column] = known["nl_us"].fill_null(np.nan) * (HOUR_US / NL_PER_M3)
    mean[np.isnan(lowest)] = np.nan
    is_there[row, column] = True
    is_work = dict(known.select("day", "is_work").unique().iter_rows())
    found = [pl.DataFrame(schema=NIGHT_LEVEL)]
    for night in nights:
        if night not in is_work:
            continue
        before = [
            place[day]
            for day in (night - timedelta(days=back) for back in range(1, reach[night] + 1))
            if is_work.get(day) == is_work[night]
        ]
        baseline, count = _median(lowest[:, before])
        spread, _ = _median(np.abs(lowest[:, before] - baseline[:, None]))
        usual, _ = _median(mean[:, before])
        own = np.flatnonzero(is_there[:, place[night]])
        columns = (lowest[:, place[night]], baseline, spread, usual)
        values = {name: pl.Series(of[own]).fill_nan(None) for name, of in zip(list(NIGHT_LEVEL)[2:6], columns, strict=True)}
        counts = pl.Series(count[own])
        found.append(pl.DataFrame({"meter": meters.gather(own), "day": [night] * len(own), **values, "baseline_nights": counts}))
    return pl.concat(frame.cast(NIGHT_LEVEL) for frame in found)  # type: ignore[arg-type]


def _median(values: Floats) -> tuple[Floats, Ints]:
    """Median of each row without its NaN (NaN where nothing is left), and how many values it is of."""
    count = np.count_nonzero(~np.isnan(values), axis=1)
    if not values.shape[1]:
        return np.full(len(values), np.nan), count
    ordered, rows = np.sort(values, axis=1), np.arange(len(values))  # NaN come last
    return (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]) / 2, count

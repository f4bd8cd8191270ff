"""A file of recorded readings (Parquet, a row a reading) as terminals would have sent it: for `mainflow send`.

Nothing is cleaned here: gaps, repeats and replays go out in the order in which they came.
"""

from collections.abc import Collection, Iterator, Mapping
from math import ceil, log10
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from ingest_daemon.contract.schema import FIELDS, TIMESTAMP
from simulator import terminal as terminals
from simulator.fleet import PRESSURE_LOW_MPA, PROTOCOL
from simulator.terminal import Clock, Plan, Stream, Upload

FIRST_TERMINAL = 900001
"""Terminal numbers for meters that have none are given out from here upwards, as ten BCD digits."""

MIN_DIGITS = 7
FINE_M3 = 0.001
READ_COLUMNS = {"meter_id": pl.String(), "ts": TIMESTAMP}
KPA_PER_MPA = 1000


class Recorded(NamedTuple):
    """`readings`: `meter`, `ts` (UTC, labelled by the interval's end) and `schema.FIELDS`, by meter in arrival order.

    `steps`: the usual spacing of each meter's readings in whole minutes.
    """

    readings: pl.DataFrame
    steps: dict[str, int]


def load(path: Path, *, stamp: Literal["end", "start"] = "end") -> Recorded:
    """Read a file with `meter_id`, `ts` (with its zone) and some of `flow_m3h`, `total_m3`, `pressure_kpa`, `battery_v`, `seq`.

    Arrival order is `seq` where there is one, else the order of time. `stamp="start"` says that a row is the mean of the interval
    that starts at `ts`. Raises `ValueError` naming what is missing.
    """
    table = pl.read_parquet(path)
    if missing := [name for name in READ_COLUMNS if name not in table.columns]:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}; there are: {', '.join(table.columns)}")
    kind = table.schema["ts"]
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        raise ValueError(f"{path}: ts is {kind}, expected a time with a zone")
    values = {
        "forward_m3": _column(table, "total_m3"),
        "flow_m3h": _column(table, "flow_m3h"),
        "pressure_mpa": _column(table, "pressure_kpa") / KPA_PER_MPA,
        "battery_v": _column(table, "battery_v"),
    }
    if all(name not in table.columns for name in ("total_m3", "flow_m3h", "pressure_kpa", "battery_v")):
        raise ValueError(f"{path}: no values; expected one of total_m3, flow_m3h, pressure_kpa, battery_v")
    readings = table.sort("meter_id", "seq" if "seq" in table.columns else "ts", maintain_order=True).select(
        pl.col("meter_id").cast(pl.String).alias("meter"),
        pl.col("ts").dt.convert_time_zone("UTC").cast(TIMESTAMP),
        *(values.get(field.name, pl.lit(None)).cast(field.dtype).alias(field.name) for field in FIELDS),
    )
    steps = _steps(readings)
    if stamp == "start":
        step = pl.col("meter").replace_strict(steps, return_dtype=pl.Int64)
        readings = readings.with_columns(pl.col("ts") + pl.duration(minutes=step))
    return Recorded(readings, steps)


def _column(table: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in table.columns else pl.lit(None, pl.Float64)


def _steps(readings: pl.DataFrame) -> dict[str, int]:
    """Median spacing of each meter's distinct times, in whole minutes, at least one; one reading alone counts as hourly."""
    spacing = readings.select("meter", "ts").unique().sort("meter", "ts").group_by("meter", maintain_order=True)
    minutes = spacing.agg(
        (pl.col("ts").diff().dt.total_seconds().median() / 60).round().clip(1, None).fill_null(60).cast(pl.Int64)
    )
    return dict(minutes.iter_rows())


def register_rows(registry_csv: Path, recorded: Recorded, taken: Collection[str] = ()) -> pl.DataFrame:
    """Rows for `registry/terminals.csv`, a meter of the readings each, sized as `registry_csv` says.

    `registry_csv` has meter_id, customer_no, dn_mm, q1_m3h … q4_m3h; `taken` are terminal numbers that are in use. Raises
    `ValueError` where a meter of the readings is not in it.
    """
    # As text: an identifier may begin with zeros.
    sizes = pl.read_csv(registry_csv, infer_schema=False).with_columns(pl.col("meter_id", "customer_no").str.strip_chars())
    meters = list(recorded.steps)
    if missing := [meter for meter in meters if meter not in set(sizes["meter_id"])]:
        raise ValueError(f"{registry_csv}: no row for meter {', '.join(missing)}")
    largest = recorded.readings.group_by("meter").agg(
        pl.col("forward_m3").max().alias("largest"),
        (pl.col("forward_m3") == pl.col("forward_m3").round()).all().alias("whole"),
        pl.col("forward_m3").is_not_null().any().alias("register"),
    )
    rows = pl.DataFrame({"meter": meters, "terminal": _numbers(len(meters), taken)})
    known = rows.join(sizes, left_on="meter", right_on="meter_id", how="left", maintain_order="left")
    known = known.join(largest, on="meter", how="left", maintain_order="left")
    resolution = [1.0 if row["register"] and row["whole"] else FINE_M3 for row in known.iter_rows(named=True)]
    return known.select(
        "terminal",
        "meter",
        "customer_no",
        pl.lit(PROTOCOL).alias("protocol"),
        pl.col("dn_mm").cast(pl.Float64).cast(pl.Int64),
        pl.lit(None, pl.String).alias("technology"),
        *(pl.col(name).cast(pl.Float64) for name in ("q1_m3h", "q2_m3h", "q3_m3h", "q4_m3h")),
        pl.Series("digits", [_digits(top, step) for top, step in zip(known["largest"], resolution, strict=True)]),
        pl.Series("resolution_m3", resolution),
        pl.col("meter").replace_strict(recorded.steps, return_dtype=pl.Int64).alias("step_min"),
        pl.when("register").then(pl.lit("register")).otherwise(pl.lit("flow")).alias("reads"),
        pl.lit(PRESSURE_LOW_MPA).alias("pressure_low_mpa"),
        pl.lit(None, pl.Float64).alias("pressure_high_mpa"),
        pl.lit(None, pl.String).alias("installed_on"),
        pl.lit(None, pl.String).alias("removed_on"),
    )


def _numbers(count: int, taken: Collection[str]) -> list[str]:
    numbers: list[str] = []
    number = FIRST_TERMINAL
    while len(numbers) < count:
        if f"{number:010d}" not in taken:
            numbers.append(f"{number:010d}")
        number += 1
    return numbers


def _digits(largest_m3: float | None, resolution_m3: float) -> int:
    """Enough digits that the largest total stays below nine tenths of the modulus: no fall may look like a roll-over."""
    if largest_m3 is None or largest_m3 <= 0:
        return MIN_DIGITS
    return max(MIN_DIGITS, ceil(log10(largest_m3 / resolution_m3 / 0.9)))


def plan(recorded: Recorded, terminal_of: Mapping[str, str], clock: Clock = terminals.now) -> Plan:
    """One phase: each meter's readings in arrival order, from its terminal (`terminal_of[meter]`).

    Raises `ValueError` where a meter has no terminal.
    """
    if missing := [meter for meter in recorded.steps if meter not in terminal_of]:
        raise ValueError(f"no terminal for meter {', '.join(missing)}; expected a row each in registry/terminals.csv")
    return [[Stream(terminal_of[meter], _uploads(recorded, meter, terminal_of[meter], clock)) for meter in recorded.steps]]


def _uploads(recorded: Recorded, meter: str, terminal: str, clock: Clock) -> Iterator[Upload]:
    return terminals.uploads(terminal, recorded.readings.filter(pl.col("meter") == meter).drop("meter"), clock)

"""From raw readings to cleaned intervals, whole days at a time: Polars around the register curve.

Each (meter, day) stands alone: its readings and those up to the longest hole to either side (docs/data-flow.md). Where every step
is possible, all is columns; only a (meter, day) with a violation goes through `curve.longest_chain`.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from assets import calendar, curve
from assets.curve import Flag

HOUR_S = 3600.0
OFF_GRID_S = 60.0
PRESSURE_MPA = (-0.05, 1.6)
"""Pressures outside are refused (docs/domain.md#validation-rules, V14)."""


class Cleaned(NamedTuple):
    """Frames with the columns of `INTERVAL`, `REGISTER_DAY` and `LATEST`, sorted by day and meter."""

    intervals: pl.DataFrame
    register_days: pl.DataFrame
    latest: pl.DataFrame


INTERVAL: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "interval_start": pl.Datetime("us", "UTC"),
    "interval_end": pl.Datetime("us", "UTC"),
    "day": pl.Date(),
    "volume_m3": pl.Float64(),
    "reverse_m3": pl.Float64(),
    "flow_m3h": pl.Float64(),
    "pressure_mpa": pl.Float64(),
    "register_m3": pl.Float64(),
    "device_flow_m3h": pl.Float64(),
    "battery_v": pl.Float64(),
    "seconds": pl.Float64(),
    "flags": pl.Int64(),
}

REGISTER_DAY: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "first_at": pl.Datetime("us", "UTC"),
    "first_m3": pl.Float64(),
    "last_at": pl.Datetime("us", "UTC"),
    "last_m3": pl.Float64(),
    "between_m3": pl.Float64(),
}
"""Where a meter's curve is known first and last within a day, and the volume between the two (null: a break within)."""

LATEST: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "reading_at": pl.Datetime("us", "UTC"),
    "register_m3": pl.Float64(),
    "reverse_m3": pl.Float64(),
    "flow_m3h": pl.Float64(),
    "pressure_mpa": pl.Float64(),
    "pressure_at": pl.Datetime("us", "UTC"),
    "battery_v": pl.Float64(),
    "signal": pl.Int64(),
    "status": pl.Int64(),
    "received_at": pl.Datetime("us", "UTC"),
    "channel": pl.String(),
    "stream": pl.String(),
    "frame": pl.Int64(),
}
"""The last reading of each (meter, day) as the device gave it, and its last pressure that can be believed."""

DEVICE = ("pressure_mpa", "register_m3", "device_flow_m3h", "battery_v")


class Grid(NamedTuple):
    """Days to clean, with their instants (UTC seconds): one row a day, `day`, `start_s`, `end_s`."""

    frame: pl.DataFrame

    @staticmethod
    def of(days: Sequence[date], zone: ZoneInfo) -> "Grid":
        """The local days of a zone."""
        rows = [
            (day, calendar.midnight(day, zone).timestamp(), calendar.midnight(day + timedelta(days=1), zone).timestamp())
            for day in days
        ]
        return Grid(
            pl.DataFrame(rows, schema={"day": pl.Date, "start_s": pl.Float64, "end_s": pl.Float64}, orient="row").sort("day")
        )


def clean(
    readings: pl.DataFrame,
    terminals: pl.DataFrame,
    replacements: pl.DataFrame,
    conflicts: pl.DataFrame,
    days: Sequence[date],
    zone: ZoneInfo,
    max_hole: timedelta,
) -> Cleaned:
    """Intervals and register days of `days`.

    `readings`: `schema.READING`, one row a (terminal, ts), covering the days and `max_hole` to either side. `terminals`,
    `replacements`: registry frames. `conflicts`: `terminal`, `ts` of contradicting duplicates.
    """
    hole_s = max_hole.total_seconds()
    samples = _samples(readings, terminals, conflicts)
    windows = _windows(samples, Grid.of(days, zone).frame, hole_s)
    steps = pl.concat([_register_steps(windows.filter(pl.col("reads") == "register"), replacements), _flow_steps(windows)])
    steps = steps.with_columns(
        pl.when(pl.col("t1") - pl.col("t0") > hole_s).then(pl.col("flags") | int(Flag.HOLE)).otherwise("flags").alias("flags")
    )
    pieces = _pieces(steps)
    own = windows.filter((pl.col("t") > pl.col("start_s")) & (pl.col("t") <= pl.col("end_s")))
    return Cleaned(_with_points(pieces, own, steps), _register_days(steps, windows), _latest(own))


def _latest(own: pl.DataFrame) -> pl.DataFrame:
    """The last reading of each (meter, day); see `LATEST`."""
    measured = pl.col("pressure_mpa").is_not_null()
    last = own.group_by("meter", "day", maintain_order=True).agg(
        pl.col(
            "register_m3", "reverse_m3", "flow_m3h", "battery_v", "signal", "status", "received_at", "channel", "stream", "frame"
        ).last(),
        reading_at=pl.col("ts").last(),
        pressure_mpa=pl.col("pressure_mpa").filter(measured).last(),
        pressure_at=pl.col("ts").filter(measured).last(),
    )
    return last.select(pl.col(name).cast(dtype) for name, dtype in LATEST.items()).sort("day", "meter")


def _samples(readings: pl.DataFrame, terminals: pl.DataFrame, conflicts: pl.DataFrame) -> pl.DataFrame:
    """Readings by meter with what is needed of the registry, and the flags that one reading alone can have."""
    low, high = PRESSURE_MPA
    known = terminals.select(
        "terminal",
        "meter",
        "reads",
        "q4_m3h",
        "resolution_m3",
        step_s=pl.col("step_min") * 60.0,
        modulus_m3=10.0 ** pl.col("digits").cast(pl.Float64) * pl.col("resolution_m3"),
    )
    bad_pressure = pl.col("pressure_mpa").is_not_null() & ~pl.col("pressure_mpa").is_between(low, high)
    seconds = pl.col("ts").dt.timestamp("us") / 1e6
    off_grid = ((seconds + pl.col("step_s") / 2) % pl.col("step_s") - pl.col("step_s") / 2).abs() > OFF_GRID_S
    return (
        readings.join(known, on="terminal", how="inner")
        .join(conflicts.select("terminal", "ts", conflict=pl.lit(True)).unique(), on=["terminal", "ts"], how="left")
        .with_columns(
            t=seconds,
            register_m3=pl.col("forward_m3"),
            device_flow_m3h=pl.col("flow_m3h"),
            pressure_mpa=pl.when(bad_pressure).then(None).otherwise("pressure_mpa"),
            own_flags=pl.when(bad_pressure).then(int(Flag.PRESSURE_RANGE)).otherwise(0)
            | pl.when(off_grid).then(int(Flag.OFF_GRID)).otherwise(0)
            | pl.when(pl.col("conflict").is_not_null()).then(int(Flag.CONFLICT)).otherwise(0),
        )
    )


def _windows(samples: pl.DataFrame, grid: pl.DataFrame, hole_s: float) -> pl.DataFrame:
    """Samples once for every day they matter to: their own and those within a hole's length. Sorted by meter, day, time."""
    reach = grid.select("day", "start_s", "end_s", low=pl.col("start_s") - hole_s, high=pl.col("end_s") + hole_s)
    sorted_samples = samples.sort("t")
    parts = []
    times = sorted_samples["t"].to_numpy()
    for row in reach.iter_rows(named=True):
        first, last = np.searchsorted(times, row["low"], "left"), np.searchsorted(times, row["high"], "right")
        part = sorted_samples.slice(int(first), int(last - first))
        parts.append(part.with_columns(day=pl.lit(row["day"]), start_s=pl.lit(row["start_s"]), end_s=pl.lit(row["end_s"])))
    joined = (
        pl.concat(parts)
        if parts
        else sorted_samples.clear().with_columns(
            day=pl.lit(None, pl.Date), start_s=pl.lit(None, pl.Float64), end_s=pl.lit(None, pl.Float64)
        )
    )
    return joined.sort("meter", "day", "t")


STEP: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "day": pl.Date(),
    "start_s": pl.Float64(),
    "end_s": pl.Float64(),
    "t0": pl.Float64(),
    "t1": pl.Float64(),
    "r0": pl.Float64(),
    "r1": pl.Float64(),
    "volume_m3": pl.Float64(),
    "reverse_m3": pl.Float64(),
    "flags": pl.Int64(),
}
"""A step of the curve: two accepted readings of a (meter, day) window and what moved between them."""


def _register_steps(windows: pl.DataFrame, replacements: pl.DataFrame) -> pl.DataFrame:
    """Steps between the readings that a register meter could have shown."""
    windows = windows.filter(pl.col("forward_m3").is_not_null())
    group = ["meter", "day"]
    pairs = windows.select(
        *group,
        "start_s",
        "end_s",
        "q4_m3h",
        "modulus_m3",
        "resolution_m3",
        "own_flags",
        "reverse_m3",
        t1="t",
        r1="forward_m3",
        n1="reverse_m3",
    ).with_columns(
        t0=pl.col("t1").shift(1).over(group), r0=pl.col("r1").shift(1).over(group), n0=pl.col("n1").shift(1).over(group)
    )
    pairs = pairs.filter(pl.col("t0").is_not_null())
    pairs = _with_replacements(pairs, replacements)
    moved = curve.movement(
        curve.Points(*(_numbers(pairs[name]) for name in ("t0", "r0", "n0"))),
        curve.Points(*(_numbers(pairs[name]) for name in ("t1", "r1", "n1"))),
        curve.Limits(*(_numbers(pairs[name]) for name in ("q4_m3h", "modulus_m3", "resolution_m3"))),
        curve.Replacement(_numbers(pairs["old_final_m3"]), _numbers(pairs["new_initial_m3"])),
    )
    steps = pairs.with_columns(
        pl.Series("volume_m3", moved.volume_m3).fill_nan(None),
        pl.Series("reverse_m3", moved.reverse_m3).fill_nan(None),
        (pl.Series("flags", moved.flags) | pairs["own_flags"].cast(pl.Int64)).alias("flags"),
    ).select(list(STEP))
    violated = steps.filter(pl.col("volume_m3").is_null()).select(group).unique(maintain_order=True)
    if violated.is_empty():
        return steps
    mended = [
        _mended(rows, replacements)
        for rows in windows.join(violated, on=group, how="semi").partition_by(group, maintain_order=True)
    ]
    return pl.concat([steps.join(violated, on=group, how="anti"), *mended]).sort("meter", "day", "t1")


def _mended(rows: pl.DataFrame, replacements: pl.DataFrame) -> pl.DataFrame:
    """Steps of one (meter, day) window that has a violation, over its longest possible chain."""
    points = curve.Points(_numbers(rows["t"]), _numbers(rows["forward_m3"]), _numbers(rows["reverse_m3"]))
    limits = curve.Limits(*(_numbers(rows[name])[:1] for name in ("q4_m3h", "modulus_m3", "resolution_m3")))
    own = replacements.filter(pl.col("meter") == rows["meter"][0]).sort("replaced_at")
    changes = curve.Replacements(
        own["replaced_at"].dt.timestamp("us").to_numpy() / 1e6, _numbers(own["old_final_m3"]), _numbers(own["new_initial_m3"])
    )
    chain = curve.longest_chain(points, limits, changes)
    before, after = rows[chain.kept[:-1]], rows[chain.kept[1:]]
    return after.select(
        "meter",
        "day",
        "start_s",
        "end_s",
        t0=before["t"],
        t1=pl.col("t"),
        r0=before["forward_m3"],
        r1=pl.col("forward_m3"),
        volume_m3=pl.Series(chain.moved.volume_m3).fill_nan(None),
        reverse_m3=pl.Series(chain.moved.reverse_m3).fill_nan(None),
        flags=pl.Series(chain.moved.flags) | after["own_flags"].cast(pl.Int64),
    )


def _with_replacements(pairs: pl.DataFrame, replacements: pl.DataFrame) -> pl.DataFrame:
    """Add the change within (t0, t1], if there is one: `old_final_m3`, `new_initial_m3`."""
    changes = replacements.select(
        "meter", "old_final_m3", "new_initial_m3", at=pl.col("replaced_at").dt.timestamp("us") / 1e6
    ).sort("at")
    joined = pairs.sort("t1").join_asof(
        changes, left_on="t1", right_on="at", by="meter", strategy="backward", check_sortedness=False
    )
    inside = pl.col("at") > pl.col("t0")
    return joined.with_columns(pl.when(inside).then(name).alias(name) for name in ("old_final_m3", "new_initial_m3")).sort(
        "meter", "day", "t1"
    )


def _flow_steps(windows: pl.DataFrame) -> pl.DataFrame:
    """Steps of meters that only report flow: the mean flow of the step that ends at the reading, never overlapping."""
    rows = windows.filter((pl.col("reads") == "flow") & pl.col("flow_m3h").is_not_null())
    start = pl.max_horizontal(pl.col("t") - pl.col("step_s"), pl.col("t").shift(1).over("meter", "day"))
    hours = (pl.col("t") - pl.col("t0")) / HOUR_S
    return rows.with_columns(t0=start).select(
        "meter",
        "day",
        "start_s",
        "end_s",
        "t0",
        t1="t",
        r0=pl.lit(None, pl.Float64),
        r1=pl.lit(None, pl.Float64),
        volume_m3=pl.col("flow_m3h").clip(lower_bound=0.0) * hours,
        reverse_m3=(-pl.col("flow_m3h")).clip(lower_bound=0.0) * hours,
        flags=pl.col("own_flags").cast(pl.Int64) | pl.when(pl.col("flow_m3h") < 0).then(int(Flag.REVERSE)).otherwise(0),
    )


def _pieces(steps: pl.DataFrame) -> pl.DataFrame:
    """Steps clipped to their day and cut at local hours. A hole stays whole, and is left out where it crosses the day's edge."""
    hole = (pl.col("flags") & int(Flag.HOLE)) != 0
    inside = steps.filter((pl.col("t1") > pl.col("start_s")) & (pl.col("t0") < pl.col("end_s")))
    inside = inside.filter(~hole | ((pl.col("t0") >= pl.col("start_s")) & (pl.col("t1") <= pl.col("end_s"))))
    inside = inside.with_columns(
        p0=pl.max_horizontal("t0", "start_s") - pl.col("start_s"),
        p1=pl.min_horizontal("t1", "end_s") - pl.col("start_s"),
        hole=hole,
    )
    first, last = np.floor(_numbers(inside["p0"]) / HOUR_S), np.ceil(_numbers(inside["p1"]) / HOUR_S) - 1
    count = np.where(inside["hole"].to_numpy(), 1, last - first + 1).astype(np.int64)
    index = np.repeat(np.arange(len(count)), count)
    hour = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + first[index]
    cut = inside[index].with_columns(hour=pl.Series(hour))
    cut = cut.with_columns(
        q0=pl.when("hole").then("p0").otherwise(pl.max_horizontal("p0", pl.col("hour") * HOUR_S)),
        q1=pl.when("hole").then("p1").otherwise(pl.min_horizontal("p1", (pl.col("hour") + 1) * HOUR_S)),
    )
    share = (pl.col("q1") - pl.col("q0")) / (pl.col("t1") - pl.col("t0"))
    return cut.with_columns(
        seconds=pl.col("q1") - pl.col("q0"),
        from_s=pl.col("start_s") + pl.col("q0"),
        to_s=pl.col("start_s") + pl.col("q1"),
        flow_m3h=pl.when(~pl.col("hole")).then(pl.col("volume_m3") / ((pl.col("t1") - pl.col("t0")) / HOUR_S)),
        volume_m3=pl.col("volume_m3") * share,
        reverse_m3=pl.col("reverse_m3") * share,
    )


def _with_points(pieces: pl.DataFrame, own: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Pieces with what the device said at their end; a reading that ends no piece (after a hole, no register) is its own row.

    `own`: the readings within their day. The register of a reading that the curve refused is left out.
    """
    accepted = pl.concat([steps.select("meter", "day", t="t0"), steps.select("meter", "day", t="t1")]).unique()
    refused = own.join(accepted, on=["meter", "day", "t"], how="anti").join(
        steps.select("meter", "day").unique(), on=["meter", "day"]
    )
    device = own.select("meter", "day", "t", "own_flags", *DEVICE).join(
        refused.select("meter", "day", "t", refused=pl.lit(True)), on=["meter", "day", "t"], how="left"
    )
    device = device.with_columns(register_m3=pl.when(pl.col("refused").is_null()).then("register_m3")).drop("refused")
    joined = pieces.join(device.drop("own_flags"), left_on=["meter", "day", "to_s"], right_on=["meter", "day", "t"], how="left")
    alone = device.join(pieces, left_on=["meter", "day", "t"], right_on=["meter", "day", "to_s"], how="anti")
    alone = alone.select(
        "meter",
        "day",
        *DEVICE,
        from_s="t",
        to_s="t",
        flags=pl.col("own_flags").cast(pl.Int64),
        seconds=pl.lit(0.0),
        **{name: pl.lit(None, pl.Float64) for name in ("volume_m3", "reverse_m3", "flow_m3h")},
    )
    both = pl.concat([joined, alone], how="diagonal")
    return (
        both.with_columns(interval_start=_instant(pl.col("from_s")), interval_end=_instant(pl.col("to_s")))
        .select(pl.col(name).cast(dtype) for name, dtype in INTERVAL.items())
        .sort("day", "meter", "interval_start", "interval_end")
    )


def _register_days(steps: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Where the curve of each (meter, day) of a register meter is known first and last; see `REGISTER_DAY`."""
    steps = steps.filter(pl.col("r0").is_not_null() & (pl.col("t1") > pl.col("start_s")) & (pl.col("t0") < pl.col("end_s")))
    is_hole = (pl.col("flags") & int(Flag.HOLE)) != 0
    usable = steps.filter(~is_hole | ((pl.col("t0") >= pl.col("start_s")) & (pl.col("t1") <= pl.col("end_s"))))
    length = pl.col("t1") - pl.col("t0")
    early = (pl.col("start_s") - pl.col("t0")).clip(lower_bound=0.0) / length
    late = (pl.col("t1") - pl.col("end_s")).clip(lower_bound=0.0) / length
    usable = usable.with_columns(
        a=pl.max_horizontal("t0", "start_s"),
        b=pl.min_horizontal("t1", "end_s"),
        # At a day's edge inside a step the register is told from the reading on the day's own side.
        ra=pl.when(early > 0).then(pl.col("r1") - pl.col("volume_m3") * (1 - early)).otherwise("r0"),
        rb=pl.when(late > 0).then(pl.col("r0") + pl.col("volume_m3") * (1 - late)).otherwise("r1"),
        part_m3=pl.col("volume_m3") * (1 - early - late),
    )
    known = (
        usable.sort("meter", "day", "t1")
        .group_by("meter", "day", maintain_order=True)
        .agg(
            first_at=pl.col("a").first(),
            first_m3=pl.col("ra").first(),
            last_at=pl.col("b").last(),
            last_m3=pl.col("rb").last(),
            between_m3=pl.when(pl.col("part_m3").null_count() == 0).then(pl.col("part_m3").sum()),
        )
    )
    single = (
        windows.filter(
            (pl.col("reads") == "register")
            & pl.col("forward_m3").is_not_null()
            & pl.col("t").is_between(pl.col("start_s"), pl.col("end_s"))
        )
        .join(known, on=["meter", "day"], how="anti")
        .group_by("meter", "day", maintain_order=True)
        .agg(
            first_at=pl.col("t").first(),
            first_m3=pl.col("forward_m3").first(),
            last_at=pl.col("t").first(),
            last_m3=pl.col("forward_m3").first(),
            between_m3=pl.lit(0.0),
        )
    )
    both = pl.concat([known, single]).with_columns(first_at=_instant(pl.col("first_at")), last_at=_instant(pl.col("last_at")))
    return both.select(pl.col(name).cast(dtype) for name, dtype in REGISTER_DAY.items()).sort("day", "meter")


def month_volumes(
    register_days: pl.DataFrame, terminals: pl.DataFrame, replacements: pl.DataFrame, months: Sequence[date], zone: ZoneInfo
) -> pl.DataFrame:
    """Volume of a month as the difference of the curve between its ends: `meter`, `month`, `volume_m3` (null: not known).

    `register_days`: the rows of these months. Between the days where the curve is known, holes are crossed by the same rules as
    between two readings.
    """
    days = register_days.with_columns(month=pl.col("day").dt.month_start()).sort("meter", "day")
    group = ["meter", "month"]
    links = days.select(
        *group,
        t1=_seconds("first_at"),
        r1="first_m3",
        t0=_seconds("last_at").shift(1).over(group),
        r0=pl.col("last_m3").shift(1).over(group),
    )
    gaps = _with_replacements(
        links.filter(pl.col("t0") < pl.col("t1"))
        .with_columns(day=pl.col("month"))
        .join(
            terminals.select(
                "meter", "q4_m3h", "resolution_m3", modulus_m3=10.0 ** pl.col("digits").cast(pl.Float64) * pl.col("resolution_m3")
            ),
            on="meter",
        ),
        replacements,
    )
    nothing = np.full(gaps.height, np.nan)
    moved = curve.movement(
        curve.Points(_numbers(gaps["t0"]), _numbers(gaps["r0"]), nothing),
        curve.Points(_numbers(gaps["t1"]), _numbers(gaps["r1"]), nothing),
        curve.Limits(*(_numbers(gaps[name]) for name in ("q4_m3h", "modulus_m3", "resolution_m3"))),
        curve.Replacement(_numbers(gaps["old_final_m3"]), _numbers(gaps["new_initial_m3"])),
    )
    crossed = gaps.select(*group, part_m3=pl.Series(moved.volume_m3).fill_nan(None))
    edges = pl.DataFrame(
        [
            (month, calendar.midnight(month, zone).timestamp(), calendar.midnight(calendar.next_month(month), zone).timestamp())
            for month in months
        ],
        schema={"month": pl.Date, "start_s": pl.Float64, "end_s": pl.Float64},
        orient="row",
    )
    parts = pl.concat([days.select(*group, part_m3="between_m3"), crossed])
    volumes = parts.group_by(group, maintain_order=True).agg(
        volume_m3=pl.when(pl.col("part_m3").null_count() == 0).then(pl.col("part_m3").sum())
    )
    ends = days.group_by(group).agg(a=_seconds("first_at").first(), b=_seconds("last_at").last())
    whole = (pl.col("a") <= pl.col("start_s")) & (pl.col("b") >= pl.col("end_s"))
    return (
        volumes.join(ends, on=group)
        .join(edges, on="month")
        .select(*group, volume_m3=pl.when(whole).then("volume_m3"))
        .sort("month", "meter")
    )


def _seconds(name: str) -> pl.Expr:
    return pl.col(name).dt.timestamp("us") / 1e6


def _instant(seconds: pl.Expr) -> pl.Expr:
    return (seconds * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us", "UTC"))


def _numbers(series: pl.Series) -> "curve.Floats":
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()

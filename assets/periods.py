"""Volumes of periods as differences of the register curve between their ends: months, bills, a month so far, a report's days.

A hole inside a period does not lose its volume. Where the curve is not known at an end of the period, the volume is not known.
"""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from assets import calendar
from assets.kernel import MISSING, NL_PER_UL, PER_M3, chain
from assets.kernel.unit import Ints

PERIOD: dict[str, pl.DataType] = {"key": pl.String(), "meter": pl.String(), "first": pl.Date(), "end": pl.Date()}
"""A period: local days from `first` to `end`, `end` excluded; `key` names it."""


def volumes(
    register_days: pl.DataFrame,
    periods: pl.DataFrame,
    facts: pl.DataFrame,
    replacements: pl.DataFrame,
    zone: ZoneInfo,
    *,
    open_start: bool = False,
    open_end: bool = False,
) -> pl.DataFrame:
    """`key`, `meter`, `volume_nl` (Int128, null: not known) of each period that has any known day.

    `register_days`: `meter`, `day`, `first_at`, `first_ul`, `last_at`, `last_ul`, `between_nl`, `replaced_count`, `clean` of
    `unit_day`, of all days of the periods. `facts`: `meter`, `q4_m3h`, `digits`, `resolution_m3`. `open_start`, `open_end`: the
    period begins where the curve is first known, and ends where it is last known.
    """
    days = (
        register_days.filter(pl.col("first_at").is_not_null())
        .join(periods, on="meter")
        .filter((pl.col("day") >= pl.col("first")) & (pl.col("day") < pl.col("end")))
        .sort("key", "meter", "day")
    )
    group = ["key", "meter"]
    days = _without_false_falls(days, group)
    gaps = days.select(
        *group,
        start=pl.col("last_at").shift(1).over(group),
        start_ul=pl.col("last_ul").shift(1).over(group),
        stop="first_at",
        stop_ul="first_ul",
    ).filter(pl.col("start") < pl.col("stop"))
    used = register_days.filter(pl.col("replaced_count") > 0).select("meter", on="day")
    crossed = gaps.select(*group, part_nl=pl.Series(_crossed(gaps, facts, replacements, used, zone), dtype=pl.Int128))
    parts = pl.concat([days.select(*group, part_nl=pl.col("between_nl").cast(pl.Int128)), crossed])
    found = parts.group_by(group).agg(volume_nl=pl.when(pl.col("part_nl").null_count() == 0).then(pl.col("part_nl").sum()))
    ends = days.group_by(group).agg(
        pl.col("first_at").first(), pl.col("last_at").last(), pl.col("first").first(), pl.col("end").first()
    )
    ends = ends.with_columns(starts_at=calendar.midnights(ends["first"], zone), ends_at=calendar.midnights(ends["end"], zone))
    is_known = (pl.lit(open_start) | (pl.col("first_at") <= pl.col("starts_at"))) & (
        pl.lit(open_end) | (pl.col("last_at") >= pl.col("ends_at"))
    )
    return found.join(ends, on=group).select(*group, volume_nl=pl.when(is_known).then("volume_nl")).sort(group)


def _without_false_falls(days: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    """The days without what lies between a fall that nothing explains and the day on which the register is back, over a gap.

    That day is not clean: its readings that went on from the fall were refused. The day of the fall ends where it begins.
    """
    doubted = days.join(days.filter(pl.col("between_nl").is_null()).select(group).unique(), on=group, how="semi")
    if doubted.is_empty():
        return days
    kept: list[dict[str, Any]] = []
    for _, own in doubted.group_by(group, maintain_order=True):
        rows = list(own.iter_rows(named=True))
        while rows:
            fall = rows.pop(0)
            if fall["between_nl"] is None and fall["last_ul"] < fall["first_ul"]:
                back = next((place for place, row in enumerate(rows) if row["first_ul"] >= fall["first_ul"]), None)
                if back is not None and _is_back(fall, rows[: back + 1]):
                    fall = {**fall, "last_at": fall["first_at"], "last_ul": fall["first_ul"], "between_nl": 0}
                    rows = rows[back:]
            kept.append(fall)
    others = days.join(doubted.select(group).unique(), on=group, how="anti")
    return pl.concat([others, pl.DataFrame(kept, schema=days.schema)]).sort(*group, "day")


def _is_back(fall: dict[str, Any], later: list[dict[str, Any]]) -> bool:
    """Whether the last of the later days begins after a gap and with doubt, and no meter was replaced since the fall."""
    before, back = [fall, *later][-2:]
    is_replaced = any(row["replaced_count"] for row in (fall, *later))
    return bool(before["last_at"] < back["first_at"] and not back["clean"] and not is_replaced)


def _crossed(
    gaps: pl.DataFrame, facts: pl.DataFrame, replacements: pl.DataFrame, used: pl.DataFrame, zone: ZoneInfo
) -> "list[int | None]":
    """What moved in gaps between known days, by the rules between two readings. `used`: days whose steps hold a replacement."""
    if gaps.is_empty():
        return []
    rows = gaps.with_row_index("row").join(facts.unique("meter", keep="first"), on="meter", how="left").sort("row")
    offset = ((pl.col("old_final_m3") - pl.col("new_initial_m3")) * PER_M3).round().cast(pl.Int64)
    changes = replacements.with_row_index("change").with_columns(
        offset=offset,
        begins=calendar.midnights(replacements["replaced_on"], zone),
        ends=calendar.midnights(replacements["replaced_on"], zone, later=1),
    )
    inside = rows.select("row", "key", "meter", "start", "stop").join(changes, on="meter")
    timed = inside.filter((pl.col("replaced_at") > pl.col("start")) & (pl.col("replaced_at") <= pl.col("stop")))
    is_unknown = pl.DataFrame({"row": rows["row"], "unknown": [volume is None for volume in _movements(rows, timed)]})
    # A change of which only the day is known lies in a gap of that day: one that is not possible without it, else the longest.
    dated = (
        inside.filter(pl.col("replaced_at").is_null() & (pl.col("begins") < pl.col("stop")) & (pl.col("ends") > pl.col("start")))
        .join(used, left_on=["meter", "replaced_on"], right_on=["meter", "on"], how="anti")
        .join(is_unknown, on="row")
        .sort("unknown", pl.col("stop") - pl.col("start"), "row", descending=[True, True, False])
        .unique(["key", "change"], keep="first", maintain_order=True)
    )
    return _movements(rows, pl.concat([timed, dated.select(timed.columns)]))


def _movements(rows: pl.DataFrame, changes: pl.DataFrame) -> "list[int | None]":
    """Volumes (nl) between `start_ul` at `start` and `stop_ul` at `stop`. `changes`: `row`, `offset` of replacements within."""
    within = changes.group_by("row").agg(pl.col("offset").sum(), count=pl.len().cast(pl.Int64))
    rows = rows.join(within, on="row", how="left").sort("row")
    sizes = chain.sizes_ul(rows["digits"].to_numpy(), rows["resolution_m3"].to_numpy())
    limits = chain.Limits(chain.rate(rows["q4_m3h"].to_numpy()), *sizes)
    nothing: Ints = np.full(rows.height, MISSING)
    moved = chain.movement(
        (rows["stop"] - rows["start"]).dt.total_microseconds().to_numpy(),
        rows["start_ul"].to_numpy(),
        rows["stop_ul"].to_numpy(),
        nothing,
        nothing,
        limits,
        chain.Moved(rows["offset"].fill_null(0).to_numpy(), rows["count"].fill_null(0).to_numpy()),
    )
    return [None if volume == MISSING else int(volume) * NL_PER_UL for volume in moved.volume_ul]


def month_periods(meters: pl.DataFrame, months: list[date]) -> pl.DataFrame:
    """Each month of each meter as a period."""
    spans = pl.DataFrame(
        {
            "key": [month.isoformat() for month in months],
            "first": months,
            "end": [calendar.next_month(month) for month in months],
        },
        schema={"key": pl.String, "first": pl.Date, "end": pl.Date},
    )
    return meters.select("meter").unique().join(spans, how="cross").select(*PERIOD)

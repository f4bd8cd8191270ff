"""The ledger of holes in the data (`gap_ledger`): when each was seen first, asked for, and closed.

A hole lies between two instants at which the curve of a meter is known and misses a reading at least: the seconds between two
readings that contradict each other are none. One without an end is the silence of a meter that lasts. Found from `unit_day`;
only days with a hole inside are looked at by intervals.
The ledger remembers: when a hole was seen first does not follow from the readings.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from assets import warehouse
from assets.workbench import Workbench
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.schema import TIMESTAMP

GAP_CHANGED: dict[str, pl.DataType] = {"day": pl.Date()}
"""Days of holes that changed and are not published yet."""

KEY = ["meter", "from_at"]
"""The key of a hole."""

RECALLED = "recalled.json"
"""File of `state/`: by terminal the spans that were asked for, each with the time of asking."""

GAP_LEDGER: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "terminal": pl.String(),
    "from_at": TIMESTAMP,
    "to_at": TIMESTAMP,
    "day": pl.Date(),
    "intervals": pl.Int64(),
    "first_seen_at": TIMESTAMP,
    "asked_at": TIMESTAMP,
    "closed_at": TIMESTAMP,
    "deadline_at": TIMESTAMP,
    "state": pl.String(),
}
"""A row a hole. `day`: local day of its end; of its beginning where it has none. `deadline_at`: when the logger begins to
overwrite its readings. `state`: open, asked, closed, expired (the logger has overwritten all of them)."""

HOLES = """
with data_days as (
    select distinct cast(unnest(generate_series(day - 35, day + 35, interval 1 day)) as date) as day from touched_day
),

islands as (select day, day - cast(row_number() over (order by day) as integer) as island from data_days),

known as (select * from unit_day where known_us > 0 or first_at is not null),

days as (
    select
        meter,
        day,
        lag(day) over own as before,
        lead(day) over own as after
    from known
    join islands using (day)
    window own as (partition by meter, island order by day)
),

touching as (
    select days.*
    from days
    where exists (select 1 from touched_day as t where t.day between coalesce(before, days.day) and coalesce(after, days.day))
),

-- After a long silence the neighbour lies further off.
earlier as (
    select touching.meter, touching.day, max(known.day) as before
    from touching join known on known.meter = touching.meter and known.day < touching.day
    where touching.before is null
    group by touching.meter, touching.day
),

later as (
    select touching.meter, touching.day, min(known.day) as after
    from touching join known on known.meter = touching.meter and known.day > touching.day
    where touching.after is null and known.day > (select min(day) from touching where after is null)
    group by touching.meter, touching.day
),

concerned as (
    select meter, day, min(after) as after
    from (
        select meter, day, after from touching
        union all select meter, before, day from earlier
        union all select * from later
        union all select meter, after, null from later
    )
    group by meter, day
),

judged as (
    select
        known.meter,
        known.day,
        after,
        first_at,
        last_at,
        day::timestamptz as starts_at,
        (day + 1)::timestamptz as ends_at,
        known_us >= epoch_us(ends_at) - epoch_us(starts_at) as is_whole,
        not is_whole and first_at is not null and hole_count = 0 as is_joined
    from known
    join concerned using (meter, day)
),

cut as (
    select
        judged.meter,
        judged.day,
        after,
        unit_interval.starts_at,
        unnest(end_ms) as end_ms,
        unnest(length_ms) as length_ms,
        unnest(flags) as flags
    from unit_interval
    join judged using (meter, day)
    where not is_whole and not is_joined and unit_interval.day in (select day from judged where not is_whole and not is_joined)
),

spans as (
    select meter, day, after, starts_at as start_at, ends_at as end_at from judged where is_whole
    union all
    select meter, day, after, first_at, last_at from judged where is_joined
    union all
    select meter, day, after, starts_at + to_milliseconds(end_ms - length_ms), starts_at + to_milliseconds(end_ms)
    from cut
    where not is_hole(flags)
),

ends as (
    select *, lead(start_at) over own as next_at, lead(day) over own as next_day
    from spans
    window own as (partition by meter order by start_at, end_at)
)

select
    ends.meter,
    meter.terminal,
    end_at as from_at,
    next_at as to_at,
    cast(next_at - interval 1 microsecond as date) as day,
    cast(round((epoch(next_at) - epoch(end_at)) / 60 / coalesce(history.step_min, meter.step_min)) as bigint) - 1 as intervals,
    end_at + to_milliseconds(cast(criterion('gap.memory_days', cast(end_at as date)) * 86.4e6 as bigint)) as deadline_at
from ends
join meter using (meter)
left join meter_history as history
    on history.meter = ends.meter
    and ends.day between coalesce(first_day, date '0001-01-01') and coalesce(last_day, date '9999-12-30')
where intervals > 0 and next_day in (ends.day, after)
    and exists (select 1 from touched_day where end_at <= touched_day.ends_at and next_at >= touched_day.starts_at)
"""
"""Holes beside or within the touched days: `meter`, `terminal`, `from_at`, `to_at`, `day`, `intervals`, `deadline_at`."""

SILENCES = """
select
    meter.meter,
    meter.terminal,
    reading_at as from_at,
    cast(null as timestamptz) as to_at,
    cast(reading_at - interval 1 microsecond as date) as day,
    cast(null as bigint) as intervals,
    reading_at + to_milliseconds(cast(criterion('gap.memory_days', latest_figures.day) * 86.4e6 as bigint)) as deadline_at
from latest_figures
join meter using (meter)
where reading_at + to_milliseconds(cast(latest_figures.silent_after_h * 3.6e6 as bigint)) < $now
    and (removed_on is null or removed_on > cast($now as date))
"""
"""Meters that have been silent for longer than they should, in the columns of `HOLES`."""

HELD = """
select *
from (
    select
        *,
        to_at is null
        or exists (select 1 from touched_day where from_at <= ends_at and to_at >= starts_at)
        or exists (
            select 1 from found
            where found.meter = ledger.meter and found.from_at < ledger.to_at
                and (found.to_at is null or found.to_at > ledger.from_at)
        ) as is_judged
    from gap_ledger as ledger
)
where is_judged or state in ('open', 'asked')
"""
"""Rows of the ledger that may change, from the holes `found`; `is_judged`: these say whether its hole is still there."""


def make(bench: Workbench, connection: duckdb.DuckDBPyConnection, now: datetime) -> int:
    """Bring `gap_ledger` up to date with the touched days, note the days of what changed. Gives the rows written."""
    found = pl.concat(_selected(connection, query, now) for query in (HOLES, SILENCES))
    with warehouse.registered(connection, "found", found):
        held = _selected(connection, HELD, now)
    rows = brought_up(held, found, _spans(glance(bench.site.state / RECALLED, recalled) or {}), now)
    before = held.select(rows.columns)
    changed = pl.concat(
        [one.join(other, on=rows.columns, how="anti", nulls_equal=True) for one, other in ((before, rows), (rows, before))]
    )
    with warehouse.transaction(connection):
        with warehouse.registered(connection, "changed", changed):
            connection.execute("insert into gap_changed select distinct day from changed").fetchall()
        with warehouse.registered(connection, "held", held):
            connection.execute("delete from gap_ledger where (meter, from_at) in (select (meter, from_at) from held)").fetchall()
        warehouse.append(connection, "gap_ledger", rows)
    return rows.height


def brought_up(held: pl.DataFrame, found: pl.DataFrame, asked: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The rows of the ledger in place of `held` (with `is_judged`), from the holes `found` and the spans `asked` for.

    A hole that is smaller than it was, or that has ended, keeps the time at which it was seen first; one that is not found any
    more is closed, unless smaller ones are in its place.
    """
    judged, others = held.filter("is_judged"), held.filter(~pl.col("is_judged"))
    pairs = found.join(judged, on="meter", suffix="_held").filter(
        (pl.col("from_at") == pl.col("from_at_held"))
        | (pl.col("from_at") < pl.col("to_at_held")) & (pl.col("to_at").is_null() | (pl.col("to_at") > pl.col("from_at_held")))
    )
    is_within = (pl.col("from_at") >= pl.col("from_at_held")) & (pl.col("to_at") <= pl.col("to_at_held")).fill_null(True)
    was = pairs.group_by(KEY).agg(
        pl.col("first_seen_at").min(), pl.col("asked_at").filter(is_within & pl.col("closed_at").is_null()).min()
    )
    present = found.join(was, on=KEY, how="left").with_columns(pl.col("first_seen_at").fill_null(now), closed_at=None)
    replaced = pairs.select("meter", from_at="from_at_held")
    closed = judged.join(replaced, on=KEY, how="anti").with_columns(pl.col("closed_at").fill_null(now))
    rows = pl.concat(
        part.select(pl.col(name).cast(kind) for name, kind in GAP_LEDGER.items() if name != "state")
        for part in (present, closed, others)
    )
    covers = (pl.col("start") <= pl.col("from_at")) & (pl.col("to_at") <= pl.col("end"))
    requested = rows.join(asked, on="terminal").filter(covers).group_by(KEY).agg(pl.col("requested_at").min())
    expires_at = pl.col("deadline_at") + (pl.col("to_at") - pl.col("from_at"))
    state = (
        pl.when(pl.col("closed_at").is_not_null())
        .then(pl.lit("closed"))
        .when(expires_at <= now)
        .then(pl.lit("expired"))
        .when(pl.col("asked_at").is_not_null())
        .then(pl.lit("asked"))
        .otherwise(pl.lit("open"))
    )
    rows = rows.join(requested, on=KEY, how="left").with_columns(pl.coalesce("asked_at", "requested_at").alias("asked_at"))
    return rows.with_columns(state=state).select(list(GAP_LEDGER)).sort(KEY)


def _selected(connection: duckdb.DuckDBPyConnection, query: str, now: datetime) -> pl.DataFrame:
    rows: pl.DataFrame = connection.sql(query, params={"now": now} if "$now" in query else None).pl()
    times = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Datetime)]
    return rows.with_columns(pl.col(times).dt.convert_time_zone("UTC").cast(TIMESTAMP))


def recalled(value: Any) -> dict[str, list[list[str]]]:
    """The content of `RECALLED`. Raises `ValueError`, `TypeError`, `AttributeError` where the value is none."""
    for spans in value.values():
        for start, end, asked_at in spans:
            _ = [datetime.fromisoformat(text) for text in (start, end, asked_at)]
    return dict(value)


def _spans(recalled: Mapping[str, Any]) -> pl.DataFrame:
    """The spans that were asked for: `terminal`, `start`, `end`, `requested_at`."""
    rows = [(terminal, *map(datetime.fromisoformat, span)) for terminal, spans in recalled.items() for span in spans]
    schema = {"terminal": pl.String(), "start": TIMESTAMP, "end": TIMESTAMP, "requested_at": TIMESTAMP}
    return pl.DataFrame(rows, schema=schema, orient="row")

"""The alarm rules of the server: `sql/alarms/<CODE>.sql` with a select, evaluated over event time.

    alarm_scope, alarm_sample, marts ──`sql/alarms/<CODE>.sql`──▶ rows in time ──`evaluate`──▶ runs in which the condition held

A select gives rows (`meter, started_at, ended_at, value, limit_value, holds`) of a scope: some days of some meters. `holds` is
true or false, or null where the value is between the limit and its return, so that what was before goes on. Tables of a scope:

- `alarm_scope(meter, day, starts_at, ends_at, limit_value, hysteresis, q4_m3h, …)`: facts of the day, and what the header makes
  of them;
- `alarm_sample(meter, day, interval_start, interval_end, flow_m3h, reverse_m3, pressure_mpa, is_hole, is_reading, is_lead)`:
  intervals of the scope and of two hours beside it (`is_lead`); flow only where the register can resolve it;
- `is_beyond(value, limit_value, hysteresis)`: true beyond the limit on the header's side, false once back within by so much;
- `alarm_now()`: the instant of the evaluation.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import NamedTuple

import duckdb
import polars as pl

from assets import warehouse
from assets.kernel.aggregate import PEAK_RESOLUTION
from assets.partitions import PARTITIONINGS
from ingest_daemon.contract.alarm_codes import ALARM_FILES, AlarmCode
from ingest_daemon.contract.schema import TIMESTAMP

LEAD = "interval 2 hours"
"""Beside a scope, for what begins before midnight."""

RUN: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "started_at": TIMESTAMP,
    "ended_at": TIMESTAMP,
    "value": pl.Float64(),
    "limit_value": pl.Float64(),
}
"""A run of rows in which the condition held; `ended_at`: begin of the first row in which it did not, null where there is none."""

EDGE: dict[str, pl.DataType] = {
    "meter": pl.String(),
    "first_at": TIMESTAMP,
    "last_at": TIMESTAMP,
    "holds_first": pl.Boolean(),
    "holds_last": pl.Boolean(),
}
"""Begin and end of what the rows of a meter cover, and whether the condition holds there; null where the rows do not say."""


class Rule(NamedTuple):
    """A rule: its code and words, what it is made from and when that is touched, and how long it has to hold.

    `ticks`: what it says of the last day of a meter also changes as time passes. `limit`, `hysteresis`: SQL of
    the limit and of the return within it. `only`: a select of the meters of the scope that need a look; at the others the
    condition certainly does not hold.
    """

    name: str
    code: AlarmCode
    deps: tuple[str, ...]
    partitions: str
    shortest_intervals: int
    shortest_min: float
    ticks: bool
    limit: str
    hysteresis: str
    only: str
    query: str

    @property
    def days(self) -> str | None:
        """A select of the days that it looks at anew; None: it looks at everything."""
        touched = PARTITIONINGS[self.partitions].touched
        return f"select distinct day from {touched}" if touched else None


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by code. Raises `ValueError` naming file and key."""
    found = {}
    for name, (path, code, header, query) in ALARM_FILES.items():
        if not query:
            continue
        if header["partitions"] not in PARTITIONINGS:
            raise ValueError(f"{path}: partitions is {header['partitions']!r}, allowed: {', '.join(PARTITIONINGS)}")
        found[name] = Rule(
            name,
            code,
            tuple(header["deps"]),
            header["partitions"],
            int(header["shortest_intervals"]),
            float(header["shortest_min"]),
            bool(header.get("ticks", False)),
            header.get("limit", "cast(null as double)"),
            header.get("hysteresis", "0.0"),
            header.get("only", ""),
            query,
        )
    return found


SCOPE = """
create or replace temp table alarm_scope as
with facts_of as (
    select
        wanted.meter,
        wanted.day,
        cast(wanted.day as timestamptz) as starts_at,
        cast(wanted.day + 1 as timestamptz) as ends_at,
        any_value(own.limit_value) as own_limit,
        any_value(facts.q3_m3h) as q3_m3h,
        any_value(facts.q4_m3h) as q4_m3h,
        any_value(facts.pressure_low_mpa) as pressure_low_mpa,
        any_value(facts.pressure_high_mpa) as pressure_high_mpa,
        any_value(facts.resolution_m3) as resolution_m3,
        any_value(facts.reads) as reads,
        any_value(meter.silent_after_h) as silent_after_h,
        coalesce(any_value(meter.runs_always), false) as runs_always
    from wanted
    left join meter_history as facts
        on facts.meter = wanted.meter and facts.terminal is not null
        and coalesce(facts.first_day <= wanted.day, true) and coalesce(facts.last_day >= wanted.day, true)
    left join meter on meter.meter = wanted.meter
    asof left join (select * from registry.limits where code = '{code}') as own
        on own.meter = wanted.meter and own.valid_from <= wanted.day
    group by wanted.meter, wanted.day
)

select *, {limit} as limit_value, {hysteresis} as hysteresis from facts_of"""

IS_BEYOND = {
    beyond: "create or replace temp macro is_beyond(value, limit_value, hysteresis) as "
    f"case when value {out} limit_value then true when value {back} hysteresis then false end"
    for beyond, out, back in (("above", ">", "<= limit_value -"), ("below", "<", ">= limit_value +"))
}

NARROWED = (
    "delete from alarm_scope where meter not in (select meter from ({only})) and meter not in (select unnest(?::varchar[]))"
)
"""Of meters that do not need a look only those stay of which something is known."""

SAMPLE = """
create or replace temp table alarm_sample as
with intervals as (
    select
        meter,
        day,
        starts_at + to_milliseconds(end_ms) as interval_end,
        length_ms,
        volume_nl,
        reverse_nl,
        pressure_pa,
        register_ul,
        device_flow_m3h,
        flags
    from (
        select
            meter,
            day,
            starts_at,
            unnest(end_ms) as end_ms,
            unnest(length_ms) as length_ms,
            unnest(volume_nl) as volume_nl,
            unnest(reverse_nl) as reverse_nl,
            unnest(pressure_pa) as pressure_pa,
            unnest(register_ul) as register_ul,
            unnest(device_flow_m3h) as device_flow_m3h,
            unnest(flags) as flags
        from unit_interval
        where day in ({days}) and meter in (select meter from alarm_scope)
    )
)

select
    meter,
    intervals.day,
    interval_end - to_milliseconds(length_ms) as interval_start,
    interval_end,
    case
        when is_hole(flags) or not is_clean(flags) or length_ms = 0 then null
        when reads = 'flow' or q3_m3h is null or resolution_m3 / (length_ms / 3.6e6) <= {resolved} * q3_m3h
            then volume_nl / 1e12 / (length_ms / 3.6e6)
        else device_flow_m3h
    end as flow_m3h,
    reverse_nl / 1e12 as reverse_m3,
    pressure_pa / 1e6 as pressure_mpa,
    is_hole(flags) as is_hole,
    register_ul is not null or pressure_pa is not null or device_flow_m3h is not null as is_reading,
    alarm_scope.day is null as is_lead
from intervals
left join alarm_scope using (meter, day)
where
    alarm_scope.day is not null
    or interval_end > (select min(starts_at) from alarm_scope) - {lead}
    and interval_end <= (select max(ends_at) from alarm_scope) + {lead}"""

RUNS = """
create or replace temp table alarm_run as
with rows_in_time as (
    select *, last_value(holds ignore nulls) over in_time as state
    from ({query})
    window in_time as (partition by meter order by started_at, ended_at rows unbounded preceding)
),

marked as (
    select *, row_number() over in_time as number, state is distinct from lag(state) over in_time as is_turn
    from rows_in_time
    window in_time as (partition by meter order by started_at, ended_at)
),

numbered as (
    select *, count(*) filter (where is_turn) over (partition by meter order by number rows unbounded preceding) as run
    from marked
),

runs as (
    select
        meter,
        run,
        any_value(state) as state,
        min(started_at) as started_at,
        max(ended_at) as last_at,
        max(ended_at) filter (where holds) as held_until,
        count(*) filter (where holds) as held,
        {extreme}(value) filter (where holds) as value,
        arg_{extreme}(limit_value, value) filter (where holds) as limit_value
    from numbered
    group by meter, run
)

select
    *,
    lead(started_at) over by_run as next_at,
    row_number() over by_run = 1 or (row_number() over by_run = 2 and lag(state) over by_run is null) as is_first,
    lead(run) over by_run is null as is_last
from runs
window by_run as (partition by meter order by run)"""

GONE = """
select meter, max(valid_to) as gone_at
from meter_history
where terminal is not null
group by meter
having bool_and(valid_to is not null) and max(valid_to) <= alarm_now()"""
HELD = f"""
select
    meter,
    started_at,
    coalesce(next_at, case when gone_at is not null then greatest(gone_at, started_at) end) as ended_at,
    value,
    limit_value
from alarm_run
left join ({GONE}) using (meter)
where state and held >= {{intervals}} and held_until - started_at >= to_seconds({{seconds}})
order by meter, started_at"""

EDGES = """
select
    meter,
    min(started_at) as first_at,
    max(last_at) as last_at,
    any_value(state) filter (where is_first and state is not null) as holds_first,
    any_value(state) filter (where is_last) as holds_last
from alarm_run
group by meter
order by meter"""


def evaluate(
    connection: duckdb.DuckDBPyConnection, rule: Rule, scope: pl.DataFrame, now: datetime, alarmed: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The runs (`RUN`) in which the condition held within a scope (`meter`, `day`), and what the rows cover (`EDGE`).

    `alarmed`: meters that are looked at although the condition certainly does not hold there; others of that kind have no row.
    """
    _lay(connection, rule, scope, now, alarmed)
    extreme = "min" if rule.code.beyond == "below" else "max"
    connection.execute(RUNS.format(query=rule.query, extreme=extreme)).fetchall()
    held = warehouse.frame(connection, HELD.format(intervals=rule.shortest_intervals, seconds=60 * rule.shortest_min))
    edges = warehouse.frame(connection, EDGES)
    return held.select(pl.col(name).cast(kind) for name, kind in RUN.items()), edges.select(
        pl.col(name).cast(kind) for name, kind in EDGE.items()
    )


def _lay(connection: duckdb.DuckDBPyConnection, rule: Rule, scope: pl.DataFrame, now: datetime, alarmed: Sequence[str]) -> None:
    """Make the temporary tables that the rule's select may use."""
    _set_now(connection, now)
    connection.execute(IS_BEYOND[rule.code.beyond]).fetchall()
    with warehouse.registered(connection, "wanted", scope):
        connection.execute(SCOPE.format(code=rule.name, limit=rule.limit, hysteresis=rule.hysteresis)).fetchall()
    if rule.only:
        connection.execute(NARROWED.format(only=rule.only), [list(alarmed)]).fetchall()
    if "alarm_sample" in rule.query:
        query = SAMPLE.format(days=_listed(scope["day"].unique().sort().to_list()), resolved=PEAK_RESOLUTION, lead=LEAD)
        connection.execute(query).fetchall()


def _set_now(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    connection.execute(f"create or replace temp macro alarm_now() as timestamptz '{now.isoformat()}'").fetchall()


def gone(connection: duckdb.DuckDBPyConnection, now: datetime) -> dict[str, datetime]:
    """Meters whose service is over, and since when: nothing that comes later clears their alarms."""
    if not warehouse.has_table(connection, "meter_history"):
        return {}
    _set_now(connection, now)
    return dict(connection.execute(GONE).fetchall())


def _listed(days: Sequence[date]) -> str:
    """The days and one to either side, as literals: a query that names days opens their files only."""
    wanted = {date.fromordinal(day.toordinal() + near) for day in days for near in (-1, 0, 1)}
    return ", ".join(f"date '{day}'" for day in sorted(wanted))

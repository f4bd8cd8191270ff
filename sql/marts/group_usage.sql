/*
zh: 分组用水量
group: metrics
description: >-
  Volume of all meters of a network, line, industry, region, group, book … in a day, month or year, by who belonged to it at the day; kind all is
  everybody, each meter once. Inlets of zones are not among them: their water is that of the customers behind. The sum of what is known: complete tells whether that is all. A meter that belongs to it for a part of a
  month adds the days of that part. Meters that are read by hand are not among them.
grain: [kind, code, grain, period]
deps: [relation, meter_history, daily_usage, monthly_usage, registry]
partitions: grain
columns:
  kind: {description: "What the code stands for, a kind of relation; all: every meter."}
  code: {zh: 代码, en: Code, unit: "", description: "Code of the network, line, industry, region, group or book; all: every meter."}
  grain:
  period:
  volume_m3: {description: Sum of the volumes that are known of its meters; empty where none is.}
  meters: {description: Meters that belong to it in the period.}
  complete: {description: Every meter is complete in the period.}
  meters_complete: {zh: 完整水表数, en: Complete meters, unit: "", format: "#,##0", description: Meters that are complete in the period.}
*/
with present as (
    -- From its first to its last day a meter is expected to be measured; next_day is the one after.
    select
        meter,
        min(coalesce(first_day, date '0001-01-01')) as first_day,
        max(coalesce(last_day + 1, date '9999-12-31')) as next_day
    from meter_history
    where
        source is distinct from 'manual'
        -- What comes into a zone is taken by the customers behind it.
        and meter not in (select points.meter from registry.points where inlet_of is not null)
    group by meter
),

listed as (
    select kind, code, meter, coalesce(valid_from, date '0001-01-01') as first_day, coalesce(valid_to, date '9999-12-31') as next_day
    from relation
    union all
    select 'all', 'all', meter, first_day, next_day from present
),

apart as (
    -- Spans of one code that overlap must not count a meter twice.
    select
        kind,
        code,
        meter,
        greatest(first_day, max(next_day) over (
            partition by kind, code, meter order by first_day, next_day rows between unbounded preceding and 1 preceding
        )) as first_day,
        next_day
    from listed
),

usage as (
    -- Whole microlitres: their sum is the same in whatever order.
    select 'day' as grain, meter, day as period, cast(volume_m3 * 1e9 as bigint) as volume_ul, cast(complete as bigint) as days_complete
    from daily_usage
    join touched_day using (day)
    union all
    select 'month', meter, month, cast(coalesce(volume_m3, measured_m3) * 1e9 as bigint), days_complete
    from monthly_usage
    join touched_month using (month)
    union all
    select 'year', meter, year, sum(cast(coalesce(volume_m3, measured_m3) * 1e9 as bigint)), sum(days_complete)
    from monthly_usage
    join touched_year on month >= year and month < year + interval 1 year
    group by meter, year
),

periods as (
    -- A day on which nothing is known of any meter has no row.
    select * from touched_grain semi join usage using (grain, period)
),

members as (
    select
        kind,
        code,
        meter,
        grain,
        period,
        greatest(apart.first_day, present.first_day, period) as first_day,
        least(apart.next_day, present.next_day, next) as next_day,
        apart.first_day <= greatest(present.first_day, period) and apart.next_day >= least(present.next_day, next) as is_whole
    from apart
    join present using (meter)
    join periods on greatest(apart.first_day, present.first_day, period) < least(apart.next_day, present.next_day, next)
),

parts as (
    select
        kind,
        code,
        members.meter,
        grain,
        period,
        date_diff('day', members.first_day, next_day) as days,
        count(*) filter (where complete) as days_complete,
        sum(cast(volume_m3 * 1e9 as bigint)) as volume_ul
    from members
    left join daily_usage
        on daily_usage.meter = members.meter and day >= members.first_day and day < next_day
        and day >= (select min(period) from touched_grain)
    where not is_whole
    group by kind, code, members.meter, grain, period, members.first_day, next_day
),

shares as (
    select kind, code, grain, period, volume_ul, coalesce(days_complete, 0) = date_diff('day', first_day, next_day) as complete
    from members
    left join usage using (grain, meter, period)
    where is_whole
    union all
    select kind, code, grain, period, sum(volume_ul), sum(days_complete) = sum(days)
    from parts
    group by kind, code, meter, grain, period
)

select
    kind,
    code,
    grain,
    period,
    sum(volume_ul) / 1e9 as volume_m3,
    count(*) as meters,
    bool_and(complete) as complete,
    count(*) filter (where complete) as meters_complete
from shares
group by kind, code, grain, period

/*
zh: 流量转向
en: Reverse flow
severity: critical
origins: [device, server]
unit: m³/h
beyond: above
description: >-
  Water flows backwards: an event of at least the reverse volume of the criterion, with pauses as reverse events have them. The value is the highest reverse flow.
value: flow_m3h
limit: coalesce(own_limit, criterion('alarm.reverse_m3', day))
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select meter from alarm_scope semi join reverse_interval using (meter, day)
*/
with limits as (
    select
        meter,
        day,
        limit_value as least_m3,
        to_seconds(60 * criterion('reverse.pause_min', day)) as pause
    from alarm_scope
),

reversed as (
    select *, coalesce(interval_start - lag(interval_end) over (partition by meter order by interval_end) <= pause, false) as goes_on
    from (select meter, any_value(pause) as pause from limits group by meter)
    join alarm_sample using (meter)
    where reverse_m3 > 0
),

numbered as (
    select *, count(*) filter (where not goes_on) over (partition by meter order by interval_end rows unbounded preceding) as run from reversed
),

events as (
    select
        meter,
        min(interval_start) as started_at,
        max(interval_end) as ended_at,
        arg_min(day, interval_start) as first_day,
        sum(reverse_m3) as event_m3,
        max(reverse_m3 / (epoch_ms(interval_end) - epoch_ms(interval_start)) * 3.6e6) as value
    from numbered
    group by meter, run
),

raised as (
    select events.*
    from events
    left join limits on limits.meter = events.meter and limits.day = first_day
    where event_m3 >= coalesce(least_m3, criterion('alarm.reverse_m3', first_day))
)

select
    meter,
    started_at,
    ended_at,
    value,
    0.0 as limit_value,
    true as holds
from raised

union all

select
    meter,
    interval_start,
    interval_end,
    null,
    null,
    false
from alarm_sample
anti join raised on raised.meter = alarm_sample.meter and interval_start < raised.ended_at and interval_end > raised.started_at
where not is_hole

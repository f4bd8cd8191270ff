/*
zh: 无数据
en: No data
severity: warning
origins: [server]
unit: h
beyond: above
description: >-
  Nothing was measured for longer than three readings, or one upload and half of the next one. What comes late takes the alarm back. The value is the length of the silence, of one that lasts the limit.
limit: "limits.csv, else silent_after_h of the meter"
hysteresis: "none: it is over with the first reading"
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, latest_figures, meter, meter_history]
partitions: day
ticks: true
*/
with limits as (
    select meter, to_seconds(3600 * limit_h) as silence, limit_h
    from (select meter, coalesce(any_value(own_limit), any_value(silent_after_h)) as limit_h from alarm_scope left join meter using (meter) group by meter)
    where limit_h is not null
),

first_day as (
    select meter, min(day) as first_day from alarm_scope group by meter
),

-- What was measured in the scope, and the last that was before it.
instants as (
    select meter, interval_end as read_at from alarm_sample where not is_lead and is_reading
    union
    select meter, first_at from unit_day join alarm_scope using (meter, day)
    union
    select meter, last_at from unit_day join alarm_scope using (meter, day)
    union
    select meter, max(last_at)
    from unit_day
    join first_day using (meter)
    where day < first_day and day >= first_day - 35
    group by meter
),

gaps as (
    select
        meter,
        read_at,
        lag(read_at) over (partition by meter order by read_at) as before_at,
        row_number() over (partition by meter order by read_at) = 1 as is_first,
        lead(read_at) over (partition by meter order by read_at) is null as is_last
    from instants
    where read_at is not null
),

found as (
    select meter, before_at + silence as started_at, read_at as ended_at, epoch(read_at - before_at) / 3600 as value, limit_h as limit_value, true as holds
    from gaps
    join limits using (meter)
    where read_at - before_at > silence

    union all

    select meter, read_at, read_at, null, null, false
    from gaps
    join limits using (meter)
    where is_first or is_last or read_at - before_at > silence

    union all

    -- Nothing since the last reading of all.
    select meter, reading_at + silence, alarm_now(), limit_h, limit_h, true
    from latest_figures
    join limits using (meter)
    semi join alarm_scope on alarm_scope.meter = latest_figures.meter and alarm_scope.day = latest_figures.day
    where alarm_now() - reading_at > silence
)

select * from found

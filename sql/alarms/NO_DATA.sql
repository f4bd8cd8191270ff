/*
zh: 无数据
en: No data
severity: warning
origins: [server]
unit: h
beyond: above
description: >-
  Nothing was measured for longer than three readings, or one upload and half of the next one. What comes late takes the alarm back. The value is the length of the silence, of one that lasts the limit.
limit: coalesce(own_limit, silent_after_h)
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, latest_figures, meter, meter_history]
partitions: day
ticks: true
only: >-
  select alarm_scope.meter from alarm_scope
  left join unit_day using (meter, day)
  left join unit_day as before on before.meter = alarm_scope.meter and before.day = alarm_scope.day - 1
  where
      limit_value <= 2
      or unit_day.meter is null
      or unit_day.hole_count > 0
      or coalesce(unit_day.first_at - before.last_at > to_seconds(3600 * limit_value), true)
      or alarm_now() - unit_day.last_at > to_seconds(3600 * limit_value)
*/
with limits as (
    select meter, any_value(limit_value) as limit_h, to_seconds(3600 * limit_h) as silence
    from alarm_scope
    where limit_value is not null
    group by meter
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

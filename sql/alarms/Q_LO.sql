/*
zh: 流量越下限
en: Flow below limit
severity: warning
origins: [device, server]
unit: m³/h
beyond: below
description: >-
  The flow has not been above the lower limit of the point for two hours within the working hours of a work day; of a point that always runs at any time.
value: flow_m3h
limit: coalesce(own_limit, case when runs_always then criterion('alarm.flow_low_m3h', day) end)
shortest_intervals: 1
shortest_min: 120
deps: [interval_reading, meter_history, meter, calendar]
partitions: day
only: >-
  select meter from alarm_scope where limit_value is not null
*/
with limits as (
    select
        meter,
        day,
        limit_value,
        runs_always,
        day_kind = 'work' as is_work_day,
        criterion('alarm.work_from_h', day) as from_h,
        criterion('alarm.work_to_h', day) as to_h
    from alarm_scope
    join calendar using (day)
)

select
    meter,
    interval_start as started_at,
    interval_end as ended_at,
    flow_m3h as value,
    limit_value,
    flow_m3h <= limit_value
        and (runs_always or (is_work_day and extract(hour from interval_start) >= from_h and extract(hour from interval_start) < to_h)) as holds
from alarm_sample
join limits using (meter, day)
where flow_m3h is not null and limit_value is not null

/*
zh: 流量越上限
en: Flow above limit
severity: warning
origins: [device, server]
unit: m³/h
beyond: above
description: >-
  The mean flow of an interval that the register can resolve is above the limit of the point.
value: flow_m3h
limit: "limits.csv, else Q4 of the meter"
hysteresis: criterion alarm.flow_hysteresis_share
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
*/
with limits as (
    select
        meter,
        day,
        coalesce(own_limit, q4_m3h) as limit_m3h,
        1 - criterion('alarm.flow_hysteresis_share', day) as return_share
    from alarm_scope
)

select
    meter,
    interval_start as started_at,
    interval_end as ended_at,
    flow_m3h as value,
    limit_m3h as limit_value,
    case when flow_m3h > limit_m3h then true when flow_m3h <= limit_m3h * return_share then false end as holds
from alarm_sample
join limits using (meter, day)
where flow_m3h is not null and limit_m3h is not null

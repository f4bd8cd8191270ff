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
limit: coalesce(own_limit, q4_m3h)
hysteresis: limit_value * criterion('alarm.flow_hysteresis_share', day)
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select meter from alarm_scope join unit_day using (meter, day) where flow_max_m3h is null or flow_max_m3h > limit_value
*/
select
    meter,
    interval_start as started_at,
    interval_end as ended_at,
    flow_m3h as value,
    limit_value,
    is_beyond(flow_m3h, limit_value, hysteresis) as holds
from alarm_sample
join alarm_scope using (meter, day)
where flow_m3h is not null and limit_value is not null

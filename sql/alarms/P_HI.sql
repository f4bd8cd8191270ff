/*
zh: 压力越上限
en: Pressure above limit
severity: warning
origins: [device, server]
unit: MPa
beyond: above
description: >-
  The pressure is above the upper limit of the point in two readings in a row.
value: pressure_mpa
limit: coalesce(own_limit, pressure_high_mpa, criterion('alarm.pressure_high_mpa', day))
hysteresis: criterion('alarm.pressure_hysteresis_mpa', day)
shortest_intervals: 2
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select meter from alarm_scope join unit_day using (meter, day) where pressure_max_pa > 1e6 * limit_value
*/
select
    meter,
    interval_end as started_at,
    interval_end as ended_at,
    pressure_mpa as value,
    limit_value,
    is_beyond(pressure_mpa, limit_value, hysteresis) as holds
from alarm_sample
join alarm_scope using (meter, day)
where pressure_mpa is not null

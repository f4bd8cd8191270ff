/*
zh: 压力越下限
en: Pressure below limit
severity: warning
origins: [device, server]
unit: MPa
beyond: below
description: >-
  The pressure is below the lower limit of the point in two readings in a row.
value: pressure_mpa
limit: coalesce(own_limit, pressure_low_mpa, criterion('pressure.low_mpa', day))
hysteresis: criterion('alarm.pressure_hysteresis_mpa', day)
shortest_intervals: 2
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select meter from alarm_scope join unit_day using (meter, day) where pressure_min_pa < 1e6 * limit_value
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

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
hysteresis: criterion alarm.pressure_hysteresis_mpa
shortest_intervals: 2
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
only: >-
  select meter from alarm_scope join unit_day using (meter, day) where pressure_min_pa < 1e6 * limit_value
*/
with limits as (
    select meter, day, limit_value, criterion('alarm.pressure_hysteresis_mpa', day) as hysteresis_mpa from alarm_scope
)

select
    meter,
    interval_end as started_at,
    interval_end as ended_at,
    pressure_mpa as value,
    limit_value,
    case when pressure_mpa < limit_value then true when pressure_mpa >= limit_value + hysteresis_mpa then false end as holds
from alarm_sample
join limits using (meter, day)
where pressure_mpa is not null

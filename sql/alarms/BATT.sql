/*
zh: 电池低电压
en: Low battery
severity: maintenance
origins: [device, server]
unit: V
beyond: below
description: >-
  The lowest battery voltage of a day is below the limit.
value: battery_v
limit: coalesce(own_limit, criterion('quality.battery_v', day))
hysteresis: criterion('alarm.battery_hysteresis_v', day)
shortest_intervals: 1
shortest_min: 0
deps: [delivery_day, meter_history]
partitions: day
*/
select
    meter,
    starts_at as started_at,
    ends_at as ended_at,
    battery_min_v as value,
    limit_value,
    is_beyond(battery_min_v, limit_value, hysteresis) as holds
from delivery_day
join alarm_scope using (meter, day)
where battery_min_v is not null

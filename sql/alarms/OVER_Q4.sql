/*
zh: 长时间超过载流量
en: Overloaded
severity: critical
origins: [server]
unit: min
beyond: above
description: >-
  The flow was above the overload flow Q4 for longer than the limit in one day. The value is the time above it.
limit: coalesce(own_limit, criterion('alarm.over_q4_min', day))
shortest_intervals: 1
shortest_min: 0
deps: [interval_reading, meter_history]
partitions: day
*/
select
    meter,
    starts_at as started_at,
    ends_at as ended_at,
    zone_us[6] / 6e7 as value,
    limit_value,
    zone_us[6] > 6e7 * limit_value as holds
from unit_day
join alarm_scope using (meter, day)
where q4_m3h is not null and list_sum(zone_us) > 0

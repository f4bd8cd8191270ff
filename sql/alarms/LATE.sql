/*
zh: 数据迟到
en: Data late
severity: maintenance
origins: [server]
unit: h
beyond: above
description: >-
  Half of the readings of a day came later than the limit after they were measured. The value is their median delay.
limit: coalesce(own_limit, criterion('alarm.late_h', day))
shortest_intervals: 1
shortest_min: 0
deps: [delivery_day, meter_history]
partitions: day
*/
select
    meter,
    starts_at as started_at,
    ends_at as ended_at,
    lag_median_s / 3600 as value,
    limit_value,
    lag_median_s > 3600 * limit_value as holds
from delivery_day
join alarm_scope using (meter, day)
where lag_median_s is not null

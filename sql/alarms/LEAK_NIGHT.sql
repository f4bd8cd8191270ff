/*
zh: 夜间疑似漏水
en: Leak suspected
severity: warning
origins: [server]
unit: m³/h
beyond: above
description: >-
  The night flow has been above its limit for some nights in a row (docs/domain.md#night-flow). A night that is not known neither raises nor clears.
shortest_intervals: 1
shortest_min: 0
deps: [night_flow, meter_history]
partitions: night
*/
select
    meter,
    starts_at + to_seconds(3600 * criterion('night.start_h', day)) as started_at,
    starts_at + to_seconds(3600 * criterion('night.end_h', day)) as ended_at,
    night_min_m3h as value,
    limit_m3h as limit_value,
    case when night_min_m3h is not null then suspected end as holds
from night_flow
join alarm_scope using (meter, day)

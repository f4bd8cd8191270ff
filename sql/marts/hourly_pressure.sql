/*
zh: 小时压力
group: usage
description: >-
  Mean and lowest pressure of each meter and local clock hour in which pressure was read; the head is the mean pressure as metres of water plus the
  elevation of the point, where the registry has it.
grain: [meter, hour_start]
deps: [interval_reading, registry]
partitions: day
columns:
  meter:
  hour_start:
  day:
  pressure_mpa: {description: Mean pressure of the hour.}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of the hour.}
  head_m: {zh: 水头, en: Head, unit: m, description: "Mean pressure in metres of water above the point, plus the point's elevation."}
*/
select
    meter,
    hour_start,
    day,
    pressure_sum_pa / 1e6 / pressure_count as pressure_mpa,
    pressure_min_pa / 1e6 as pressure_min_mpa,
    pressure_sum_pa / pressure_count / 9806.65 + elevation_m as head_m
from clock_hour
join touched_day using (day)
left join registry.points using (meter)
where pressure_count > 0

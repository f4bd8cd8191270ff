/*
zh: 峰谷值
group: metrics
description: >-
  Highest, lowest and mean flow and pressure of each meter and local day with their times; flow is the mean of an interval that the register
  can resolve, holes excluded.
grain: [meter, grain, period]
deps: [interval_reading, daily_usage]
partitions: peak
columns:
  meter:
  grain:
  period:
  flow_max_m3h:
  flow_max_at: {zh: 最大时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was highest.}
  flow_min_m3h:
  flow_min_at: {zh: 最小时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was lowest.}
  flow_mean_m3h:
  pressure_max_mpa: {zh: 最高压力, en: Max pressure, unit: MPa, description: Highest pressure of the period.}
  pressure_max_at: {zh: 最高时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was highest.}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of the period.}
  pressure_min_at: {zh: 最低时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was lowest.}
  pressure_mean_mpa: {zh: 平均压力, en: Mean pressure, unit: MPa, description: Mean pressure of the period.}
  coverage:
  complete:
*/
select
    unit_day.meter,
    'day' as grain,
    day as period,
    unit_day.flow_max_m3h,
    flow_max_at,
    unit_day.flow_min_m3h,
    flow_min_at,
    flow_mean_m3h,
    pressure_max_pa / 1e6 as pressure_max_mpa,
    pressure_max_at,
    pressure_min_pa / 1e6 as pressure_min_mpa,
    pressure_min_at,
    pressure_sum_pa / 1e6 / nullif(pressure_count, 0) as pressure_mean_mpa,
    coverage,
    complete
from unit_day
join touched_day using (day)
join daily_usage using (meter, day)

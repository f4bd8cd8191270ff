/*
zh: 压力月报表
en: Monthly pressure report
description: >-
  Pressure of each point, a page a point: highest, lowest and mean pressure of each day, the times of the extremes, and the share of its readings that meet
  the limit. Below them the highest of the highest, the lowest of the lowest, and the means weighted by readings.
grain: [meter, day]
deps: [peak_valley, pressure_compliance, meter]
period: month
columns:
  customer_name: {width: 0}
  meter: {width: 12}
  day: {zh: 日期, en: Day, unit: "", format: yyyy-mm-dd, description: Local civil day., width: 12}
  pressure_max_mpa: {width: 12, total: max}
  pressure_max_at: {width: 17}
  pressure_min_mpa: {width: 12, total: min}
  pressure_min_at: {width: 17}
  pressure_mean_mpa: {width: 12, total: mean, weight: pressures}
  readings: {width: 11, total: sum}
  share_met: {width: 11, total: mean, weight: readings}
  met: {width: 10}
  pressures: {width: 0}
layout: {kind: blocks, by: [meter, customer_name], chart: {kind: line, x: day, values: [pressure_max_mpa, pressure_mean_mpa, pressure_min_mpa]}}
csv: [meter, customer_name, day, pressure_max_mpa, pressure_max_at, pressure_min_mpa, pressure_min_at, pressure_mean_mpa, readings, share_met, met]
*/
select
    meter.customer_name,
    peak_valley.meter,
    peak_valley.period as day,
    pressure_max_mpa,
    pressure_max_at,
    pressure_min_mpa,
    pressure_min_at,
    pressure_mean_mpa,
    readings,
    share_met,
    met,
    pressures
from peak_valley
left join pressure_compliance using (meter, grain, period)
left join meter using (meter)
where grain = 'day' and period >= $first_day::date and period <= $last_day::date and pressures > 0
order by meter.customer_no nulls last, peak_valley.meter, period

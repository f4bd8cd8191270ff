/*
zh: 峰谷值报表
en: Peaks report
description: >-
  Highest, lowest and mean flow of each meter and day with their times, a page a meter. Below them the highest of the highest, the lowest of the lowest, and
  the mean weighted by the hours that are known.
grain: [meter, day]
deps: [peak_valley, meter]
period: month
columns:
  customer_name: {width: 0}
  meter: {width: 12}
  day: {zh: 日期, en: Day, unit: "", format: yyyy-mm-dd, description: Local civil day., width: 12}
  flow_max_m3h: {width: 13, total: max}
  flow_max_at: {width: 17}
  flow_min_m3h: {width: 13, total: min}
  flow_min_at: {width: 17}
  flow_mean_m3h: {width: 13, total: mean, weight: known_h}
  coverage: {width: 10, total: mean}
  known_h: {width: 0}
  complete: {width: 0}
layout:
  kind: blocks
  by: [meter, customer_name]
  complete: complete
  chart: {kind: line, x: day, values: [flow_max_m3h, flow_mean_m3h, flow_min_m3h]}
csv: [meter, customer_name, day, flow_max_m3h, flow_max_at, flow_min_m3h, flow_min_at, flow_mean_m3h, coverage, complete]
*/
select
    meter.customer_name,
    peak_valley.meter,
    period as day,
    flow_max_m3h,
    flow_max_at,
    flow_min_m3h,
    flow_min_at,
    flow_mean_m3h,
    coverage,
    known_h,
    complete
from peak_valley
left join meter using (meter)
where grain = 'day' and period >= $first_day::date and period <= $last_day::date
order by meter.customer_no nulls last, peak_valley.meter, period

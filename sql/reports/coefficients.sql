/*
zh: 变化系数报表
en: Coefficients report
description: Daily volume and daily coefficient of each meter, a page a meter; days that are not complete have no coefficient.
grain: [meter, day]
deps: [daily_coefficient, daily_usage, meter]
period: month
columns:
  customer_name: {width: 0}
  meter: {width: 12}
  day: {zh: 日期, en: Day, unit: "", format: yyyy-mm-dd, description: Local civil day., width: 12}
  volume_m3: {width: 13, total: sum}
  coefficient: {width: 12, total: max}
  coverage: {width: 10, total: mean}
  complete: {width: 0}
layout: {kind: blocks, by: [meter, customer_name], complete: complete, chart: {kind: line, x: day, values: [coefficient]}}
csv: [meter, customer_name, day, volume_m3, coefficient, coverage, complete]
*/
select
    meter.customer_name,
    daily_usage.meter,
    daily_usage.day,
    volume_m3,
    coefficient,
    coverage,
    complete
from daily_usage
left join daily_coefficient using (meter, day)
left join meter using (meter)
where daily_usage.day >= $first_day::date and daily_usage.day <= $last_day::date
order by meter.customer_no nulls last, daily_usage.meter, daily_usage.day

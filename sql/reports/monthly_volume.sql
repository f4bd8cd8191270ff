/*
zh: 月用水量报表
en: Monthly volume report
description: >-
  Volume of each meter and month as the difference of its register, with the sum of the days that are known, complete days and coverage. A month of
  which an end is not known has no volume, never 0.
grain: [meter, month]
deps: [monthly_usage, meter, meter_history]
period: month
columns:
  customer_no: {width: 10}
  customer_name: {width: 24}
  meter: {width: 12}
  dn_mm: {width: 7}
  month: {width: 10}
  volume_m3: {width: 13, total: sum}
  measured_m3: {width: 13, total: sum}
  mean_day_m3: {width: 12}
  reverse_m3: {width: 12, total: sum}
  days_complete: {width: 9, total: sum}
  coverage: {width: 9, total: mean}
  complete: {width: 0}
layout: {kind: list, complete: complete, frozen: 3}
csv: [meter, month, customer_no, customer_name, volume_m3, measured_m3, mean_day_m3, reverse_m3, days_complete, coverage, complete]
*/
select
    coalesce(history.customer_no, meter.customer_no) as customer_no,
    coalesce(history.customer_name, meter.customer_name) as customer_name,
    monthly_usage.meter,
    coalesce(history.dn_mm, meter.dn_mm) as dn_mm,
    month,
    volume_m3,
    measured_m3,
    mean_day_m3,
    reverse_m3,
    days_complete,
    coverage,
    complete
from monthly_usage
left join meter using (meter)
-- The customer at the end of the month has its volume.
left join meter_history as history
    on history.meter = monthly_usage.meter
    and last_day(month) >= coalesce(history.first_day, last_day(month))
    and last_day(month) <= coalesce(history.last_day, last_day(month))
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by customer_no nulls last, monthly_usage.meter, month

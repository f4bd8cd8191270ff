/*
zh: 环比同比报表
en: Comparison report
description: >-
  Volume of each meter and month against the month before and the same month a year ago; a base that is missing or 0 gives no rate. A month that is not over
  is compared up to its last known day with the same part of its bases.
grain: [meter, period]
deps: [usage_comparison, meter]
period: month
columns:
  customer_no: {width: 10}
  customer_name: {width: 24}
  meter: {width: 12}
  period: {zh: 月份, en: Month, unit: "", format: yyyy-mm, description: First day of the month., width: 9}
  volume_m3: {width: 12, total: sum}
  previous_m3: {width: 12, total: sum}
  change_m3: {width: 12, total: sum}
  change_pct: {width: 9}
  last_year_m3: {width: 12, total: sum}
  yoy_m3: {width: 12, total: sum}
  yoy_pct: {width: 9}
  last_day: {zh: 截至日期, en: Up to, unit: "", format: yyyy-mm-dd, description: Last known day of a month that is compared in part., width: 11}
  coverage_warning: {width: 10}
layout: {kind: list, frozen: 3}
csv: [meter, period, customer_no, customer_name, volume_m3, previous_m3, change_m3, change_pct, last_year_m3, yoy_m3, yoy_pct, last_day, coverage_warning]
*/
select
    meter.customer_no,
    meter.customer_name,
    usage_comparison.meter,
    period,
    volume_m3,
    previous_m3,
    change_m3,
    change_pct,
    last_year_m3,
    yoy_m3,
    yoy_pct,
    usage_comparison.last_day,
    coverage_warning
from usage_comparison
left join meter using (meter)
where grain = 'month' and period >= date_trunc('month', $first_day::date) and period <= $last_day::date
order by meter.customer_no nulls last, usage_comparison.meter, period

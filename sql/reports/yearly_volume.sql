/*
zh: 年用水量报表
en: Yearly volume report
description: >-
  Volume of each meter in each month of the period, with the difference of its register over all of it. A month of which an end is not known is blank,
  never 0.
grain: [meter, month]
deps: [monthly_usage, meter]
period: year
columns:
  customer_no: {width: 10}
  customer_name: {width: 22}
  meter: {width: 11}
  dn_mm: {width: 6}
  month: {width: 8}
  volume_m3: {width: 9.5, format: "#,##0", total_format: "#,##0"}
  coverage: {width: 8}
  complete: {width: 8}
layout: {kind: across, lead: [customer_no, customer_name, meter, dn_mm], across: month, value: volume_m3, coverage: coverage, complete: complete}
csv: [meter, customer_no, customer_name, month, volume_m3, coverage, complete]
*/
select
    meter.customer_no,
    meter.customer_name,
    monthly_usage.meter,
    meter.dn_mm,
    month,
    volume_m3,
    coverage,
    complete
from monthly_usage
left join meter using (meter)
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by meter.customer_no nulls last, monthly_usage.meter, month

/*
zh: 月水量对比
en: Months compared
sheet_of: volume_analysis
description: Billed volume of the twelve months of a year beside those of the year before, by class; month 13 is the total.
grain: [year, kind, code, month_no]
deps: [usage_month_matrix]
columns:
  year: {width: 8}
  kind: {width: 11}
  code: {width: 14}
  month_no: {width: 8}
  volume_m3: {width: 14}
  last_year_m3: {width: 14}
  yoy_pct: {width: 10}
  months_compared: {width: 11}
layout: {kind: list, frozen: 4}
csv: [year, kind, code, month_no, volume_m3, last_year_m3, yoy_pct, months_compared]
*/
select
    year,
    kind,
    code,
    month_no,
    volume_m3,
    last_year_m3,
    yoy_pct,
    months_compared
from usage_month_matrix
where year >= date_trunc('year', $first_day::date) and year <= $last_day::date
order by year, kind, code <> 'all', code, month_no

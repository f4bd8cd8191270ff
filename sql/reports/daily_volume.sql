/*
zh: 日用水量报表
en: Daily volume report
description: >-
  Volume of each meter and local day of the period. A meter that was there on a day has a row even where nothing is known of it: its volume is
  then empty, never 0.
grain: [meter, day]
deps: [daily_usage, meter]
columns:
  customer_no: {zh: 用户编号, width: 10}
  customer_name: {zh: 用户名称, width: 22}
  meter: {zh: 水表, width: 11}
  dn_mm: {zh: 口径 mm, width: 6, format: "0"}
  day: {zh: 日期, width: 8, format: mm-dd}
  volume_m3: {zh: 水量 m³, width: 7.5, format: "#,##0.0", total: "#,##0"}
  coverage: {zh: 覆盖率, width: 8, format: "0.0%"}
  complete: {zh: 完整, width: 8}
sheet: {lead: [customer_no, customer_name, meter, dn_mm], across: day, value: volume_m3, coverage: coverage, complete: complete}
csv: [meter, customer_no, customer_name, day, volume_m3, coverage, complete]
*/
with days as (
    select unnest(generate_series($first_day::date, $last_day::date, interval 1 day))::date as day
),

grid as (
    select meter, customer_no, customer_name, dn_mm, day, installed_on, removed_on
    from meter
    cross join days
)

select
    grid.customer_no,
    grid.customer_name,
    grid.meter,
    grid.dn_mm,
    grid.day,
    daily_usage.volume_m3,
    coalesce(daily_usage.coverage, 0) as coverage,
    coalesce(daily_usage.complete, false) as complete
from grid
left join daily_usage on daily_usage.meter = grid.meter and daily_usage.day = grid.day
where
    daily_usage.meter is not null
    or (grid.day >= coalesce(grid.installed_on, grid.day) and grid.day <= coalesce(grid.removed_on, grid.day))
order by grid.customer_no nulls last, grid.meter, grid.day

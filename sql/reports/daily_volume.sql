/*
zh: 日用水量报表
en: Daily volume report
description: >-
  Volume of each meter and local day of the period. A meter that was there on a day has a row even where nothing is known of it: its volume is
  then empty, never 0. One that is read by hand has no daily volume and no row.
grain: [meter, day]
deps: [daily_usage, meter, meter_history]
columns:
  customer_no: {width: 10}
  customer_name: {width: 22}
  meter: {width: 11}
  dn_mm: {width: 6}
  day: {width: 8, format: mm-dd}
  volume_m3: {width: 7.5, total_format: "#,##0"}
  coverage: {width: 8}
  complete: {width: 8}
layout: {kind: across, lead: [customer_no, customer_name, meter, dn_mm], across: day, value: volume_m3, coverage: coverage, complete: complete}
csv: [meter, customer_no, customer_name, day, volume_m3, coverage, complete]
*/
with days as (
    select unnest(generate_series($first_day::date, $last_day::date, interval 1 day))::date as day
),

grid as (
    select
        meter.meter,
        coalesce(history.customer_no, meter.customer_no) as customer_no,
        coalesce(history.customer_name, meter.customer_name) as customer_name,
        coalesce(history.dn_mm, meter.dn_mm) as dn_mm,
        day,
        meter.installed_on,
        meter.removed_on,
        coalesce(history.source, meter.source) as source
    from meter
    cross join days
    left join meter_history as history
        on history.meter = meter.meter
        and day >= coalesce(history.first_day, day)
        and day <= coalesce(history.last_day, day)
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
    or (source <> 'manual' and grid.day >= coalesce(grid.installed_on, grid.day) and grid.day <= coalesce(grid.removed_on, grid.day))
order by grid.customer_no nulls last, grid.meter, grid.day

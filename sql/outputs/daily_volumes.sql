/*
zh: 日水量
en: Daily volumes
description: >-
  Volume of each meter that a terminal reads and local day. A meter that was in service has a row even where nothing is known of the day:
  its volume is then empty, never 0.
grain: [meter, day]
deps: [daily_usage, meter, meter_history, calendar]
cut: day
files: [csv, parquet]
columns:
  meter: {type: text}
  customer_no: {type: text}
  day: {type: day}
  volume_m3: {type: number, description: Volume of the day as the difference of the register; empty where it is not known.}
  reverse_m3: {type: number}
  flow_max_m3h: {type: number}
  flow_min_m3h: {type: number}
  coverage: {type: number}
  complete: {type: boolean}
  clean: {type: boolean}
*/
with days as (
    select day
    from calendar
    where day >= (select min(day) from daily_usage) and day < (now() at time zone '{zone}')::date
),

grid as (
    select
        meter.meter,
        coalesce(history.customer_no, meter.customer_no) as customer_no,
        days.day,
        coalesce(history.source, meter.source) <> 'manual'
        and days.day >= coalesce(meter.installed_on, days.day)
        and days.day <= coalesce(meter.removed_on, days.day) as in_service
    from days
    cross join meter
    left join meter_history as history
        on history.meter = meter.meter
        and days.day >= coalesce(history.first_day, days.day)
        and days.day <= coalesce(history.last_day, days.day)
)

select
    grid.meter,
    grid.customer_no,
    grid.day,
    volume_m3,
    reverse_m3,
    flow_max_m3h,
    flow_min_m3h,
    coalesce(coverage, 0) as coverage,
    coalesce(complete, false) as complete,
    clean
from grid
left join daily_usage on daily_usage.meter = grid.meter and daily_usage.day = grid.day
where grid.in_service or daily_usage.meter is not null

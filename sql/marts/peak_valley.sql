/*
zh: 峰谷值
group: figures
description: Highest, lowest and mean flow and pressure of each meter and local day with their times; flow is the mean of an interval, holes excluded.
grain: [meter, grain, period]
deps: [interval_reading, daily_usage]
partitions: peak
*/
with days as (
    select
        meter,
        day,
        max(flow_m3h) as flow_max_m3h,
        arg_max(interval_end, flow_m3h order by interval_end) as flow_max_at,
        min(flow_m3h) as flow_min_m3h,
        arg_min(interval_end, flow_m3h order by interval_end) as flow_min_at,
        max(pressure_mpa) as pressure_max_mpa,
        arg_max(interval_end, pressure_mpa order by interval_end) as pressure_max_at,
        min(pressure_mpa) as pressure_min_mpa,
        arg_min(interval_end, pressure_mpa order by interval_end) as pressure_min_at,
        avg(pressure_mpa order by interval_end) as pressure_mean_mpa
    from interval_reading
    join touched_day using (day)
    group by meter, day
)

select
    meter,
    'day' as grain,
    day as period,
    days.flow_max_m3h,
    flow_max_at,
    days.flow_min_m3h,
    flow_min_at,
    flow_mean_m3h,
    pressure_max_mpa,
    pressure_max_at,
    pressure_min_mpa,
    pressure_min_at,
    pressure_mean_mpa,
    coverage,
    complete
from days
join daily_usage using (meter, day)

/*
zh: 日用水形态
group: metrics
description: >-
  The shape of each complete day with water: in how many hours a meter is busy, when, and how even its use is. An hour is active that has at least a share
  (criterion shift.active_share) of the mean of the day's three busiest.
grain: [meter, day]
deps: [hourly_usage, daily_usage]
partitions: day
columns:
  meter:
  day:
  hours_active: {zh: 开工小时数, en: Active hours, unit: h, format: "0", description: Clock hours that are active.}
  centre_h: {zh: 用水重心, en: Centre of use, unit: h, format: "0.0", description: "Mean clock hour of the volume, 0 to 24: 12.5 of a day shift."}
  load_factor: {zh: 负荷率, en: Load factor, unit: "", format: "0.00", description: "Mean hour over the highest, 0 to 1."}
  night_share: {zh: 夜间占比, en: Night share, unit: "", format: "0.0%", description: Share of the volume from 0 to 6 o'clock.}
  peak_hours: {zh: 高峰小时, en: Peak hours, unit: "", description: "The three clock hours with most water, in order of the day."}
*/
with quarters as (
    select day, starts_at, unnest(generate_series(starts_at, ends_at - interval 1 minute, interval 15 minute)) as instant from touched_day
),

slots as (
    -- The clock is read once for all meters: the zone's calendar costs more than a join.
    select day, instant as hour_start, hour(instant) as hour
    from quarters
    where minute(instant) = 0 or instant = starts_at
),

hours as (
    -- Whole microlitres: their sum is the same in whatever order. An hour in which the register ran back a little has no use.
    select hourly_usage.meter, slots.day, hour, greatest(cast(hourly_usage.volume_m3 * 1e9 as bigint), 0) as volume_ul
    from hourly_usage
    join slots using (hour_start)
    join daily_usage on daily_usage.meter = hourly_usage.meter and daily_usage.day = slots.day
    where daily_usage.complete and daily_usage.volume_m3 > 1e-9
),

days as (
    select
        meter,
        day,
        sum(volume_ul) as volume_ul,
        max(volume_ul) as highest_ul,
        count(*) as hours,
        sum((2 * hour + 1) * volume_ul) as moment_ul,
        sum(volume_ul) filter (where hour < 6) as night_ul,
        list_sum(max(volume_ul, 3)) / 3 as busy_ul,
        list_sort(arg_max(hour, (volume_ul, -hour), 3)) as peak_hours
    from hours
    group by meter, day
),

active as (
    select meter, day, count(*) as hours_active
    from hours
    join days using (meter, day)
    where hours.volume_ul >= busy_ul * criterion('shift.active_share', day)
    group by meter, day
)

select
    meter,
    day,
    hours_active,
    moment_ul / 2 / volume_ul as centre_h,
    volume_ul / hours / highest_ul as load_factor,
    coalesce(night_ul, 0) / volume_ul as night_share,
    array_to_string(peak_hours, ', ') as peak_hours
from days
join active using (meter, day)

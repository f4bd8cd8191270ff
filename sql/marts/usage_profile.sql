/*
zh: 用水规律
group: metrics
description: >-
  Hour of the week of each meter over its last weeks (criterion profile.weeks): what it usually uses in that hour, and the band in which four
  of five hours lie. Quantiles are interpolated between hours.
grain: [meter, weekday, hour]
deps: [interval_reading, hourly_usage]
partitions: weekday
columns:
  meter:
  weekday: {zh: 星期, en: Weekday, unit: "", format: "0", description: "Day of the week: 1 is Monday, 7 Sunday."}
  hour: {zh: 时, en: Hour, unit: h, format: "0", description: "Local clock hour, 0 to 23, by its start."}
  p10_m3h: {zh: 低位（P10）, en: P10, unit: m³/h, description: A tenth of the hours is below.}
  median_m3h: {zh: 中位, en: Median, unit: m³/h, description: Half of the hours are below.}
  p90_m3h: {zh: 高位（P90）, en: P90, unit: m³/h, description: A tenth of the hours is above.}
  hours: {zh: 样本小时数, en: Hours, unit: "", format: "0", description: Number of hours that are known.}
*/
with newest as (
    select weekday, max(day) as newest
    from unit_day
    join touched_weekday on weekday = isodow(day)
    group by weekday
),

days as (
    select weekday, newest - 7 * cast(unnest(range(cast(criterion('profile.weeks', newest) as bigint))) as integer) as day from newest
),

quarters as (
    select weekday, unnest(generate_series(day::timestamptz, (day + 1)::timestamptz - interval 15 minute, interval 15 minute)) as instant from days
),

hours as (
    -- The clock is read once for all meters: the zone's calendar costs more than a join.
    select weekday, instant as hour_start, cast(hour(instant) as integer) as hour from quarters
)

select
    meter,
    weekday,
    hour,
    quantiles[1] as p10_m3h,
    quantiles[2] as median_m3h,
    quantiles[3] as p90_m3h,
    hours
from (
    select
        meter,
        weekday,
        hour,
        quantile_cont(volume_m3, [0.1, 0.5, 0.9]) as quantiles,
        count(*) as hours
    from hourly_usage
    join hours using (hour_start)
    where volume_m3 is not null
    group by all
)

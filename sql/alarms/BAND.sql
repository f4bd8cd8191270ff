/*
zh: 偏离预测
en: Outside forecast
severity: info
origins: [server]
unit: m³/h
beyond: above
description: >-
  The volume of four hours in a row is further from the middle of the forecast of that day than its band is wide, by the factor of the criterion. Judged while the forecast is kept.
shortest_intervals: 4
shortest_min: 0
deps: [forecast, hourly_usage, meter_history]
partitions: day
*/
with limits as (
    select meter, day, criterion('alarm.band_factor', day) as factor from alarm_scope
),

hours as (
    select
        limits.meter,
        forecast.hour_start,
        volume_m3,
        p50_m3h,
        p50_m3h + factor * (p90_m3h - p50_m3h) as high_m3h,
        p50_m3h - factor * (p50_m3h - p10_m3h) as low_m3h
    from limits
    join forecast on forecast.meter = limits.meter and made_on = limits.day
    join hourly_usage on hourly_usage.meter = limits.meter and hourly_usage.day = limits.day and hourly_usage.hour_start = forecast.hour_start
    where volume_m3 is not null and clean
)

select
    meter,
    hour_start as started_at,
    hour_start + interval 1 hour as ended_at,
    volume_m3 as value,
    case when volume_m3 > p50_m3h then high_m3h else low_m3h end as limit_value,
    volume_m3 > high_m3h or volume_m3 < low_m3h as holds
from hours

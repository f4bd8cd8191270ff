/*
zh: 最新数据
group: people
description: >-
  The latest reading of each meter by event time, whenever it arrived, with the volume of its local day and month so far. Values that the latest
  reading lacks are missing; pressure is the last that was measured, with its time.
grain: [meter]
deps: [interval_reading, daily_usage, meter]
partitions: whole
*/
with month_so_far as (
    -- The day of the latest reading is not over, so it has no daily volume yet: what flowed today is added below.
    select latest_reading.meter, sum(volume_m3 order by daily_usage.day) as earlier_m3
    from latest_reading
    join daily_usage on daily_usage.meter = latest_reading.meter
        and daily_usage.day >= date_trunc('month', latest_reading.day) and daily_usage.day < latest_reading.day
    group by latest_reading.meter
),

today as (
    select
        latest_reading.meter,
        sum(interval_reading.volume_m3 order by interval_start) as today_m3,
        coalesce(sum(seconds order by interval_start) filter (where not is_hole(flags) and interval_reading.volume_m3 is not null), 0) as known_s
    from latest_reading
    join interval_reading using (meter, day)
    group by latest_reading.meter
)

select
    meter,
    customer_no,
    customer_name,
    reading_at,
    register_m3,
    latest_reading.reverse_m3,
    flow_m3h,
    latest_reading.pressure_mpa,
    pressure_at,
    pressure_low_mpa,
    latest_reading.battery_v,
    signal,
    status,
    today_m3,
    -- least() passes over a null: a meter that never reported would show a whole day.
    case when day is not null then least(1.0, known_s / (epoch((day + interval 1 day)::timestamptz) - epoch(day::timestamptz))) end as today_coverage,
    case when earlier_m3 is null then today_m3 else earlier_m3 + coalesce(today_m3, 0) end as month_m3,
    received_at,
    channel,
    stream,
    frame,
    silent_after_h
from meter
left join latest_reading using (meter)
left join today using (meter)
left join month_so_far using (meter)

/*
zh: 最新指标
group: latest
description: >-
  The latest computed reading of each meter that a terminal reads, by event time, whenever it arrived, with the volume of its local day and month so far: the
  difference of the register where there is one, of a flow meter the sum of its days. Values that the latest reading lacks are missing; pressure
  is the last that was measured, with its time.
grain: [meter]
deps: [interval_reading, daily_usage, register_month, meter]
partitions: whole
columns:
  meter:
  terminal:
  customer_no:
  customer_name:
  reading_at:
  day: {description: Local day of the latest reading.}
  register_m3:
  reverse_m3: {zh: 反向累计, en: Reverse register, description: Reverse register.}
  flow_m3h:
  pressure_mpa: {description: Last pressure that was measured.}
  pressure_at:
  pressure_low_mpa:
  battery_v:
  signal:
  status:
  day_m3: {zh: 当日水量, en: Volume of that day, unit: m³, description: Volume of the local day of the latest reading so far.}
  day_coverage: {zh: 当日覆盖率, en: Coverage of that day, unit: "", format: "0.0%", description: "Share of that whole day in which the curve is known, 0 to 1."}
  month_m3:
  received_at:
  channel:
  stream:
  frame:
  silent_after_h:
*/
with month_so_far as (
    -- Of a flow meter. The day of the latest reading is not over, so it has no daily volume yet: what flowed that day is added below.
    select latest_reading.meter, sum(volume_m3 order by daily_usage.day) as earlier_m3
    from latest_reading
    join daily_usage on daily_usage.meter = latest_reading.meter
        and daily_usage.day >= date_trunc('month', latest_reading.day) and daily_usage.day < latest_reading.day
    group by latest_reading.meter
),

that_day as (
    select
        latest_reading.meter,
        coalesce(between_nl, known_volume_nl) / 1e12 as day_m3,
        known_us / 1e6 as known_s
    from latest_reading
    join unit_day using (meter, day)
)

select
    meter.meter,
    terminal,
    customer_no,
    customer_name,
    reading_at,
    day,
    register_m3,
    latest_reading.reverse_m3,
    flow_m3h,
    latest_reading.pressure_mpa,
    pressure_at,
    pressure_low_mpa,
    latest_reading.battery_v,
    signal,
    status,
    day_m3,
    -- least() passes over a null: a meter that never reported would show a whole day.
    case when day is not null then least(1.0, known_s / (epoch((day + interval 1 day)::timestamptz) - epoch(day::timestamptz))) end as day_coverage,
    coalesce(so_far_m3, case when earlier_m3 is null then day_m3 else earlier_m3 + coalesce(day_m3, 0) end) as month_m3,
    received_at,
    channel,
    stream,
    frame,
    silent_after_h
from meter
left join latest_reading using (meter)
left join that_day using (meter)
left join month_so_far using (meter)
left join register_month on register_month.meter = meter.meter and register_month.month = date_trunc('month', latest_reading.day)
where terminal is not null or source is distinct from 'manual'

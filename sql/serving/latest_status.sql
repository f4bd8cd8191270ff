/*
zh: 最新数据
group: latest
description: >-
  The latest reading of each meter, seconds after it came: that of ops.latest_reading where it is newer than the computed one. today_m3 is the
  volume of the utility's today, missing for a meter that is silent since yesterday; month_m3 is that of the month of the computed reading.
grain: [meter]
deps: [latest_figures]
columns:
  meter:
  customer_no:
  customer_name:
  reading_at:
  register_m3:
  reverse_m3: {zh: 反向累计, en: Reverse register, description: Reverse register.}
  flow_m3h:
  pressure_mpa: {description: Last pressure that was measured.}
  pressure_at:
  pressure_low_mpa:
  battery_v:
  signal:
  status:
  today_m3: {zh: 今日水量, en: Today, unit: m³, description: "Volume of the utility's today so far; missing where nothing came today."}
  today_coverage: {zh: 今日覆盖率, en: "Today's coverage", unit: "", format: "0.0%", description: "Share of the whole of today in which the curve is known, 0 to 1."}
  month_m3:
  received_at:
  channel:
  stream:
  frame:
  silent_after_h:
*/
with newest as (
    select
        figures.*,
        coalesce(live.ts > figures.reading_at, live.ts is not null) as is_live,
        live.ts as live_at,
        live.forward_m3 as live_register_m3,
        live.reverse_m3 as live_reverse_m3,
        live.flow_m3h as live_flow_m3h,
        live.pressure_mpa as live_pressure_mpa,
        live.battery_v as live_battery_v,
        live.signal as live_signal,
        live.status as live_status,
        live.received_at as live_received_at,
        live.channel as live_channel,
        live.stream as live_stream,
        live.frame as live_frame
    from latest_figures as figures
    left join ops.latest_reading as live on live.terminal = figures.terminal and live.meter = figures.meter
)

select
    meter,
    customer_no,
    customer_name,
    case when is_live then live_at else reading_at end as reading_at,
    case when is_live then live_register_m3 else register_m3 end as register_m3,
    case when is_live then live_reverse_m3 else reverse_m3 end as reverse_m3,
    case when is_live then live_flow_m3h else flow_m3h end as flow_m3h,
    case when is_live then coalesce(live_pressure_mpa, pressure_mpa) else pressure_mpa end as pressure_mpa,
    case when is_live and live_pressure_mpa is not null then live_at else pressure_at end as pressure_at,
    pressure_low_mpa,
    case when is_live then live_battery_v else battery_v end as battery_v,
    case when is_live then live_signal else signal end as signal,
    case when is_live then live_status else status end as status,
    case when day = (now() at time zone '{zone}')::date then day_m3 end as today_m3,
    case when day = (now() at time zone '{zone}')::date then day_coverage end as today_coverage,
    month_m3,
    case when is_live then live_received_at else received_at end as received_at,
    case when is_live then live_channel else channel end as channel,
    case when is_live then live_stream else stream end as stream,
    case when is_live then live_frame else frame end as frame,
    silent_after_h
from newest

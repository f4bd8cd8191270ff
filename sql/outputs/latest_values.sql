/*
zh: 最新值
en: Latest values
description: >-
  The latest values of each meter in service that a terminal reads, for SCADA, seconds after they came. What the latest reading lacks is empty; `age_s`
  says how old it is.
grain: [meter]
deps: [latest_status, meter]
cut: whole
files: []
entity:
  type: WaterConsumptionObserved
  properties: {name: meter, dateObserved: reading_at, waterConsumption: register_m3}
  whole: [waterConsumption]
columns:
  meter: {type: text}
  reading_at: {type: time}
  age_s: {type: number, zh: 数据龄, en: Age, unit: s, description: Seconds since the latest reading.}
  silent: {type: boolean, zh: 静默, en: Silent, unit: "", description: The reading is older than the meter's limit of silence.}
  register_m3: {type: number}
  reverse_m3: {type: number, zh: 反向累计, en: Reverse register, unit: m³, description: Reverse register.}
  flow_m3h: {type: number}
  pressure_mpa: {type: number, description: Last pressure that was measured.}
  pressure_at: {type: time}
  today_m3: {type: number, zh: 今日水量, en: Today, unit: m³, description: "Volume of the utility's today so far; empty where nothing came today."}
  battery_v: {type: number}
  status: {type: integer}
  received_at: {type: time}
  latitude: {type: number}
  longitude: {type: number}
  datum: {type: text}
  elevation_m: {type: number}
*/
select
    status.meter,
    status.reading_at,
    cast(extract(epoch from now() - status.reading_at) as double precision) as age_s,
    extract(epoch from now() - status.reading_at) > status.silent_after_h * 3600 as silent,
    status.register_m3,
    status.reverse_m3,
    status.flow_m3h,
    status.pressure_mpa,
    status.pressure_at,
    status.today_m3,
    status.battery_v,
    status.status,
    status.received_at,
    meter.latitude,
    meter.longitude,
    meter.datum,
    meter.elevation_m
from latest_status as status
join meter on meter.meter = status.meter
where coalesce(meter.removed_on >= (now() at time zone '{zone}')::date, true)

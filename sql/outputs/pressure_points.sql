/*
zh: 测压点
en: Pressure points
description: >-
  One row a meter in service whose pressure was ever read, with its place, its elevation and its latest pressure: further points of the network for dispatch.
  A point without coordinates in the registry is listed, too.
grain: [meter]
deps: [latest_status, meter]
cut: whole
files: [csv, parquet]
columns:
  meter: {type: text}
  node: {type: text}
  latitude: {type: number}
  longitude: {type: number}
  datum: {type: text}
  elevation_m: {type: number}
  located: {type: boolean, zh: 有坐标, en: Located, unit: "", description: "The registry has the coordinates, the datum and the elevation of the point."}
  pressure_mpa: {type: number, description: Last pressure that was measured.}
  pressure_at: {type: time}
  head_m: {type: number, zh: 水头, en: Head, unit: m, description: "That pressure in metres of water above the point, plus its elevation."}
  pressure_low_mpa: {type: number}
  pressure_high_mpa: {type: number}
*/
select
    status.meter,
    meter.node,
    meter.latitude,
    meter.longitude,
    meter.datum,
    meter.elevation_m,
    meter.latitude is not null and meter.longitude is not null and meter.datum is not null and meter.elevation_m is not null as located,
    status.pressure_mpa,
    status.pressure_at,
    status.pressure_mpa * 1e6 / 9806.65 + meter.elevation_m as head_m,
    status.pressure_low_mpa,
    meter.pressure_high_mpa
from latest_status as status
join meter on meter.meter = status.meter
where status.pressure_at is not null and coalesce(meter.removed_on >= (now() at time zone '{zone}')::date, true)

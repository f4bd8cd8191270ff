/*
zh: 小时压力
en: Hourly pressures
description: >-
  Pressure of each meter and local clock hour in which it was read, also as metres of water and as head; `dat` is EPANET's calibration file of
  the points that have a node.
grain: [meter, hour_start]
deps: [hourly_pressure, meter]
cut: day
files: [csv, parquet, dat]
columns:
  meter: {type: text}
  node: {type: text}
  day: {type: day}
  hour_start: {type: time}
  pressure_mpa: {type: number, description: Mean pressure of the hour.}
  pressure_min_mpa: {type: number, zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of the hour.}
  pressure_m: {type: number, zh: 压力水头, en: Pressure as water, unit: m, description: Mean pressure of the hour in metres of water.}
  head_m: {type: number}
*/
select
    hourly_pressure.meter,
    meter.node,
    hourly_pressure.day,
    hourly_pressure.hour_start,
    hourly_pressure.pressure_mpa,
    hourly_pressure.pressure_min_mpa,
    hourly_pressure.pressure_mpa * 1e6 / 9806.65 as pressure_m,
    hourly_pressure.head_m
from hourly_pressure
left join meter on meter.meter = hourly_pressure.meter

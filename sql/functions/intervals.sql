/*
zh: 区间读数查询
group: cleaned
description: >-
  The intervals of a meter that end between two instants, as `interval_reading` has them. Only the days of the span are read: those of UTC
  and one to either side, which let the key be used.
grain: [interval_end, interval_start]
deps: [interval_reading]
parameters:
  meter: Name of the meter.
  from_at: First instant.
  to_at: Last instant.
columns:
  meter:
  interval_start: {zh: 区间开始, en: Interval start, unit: "", format: "yyyy-mm-dd hh:mm", description: Start of the interval.}
  interval_end: {zh: 区间结束, en: Interval end, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the interval.}
  day: {description: Local civil day that the interval belongs to.}
  volume_m3: {description: Volume of the interval; empty in a hole.}
  reverse_m3:
  flow_m3h: {description: Mean flow of the interval.}
  pressure_mpa: {description: Pressure at the interval's end.}
  register_m3: {description: Register at the interval's end.}
  device_flow_m3h: {zh: 终端流量, en: Device flow, unit: m³/h, description: Flow that the device itself reported at the interval's end.}
  seconds: {zh: 时长, en: Duration, unit: s, description: Length of the interval.}
  flags: {zh: 标志, en: Flags, unit: "", format: "0", description: "What happened in the interval, as bits."}
*/
create or replace function mart.intervals(meter text, from_at timestamptz, to_at timestamptz)
returns setof mart.interval_reading
language sql stable parallel safe as $$
    select reading.*
    from mart.interval_reading as reading
    where
        reading.meter = $1
        and reading.day between cast($2 at time zone 'UTC' as date) - 1 and cast($3 at time zone 'UTC' as date) + 1
        and reading.interval_end between $2 and $3
$$

/*
zh: 日流量压力曲线
group: metrics
description: >-
  Flow and pressure of a meter through a day beside the pressure that the day's fit P = a − b·Q² (flow_pressure_fit) gives at that flow; empty where the
  day has no fit. Only days whose intervals are kept.
grain: [ends_at]
deps: [interval_reading, flow_pressure_fit]
parameters:
  meter: Name of the meter.
  day: Local civil day.
columns:
  ends_at: {zh: 时刻, en: Time, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the interval.}
  clock_h: {zh: 时刻, en: Hour of the day, unit: h, format: "0.##", description: Hours from the start of the day to the end of the interval.}
  flow_m3h: {description: Mean flow of the interval; empty in a hole.}
  pressure_mpa: {description: Pressure at the interval's end.}
  fitted_mpa: {zh: 拟合压力, en: Fitted pressure, unit: MPa, description: Pressure that the fit gives at the flow of the interval.}
*/
create or replace function mart.load_course(meter text, day date)
returns table (
    ends_at timestamptz, clock_h double precision, flow_m3h double precision, pressure_mpa double precision, fitted_mpa double precision
)
language sql stable parallel safe as $$
    select
        interval_end,
        cast(extract(epoch from interval_end - min(interval_start) over ()) / 3600 as double precision),
        reading.flow_m3h,
        reading.pressure_mpa,
        static_mpa - slope * reading.flow_m3h * reading.flow_m3h
    from mart.interval_reading as reading
    left join mart.flow_pressure_fit using (meter, day)
    where reading.meter = $1 and reading.day = $2
    order by interval_end
$$

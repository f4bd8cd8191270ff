/*
zh: 运行曲线
group: cleaned
description: >-
  The curve of a meter between two instants, at the step of its terminal while the span is at most 8 days, else by the hour: the mean flow of
  each piece, the pressure at its end (by the hour: the mean) and the register there (not by the hour). Nothing is averaged without step_min saying so.
grain: [ends_at]
deps: [intervals, hourly_usage, hourly_pressure]
parameters:
  meter: Name of the meter.
  from_at: First instant.
  to_at: Last instant; pieces that end between the two are given.
columns:
  ends_at: {zh: 时刻, en: Time, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the piece.}
  flow_m3h: {description: Mean flow of the piece; empty in a hole.}
  pressure_mpa: {description: "Pressure at the end of the piece; by the hour the mean of the hour."}
  register_m3: {description: Register at the end of the piece; empty by the hour.}
  step_min: {zh: 曲线步长, en: Step, description: Minutes of the piece.}
*/
create or replace function mart.curve(meter text, from_at timestamptz, to_at timestamptz)
returns table (
    ends_at timestamptz, flow_m3h double precision, pressure_mpa double precision, register_m3 double precision, step_min double precision
)
language sql stable parallel safe as $$
    select interval_end, raw.flow_m3h, raw.pressure_mpa, raw.register_m3, seconds / 60
    from mart.intervals($1, $2, $3) as raw
    where $3 - $2 <= interval '8 days'
    union all
    select hours.hour_start + interval '1 hour', hours.volume_m3, pressure.pressure_mpa, null, 60
    from mart.hourly_usage as hours
    left join mart.hourly_pressure as pressure
        on pressure.meter = $1 and pressure.hour_start = hours.hour_start
        and pressure.day between cast($2 at time zone 'UTC' as date) - 1 and cast($3 at time zone 'UTC' as date) + 1
    where
        $3 - $2 > interval '8 days'
        and hours.meter = $1
        and hours.day between cast($2 at time zone 'UTC' as date) - 1 and cast($3 at time zone 'UTC' as date) + 1
        and hours.hour_start between $2 - interval '1 hour' and $3 - interval '1 hour'
    order by 1
$$

/*
zh: 越线时段
group: metrics
description: >-
  The times in which the flow of a meter lies above a line that the user moves: intervals above it one after the other. A hole, of which
  no flow is known, ends one.
grain: [starts_at]
deps: [intervals]
parameters:
  meter: Name of the meter.
  limit_m3h: The line; an interval counts whose mean flow is above it.
  from_at: First instant.
  to_at: Last instant; intervals that end between the two are looked at.
columns:
  starts_at: {zh: 开始时间, en: Start, unit: "", format: "yyyy-mm-dd hh:mm", description: Start of the first interval above the line.}
  ends_at: {zh: 结束时间, en: End, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the last interval above the line.}
  minutes: {zh: 持续时间, en: Minutes, unit: min, description: Minutes between the two.}
  volume_above_m3: {zh: 超出水量, en: Volume above, unit: m³, description: Volume beyond what the line would have passed in that time.}
  flow_max_m3h: {description: Highest flow of an interval.}
*/
create or replace function mart.crossings(meter text, limit_m3h double precision, from_at timestamptz, to_at timestamptz)
returns table (
    starts_at timestamptz, ends_at timestamptz, minutes double precision, volume_above_m3 double precision, flow_max_m3h double precision
)
language sql stable parallel safe as $$
    with above as (
        select interval_start, interval_end, flow_m3h, seconds, interval_start is distinct from lag(interval_end) over (order by interval_end) as is_first
        from mart.intervals($1, $3, $4)
        where flow_m3h > $2
    ),

    numbered as (
        select *, count(*) filter (where is_first) over (order by interval_end) as crossing from above
    )

    select
        min(interval_start),
        max(interval_end),
        cast(extract(epoch from max(interval_end) - min(interval_start)) / 60 as double precision),
        sum((flow_m3h - $2) * seconds / 3600 order by interval_end),
        max(flow_m3h)
    from numbered
    group by crossing
    order by 1
$$

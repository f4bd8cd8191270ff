/*
zh: 读数累计曲线
group: cleaned
description: >-
  The register of a meter between two instants, at the end of each interval, of a span beyond 8 days of each hour, with what has run forwards and
  backwards since the first. The register of a meter that was changed begins anew; the sums do not.
grain: [ends_at]
deps: [intervals]
parameters:
  meter: Name of the meter.
  from_at: First instant.
  to_at: Last instant; intervals that end between the two are given.
columns:
  ends_at: {zh: 时刻, en: Time, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the interval.}
  register_m3: {description: Register at the interval's end; empty in a hole.}
  volume_sum_m3: {zh: 累计水量, en: Volume so far, unit: m³, description: Sum of the volumes of the intervals that are known.}
  reverse_sum_m3: {zh: 累计反向水量, en: Reverse so far, unit: m³, description: Sum of the reverse volumes of the intervals.}
  net_sum_m3: {zh: 累计净水量, en: Net so far, unit: m³, description: Volume less reverse volume so far.}
*/
create or replace function mart.register_course(meter text, from_at timestamptz, to_at timestamptz)
returns table (
    ends_at timestamptz, register_m3 double precision, volume_sum_m3 double precision, reverse_sum_m3 double precision, net_sum_m3 double precision
)
language sql stable parallel safe as $$
    with course as (
        select
            interval_end,
            register_m3,
            sum(volume_m3) over (order by interval_end) as volume_sum_m3,
            sum(reverse_m3) over (order by interval_end) as reverse_sum_m3,
            sum(volume_m3 - coalesce(reverse_m3, 0)) over (order by interval_end) as net_sum_m3,
            date_trunc('hour', interval_end - interval '1 microsecond') as hour
        from mart.intervals($1, $2, $3)
    ),

    marked as (select *, hour is distinct from lead(hour) over (order by interval_end) as is_last from course)

    select interval_end, register_m3, volume_sum_m3, reverse_sum_m3, net_sum_m3
    from marked
    where is_last or $3 - $2 <= interval '8 days'
    order by 1
$$

/*
zh: 小时用水量
group: usage
description: Volume of each meter and local hour; of a register meter only where the curve is known at both ends of the hour.
grain: [meter, hour_start]
deps: [interval_reading, meter]
partitions: day
*/
with pieces as (
    select
        interval_reading.*,
        starts_at + to_hours(cast(floor((epoch(interval_start) - epoch(starts_at)) / 3600) as bigint)) as hour_start
    from interval_reading
    join touched_day using (day)
    where seconds > 0 and not is_hole(flags)
),

hours as (
    select
        meter,
        hour_start,
        day,
        sum(volume_m3 order by interval_start) as volume_m3,
        sum(reverse_m3 order by interval_start) as reverse_m3,
        least(1.0, sum(seconds order by interval_start) / 3600) as coverage,
        count(*) filter (where volume_m3 is null) as unknown,
        bool_and(is_clean(flags)) as clean
    from pieces
    group by meter, hour_start, day
)

select
    hours.meter,
    hour_start,
    day,
    case when unknown = 0 and (reads = 'flow' or coverage > 0.999999) then volume_m3 end as volume_m3,
    case when unknown = 0 and (reads = 'flow' or coverage > 0.999999) then reverse_m3 end as reverse_m3,
    coverage,
    clean
from hours
join meter using (meter)

/*
zh: 日用水量
group: usage
description: >-
  Volume and flows of each meter and local day. A hole within the day does not lose it, a hole over its edge does; complete means that the
  curve is known throughout.
grain: [meter, day]
deps: [interval_reading, meter]
partitions: day
*/
with days as (
    select
        meter,
        day,
        sum(volume_m3 order by interval_start) as volume_m3,
        sum(reverse_m3 order by interval_start) as reverse_m3,
        max(flow_m3h) as flow_max_m3h,
        min(flow_m3h) as flow_min_m3h,
        sum(volume_m3 order by interval_start) filter (where not is_hole(flags))
            / nullif(sum(seconds order by interval_start) filter (where not is_hole(flags) and volume_m3 is not null) / 3600, 0) as flow_mean_m3h,
        coalesce(sum(seconds order by interval_start) filter (where not is_hole(flags) and volume_m3 is not null), 0) as known_s,
        min(interval_start) filter (where seconds > 0) as first_known,
        max(interval_end) filter (where seconds > 0) as last_known,
        count(*) filter (where seconds > 0 and volume_m3 is null) as unknown,
        bool_and(is_clean(flags)) as clean
    from interval_reading
    join touched_day using (day)
    group by meter, day
),

judged as (
    select
        days.*,
        reads = 'flow' or (unknown = 0 and first_known = starts_at and last_known = ends_at) as known,
        least(1.0, known_s / (epoch(ends_at) - epoch(starts_at))) as coverage
    from days
    join touched_day using (day)
    join meter using (meter)
)

select
    meter,
    day,
    case when known then volume_m3 end as volume_m3,
    case when known then reverse_m3 end as reverse_m3,
    flow_max_m3h,
    flow_min_m3h,
    flow_mean_m3h,
    coverage,
    coverage > 0.999999 as complete,
    clean
from judged

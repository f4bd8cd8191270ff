/*
zh: 数据质量
group: trust
description: What the readings of each meter and day were like, in counts; a flag counts once a reading, however many hours its interval crosses.
grain: [meter, day]
deps: [interval_reading, daily_usage, meter]
partitions: day
*/
with flagged as (
    select
        meter,
        day,
        count(*) filter (where register_m3 is not null or device_flow_m3h is not null) as readings,
        count(*) filter (where is_hole(flags)) as holes,
        count(*) filter (where is_fall(flags)) as falls,
        count(*) filter (where is_impossible_rise(flags)) as impossible_rises,
        count(*) filter (where is_bridged(flags)) as bridged,
        count(*) filter (where is_rollover(flags)) as rollovers,
        count(*) filter (where is_replaced(flags)) as replacements,
        count(*) filter (where is_reverse(flags)) as reversals,
        count(*) filter (where is_reset(flags)) as resets,
        count(*) filter (where is_off_grid(flags)) as off_grid,
        count(*) filter (where is_conflict(flags)) as conflicts
    from interval_reading
    join touched_day using (day)
    where interval_end = ends_at or register_m3 is not null or device_flow_m3h is not null or pressure_mpa is not null
    group by meter, day
)

select
    flagged.meter,
    day,
    readings,
    cast(round((epoch(ends_at) - epoch(starts_at)) / 60 / step_min) as bigint) as expected_readings,
    coverage,
    holes,
    falls,
    impossible_rises,
    bridged,
    rollovers,
    replacements,
    reversals,
    resets,
    off_grid,
    conflicts,
    complete,
    clean
from flagged
join touched_day using (day)
join daily_usage using (meter, day)
join meter using (meter)

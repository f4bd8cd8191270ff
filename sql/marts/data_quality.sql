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
        count(*) filter (where flags & 1 > 0) as holes,
        count(*) filter (where flags & 2 > 0) as falls,
        count(*) filter (where flags & 4 > 0) as impossible_rises,
        count(*) filter (where flags & 8 > 0) as bridged,
        count(*) filter (where flags & 16 > 0) as rollovers,
        count(*) filter (where flags & 32 > 0) as replacements,
        count(*) filter (where flags & 64 > 0) as reversals,
        count(*) filter (where flags & 128 > 0) as resets,
        count(*) filter (where flags & 256 > 0) as off_grid,
        count(*) filter (where flags & 512 > 0) as conflicts
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

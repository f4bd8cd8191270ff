/*
zh: 小时之和等于日量
description: Where every hour of a day is known, the hours add up to the day's volume (1e-6).
severity: fail
because: both are the difference of one register curve
deps: [daily_usage]
*/
with hours as (
    select meter, day, sum(volume_m3) as hours_m3, count(volume_m3) as known
    from hourly_usage
    join touched_day using (day)
    group by meter, day
)

select meter, day, hours_m3, volume_m3
from hours
join daily_usage using (meter, day)
join touched_day using (day)
where known = round((epoch(ends_at) - epoch(starts_at)) / 3600)
    and complete
    and abs(hours_m3 - volume_m3) > 1e-6 * greatest(1, abs(volume_m3))

/*
zh: 各时段之和等于日量
description: Where every hour of a day is known, the segments of each kind add up to the day (1e-6).
severity: fail
because: every hour lies in exactly one segment of a kind
deps: [daily_usage]
*/
select meter, day, kind, sum(segment_usage.volume_m3 order by segment) as segments_m3, any_value(daily_usage.volume_m3) as day_m3
from segment_usage
join touched_day using (day)
join daily_usage using (meter, day)
group by meter, day, kind
having bool_and(segment_usage.complete and daily_usage.complete) and abs(segments_m3 - day_m3) > 1e-6 * greatest(1, abs(day_m3))

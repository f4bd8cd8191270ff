/*
zh: 日量不超过表能力
description: A clean day's volume is no more than the meter's overload flow (1.2 Q4) through the whole day.
severity: warn
because: the flow limits in terminals.csv and the readings disagree
deps: [meter]
*/
select meter, day, volume_m3, q4_m3h
from daily_usage
join touched_day using (day)
join meter using (meter)
where clean and volume_m3 > 1.2 * q4_m3h * (epoch(ends_at) - epoch(starts_at)) / 3600 + resolution_m3

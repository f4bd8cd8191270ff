/*
zh: 完整日有水量
description: A complete day has a volume and covers the day.
severity: fail
because: complete means that the curve is known throughout
*/
select meter, day, volume_m3, coverage, complete
from daily_usage
join touched_day using (day)
where complete and (volume_m3 is null or coverage < 0.999999)

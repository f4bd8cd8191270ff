/*
zh: 仅疑似漏水有漏失量
description: A loss is stated where a leak is suspected on a known night that has a baseline, and only there.
severity: fail
because: a loss without a suspicion has no baseline to stand on
*/
select meter, day, night_min_m3h, baseline_m3h, suspected, loss_m3_day, nights
from night_flow
join touched_night using (day)
where (loss_m3_day is not null) <> (suspected and night_min_m3h is not null and baseline_m3h is not null)

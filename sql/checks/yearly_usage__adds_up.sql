/*
zh: 月量之和等于年量
description: In a complete and clean year the months add up to the days (1e-6).
severity: fail
because: both are the difference of one register curve
*/
select meter, year, volume_m3, measured_m3
from yearly_usage
join touched_year using (year)
where complete and clean and (volume_m3 is null or abs(volume_m3 - measured_m3) > 1e-6 * greatest(1, abs(volume_m3)))

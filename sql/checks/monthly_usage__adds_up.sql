/*
zh: 日量之和等于月量
description: In a complete and clean month the days add up to the difference of the register between its ends (1e-6).
severity: fail
because: both are the difference of one register curve
*/
select meter, month, volume_m3, measured_m3
from monthly_usage
join touched_month using (month)
where complete and clean and (volume_m3 is null or abs(volume_m3 - measured_m3) > 1e-6 * greatest(1, abs(volume_m3)))

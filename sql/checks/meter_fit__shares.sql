/*
zh: 流量区间占比合计为一
description: The shares of time and of volume by zone each sum to 1.
severity: fail
because: a share that is missing or counted twice makes a meter too large or too small that is not
*/
select meter, month, time_zero, time_below_q1, volume_below_q1
from meter_fit
join touched_fit_month using (month)
where
    abs(time_zero + time_below_q1 + time_q1_q2 + time_q2_q3 + time_q3_q4 + time_above_q4 - 1) > 1e-9
    or abs(volume_below_q1 + volume_q1_q2 + volume_q2_q3 + volume_q3_q4 + volume_above_q4 - 1) > 1e-9

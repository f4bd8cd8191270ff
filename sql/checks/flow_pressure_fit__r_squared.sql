/*
zh: 拟合优度在 0 与 1 之间
description: The share of the variance that a fit explains is one.
severity: fail
because: a share lies between 0 and 1
*/
select meter, day, static_mpa, slope, r_squared
from flow_pressure_fit
join touched_day using (day)
where not (r_squared >= -1e-9 and r_squared <= 1)

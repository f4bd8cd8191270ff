/*
zh: 最低压力不高于平均
description: The lowest pressure of an hour is not above its mean.
severity: fail
because: a mean lies between the readings that it is made from
*/
select meter, hour_start, pressure_min_mpa, pressure_mpa
from hourly_pressure
join touched_day using (day)
where pressure_min_mpa > pressure_mpa + 1e-9

/*
zh: 分位压力由低到高
description: The percentiles of a group are in order.
severity: fail
because: a lower percentile is not above a higher one
*/
select kind, code, hour_start, p5_mpa, median_mpa, p95_mpa
from pressure_by_hour
join touched_day using (day)
where p5_mpa > median_mpa + 1e-9 or median_mpa > p95_mpa + 1e-9

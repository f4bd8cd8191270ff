/*
zh: 时差系数之和等于小时数
description: The coefficients of a complete day with water add up to its number of clock hours (23, 24 or 25).
severity: fail
because: a coefficient is the hour over the mean hour of the same day
deps: [daily_usage]
*/
with days as (
    select meter, day, sum(coefficient) as total, count(*) as hours
    from hourly_coefficient
    join touched_day using (day)
    group by meter, day
)

select meter, day, total, hours
from daily_usage
join touched_day using (day)
left join days using (meter, day)
where complete
    and volume_m3 > 1e-6
    and (total is null or abs(total - hours) > 1e-6)

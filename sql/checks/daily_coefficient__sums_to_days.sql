/*
zh: 日差系数之和等于天数
description: The coefficients of a month add up to its number of complete days.
severity: fail
because: a coefficient is the day over the mean of the month's complete days
*/
with months as (
    select meter, month, sum(coefficient) as total
    from daily_coefficient
    join touched_month using (month)
    group by meter, month
)

select meter, month, total, days_complete
from monthly_usage
join touched_month using (month)
left join months using (meter, month)
where mean_day_m3 > 0 and (total is null or abs(total - days_complete) > 1e-6)

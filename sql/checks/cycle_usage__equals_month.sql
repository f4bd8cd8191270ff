/*
zh: 整月周期等于月量
description: A cycle from the first of a month to the first of the next has the volume of that month (1e-6).
severity: fail
because: both are the difference of one register curve
deps: [monthly_usage]
*/
select cycle_usage.meter, month, cycle_usage.volume_m3, monthly_usage.volume_m3 as month_m3
from cycle_usage
join monthly_usage
    on monthly_usage.meter = cycle_usage.meter and month = period_start and period_end = month + interval 1 month
where source = 'register' and abs(cycle_usage.volume_m3 - monthly_usage.volume_m3) > 1e-6 * greatest(1, abs(monthly_usage.volume_m3))

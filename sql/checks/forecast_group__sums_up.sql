/*
zh: 分组预测等于水表预测之和
description: The forecast of all meters is the sum of theirs in each hour, within its band.
severity: fail
because: a dispatcher adds up customers and must find the total
deps: [forecast]
*/
select made_on, hour_start, whole.p50_m3h, parts.p50_m3h as sum_m3h
from forecast_group as whole
join touched_made_on using (made_on)
join (
    select made_on, hour_start, sum(p50_m3h order by meter) as p50_m3h from forecast group by made_on, hour_start
) as parts using (made_on, hour_start)
where kind = 'all' and not coalesce(
    abs(whole.p50_m3h - parts.p50_m3h) <= 1e-4 * greatest(parts.p50_m3h, 1) and p10_m3h <= whole.p50_m3h and whole.p50_m3h <= p90_m3h, false
)

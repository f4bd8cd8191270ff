/*
zh: 分组之和等于各表之和
description: A day's total is the sum of the volumes of all meters that are no inlet of a zone, and a complete month of a group the sum of its days (1e-6).
severity: fail
because: a meter that is missing or counted twice is a volume that nobody used
*/
with days as (
    select day as period, sum(cast(volume_m3 * 1e9 as bigint)) / 1e9 as volume_m3
    from daily_usage
    join touched_day using (day)
    where meter not in (select points.meter from registry.points where inlet_of is not null)
    group by day
),

months as (
    select kind, code, month as period, sum(volume_m3 order by day.period) as volume_m3
    from group_usage as day
    join touched_month on day.grain = 'day' and day.period >= month and day.period < month + interval 1 month
    group by kind, code, month
)

select kind, code, grain, period, group_usage.volume_m3, days.volume_m3 as sum_m3
from group_usage
join days using (period)
where kind = 'all' and grain = 'day' and abs(group_usage.volume_m3 - days.volume_m3) > 1e-6 * greatest(1, days.volume_m3)
union all
select kind, code, grain, period, group_usage.volume_m3, months.volume_m3
from group_usage
join months using (kind, code, period)
where grain = 'month' and complete and abs(group_usage.volume_m3 - months.volume_m3) > 1e-6 * greatest(1, months.volume_m3)

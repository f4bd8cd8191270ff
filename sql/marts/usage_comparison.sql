/*
zh: 环比同比
group: figures
description: >-
  Volume of a day or month against the period before and the same period a year ago, as growth rates in percent of the base's absolute value;
  a base that is missing or 0 gives no rate (docs/domain.md#growth-rates). comparable: both periods are complete.
grain: [meter, grain, period]
deps: [daily_usage, monthly_usage]
partitions: comparison
*/
with periods as (
    select meter, 'day' as grain, day as period, volume_m3, complete from daily_usage
    where day in (select unnest([period, previous, last_year]) from touched_period where grain = 'day')
    union all
    select meter, 'month', month, volume_m3, complete from monthly_usage
    where month in (select unnest([period, previous, last_year]) from touched_period where grain = 'month')
)

select
    now.meter,
    now.grain,
    now.period,
    now.volume_m3,
    before.volume_m3 as previous_m3,
    100 * (now.volume_m3 - before.volume_m3) / nullif(abs(before.volume_m3), 0) as change_pct,
    year_ago.volume_m3 as last_year_m3,
    100 * (now.volume_m3 - year_ago.volume_m3) / nullif(abs(year_ago.volume_m3), 0) as yoy_pct,
    coalesce(now.complete and before.complete, false) as previous_comparable,
    coalesce(now.complete and year_ago.complete, false) as last_year_comparable
from periods as now
join touched_period using (grain, period)
left join periods as before on before.meter = now.meter and before.grain = now.grain and before.period = previous
left join periods as year_ago on year_ago.meter = now.meter and year_ago.grain = now.grain and year_ago.period = last_year

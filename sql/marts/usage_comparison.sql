/*
zh: 环比同比
group: metrics
description: >-
  Volume of a day, month or year against the period before and the same period a year ago, as growth rates in percent of the base's absolute value;
  a base that is missing or 0 gives no rate (docs/domain.md#growth-rates). comparable: both periods are complete.
grain: [meter, grain, period]
deps: [daily_usage, monthly_usage, yearly_usage]
partitions: comparison
columns:
  meter:
  grain:
  period:
  volume_m3:
  previous_m3: {zh: 上期水量, en: Previous, unit: m³, description: Volume of the period before.}
  change_pct: {zh: 环比, en: Change, unit: "%", description: Growth on the period before; empty where the base is missing or 0.}
  last_year_m3: {zh: 去年同期, en: Last year, unit: m³, description: Volume of the same period a year ago.}
  yoy_pct: {zh: 同比, en: Year on year, unit: "%", description: Growth on the same period a year ago; empty where the base is missing or 0.}
  previous_comparable: {zh: 环比可比, en: Change comparable, unit: "", description: The period and the one before are complete.}
  last_year_comparable: {zh: 同比可比, en: Year on year comparable, unit: "", description: The period and the same one a year ago are complete.}
*/
with periods as (
    select meter, 'day' as grain, day as period, volume_m3, complete from daily_usage
    where day in (select unnest([period, previous, last_year]) from touched_period where grain = 'day')
    union all
    select meter, 'month', month, volume_m3, complete from monthly_usage
    where month in (select unnest([period, previous, last_year]) from touched_period where grain = 'month')
    union all
    select meter, 'year', year, volume_m3, complete from yearly_usage
    where year in (select unnest([period, previous, last_year]) from touched_period where grain = 'year')
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

/*
zh: 增长率符合定义
description: A rate is the change over the absolute base in percent; without a base, or with a base of 0, there is none.
severity: fail
because: a rate from a missing base would be invented (docs/domain.md#growth-rates)
*/
with expected as (
    select
        *,
        100 * (volume_m3 - previous_m3) / nullif(abs(previous_m3), 0) as change,
        100 * (volume_m3 - last_year_m3) / nullif(abs(last_year_m3), 0) as yoy
    from usage_comparison
    join touched_period using (grain, period)
)

select meter, grain, period, volume_m3, previous_m3, change_pct, last_year_m3, yoy_pct
from expected
where (change is null) <> (change_pct is null)
    or (yoy is null) <> (yoy_pct is null)
    or abs(change - change_pct) > 1e-6 * greatest(1, abs(change))
    or abs(yoy - yoy_pct) > 1e-6 * greatest(1, abs(yoy))

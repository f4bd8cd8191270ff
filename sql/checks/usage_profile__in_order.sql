/*
zh: 分位数有序
description: Of each hour P10, median and P90 are in this order, and none is missing.
severity: fail
because: a band has its middle inside
*/
select *
from usage_profile
where weekday in (select weekday from touched_weekday)
    and not coalesce(p10_m3h <= median_m3h + 1e-9 and median_m3h <= p90_m3h + 1e-9 and hours > 0, false)

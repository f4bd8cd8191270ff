/*
zh: 预测带有序
description: Of each forecast P10, P50 and P90 are in this order, none is missing and none is below zero.
severity: fail
because: a band has its middle inside, and no meter is forecast to run backwards
*/
select *
from forecast
join touched_made_on using (made_on)
where not coalesce(0 <= p10_m3h and p10_m3h <= p50_m3h and p50_m3h <= p90_m3h, false)

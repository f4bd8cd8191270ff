/*
zh: 未抄表数相符
description: The meters listed as unread are those that the reading rate lacks.
severity: fail
because: the list is worked off to bring the rate to 100 %
deps: [meter_month]
*/
select month, wanted.meters, coalesce(listed.meters, 0) as listed
from (
    select month, count(*) filter (where state <> 'read') as meters from meter_month join touched_account using (month) group by month
) as wanted
left join (select month, count(*) as meters from unread_meter group by month) as listed using (month)
where wanted.meters <> coalesce(listed.meters, 0)

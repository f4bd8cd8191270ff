/*
zh: 指标十八行
description: A month has the eighteen lines, each with a value or the reason why it has none.
severity: fail
because: a line that is missing reads like a nought
*/
select month, count(*) as lines, count(*) filter (where value is null and reason is null) as without_reason
from revenue_kpi
join touched_account using (month)
group by month
having count(*) <> 18 or count(*) filter (where value is null and reason is null) > 0

/*
zh: 完整天数不超过当月天数
description: A month has no more complete days than days, and is complete exactly when all are.
severity: fail
because: a month is judged by its days
*/
select meter, month, days_complete, days_in_month, complete
from monthly_usage
join touched_month using (month)
where days_complete > days_in_month or complete <> (days_complete = days_in_month)

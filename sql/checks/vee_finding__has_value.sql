/*
zh: 校验结果有数值
description: Every finding has the value that breaks its rule.
severity: warn
because: nobody can review a mark without a number
*/
select meter, day, rule, value
from vee_finding
join touched_review_day using (day)
where value is null or not isfinite(value)

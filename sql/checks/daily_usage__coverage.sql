/*
zh: 覆盖率在 0 到 1
description: The coverage of a day lies between 0 and 1.
severity: fail
because: a day cannot be known for less than nothing or more than a day
*/
select meter, day, coverage
from daily_usage
join touched_day using (day)
where coverage is null or coverage < 0 or coverage > 1

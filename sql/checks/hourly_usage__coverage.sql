/*
zh: 覆盖率在 0 到 1
description: The coverage of an hour lies between 0 and 1.
severity: fail
because: an hour cannot be known for less than nothing or more than an hour
*/
select meter, hour_start, day, coverage
from hourly_usage
join touched_day using (day)
where coverage is null or coverage < 0 or coverage > 1

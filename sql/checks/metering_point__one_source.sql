/*
zh: 每日仅一种来源
description: A metering point has one source on any day.
severity: warn
because: the points of all sources are more than the points there are
*/
select meter, source, first_day, last_day
from metering_point
qualify row_number() over (partition by meter order by first_day nulls first) > 1
    and (first_day is null or first_day <= coalesce(lag(last_day) over (partition by meter order by first_day nulls first), date '9999-12-31'))

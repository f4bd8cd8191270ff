/*
zh: 日历无缺日
description: The calendar has every day from its first to its last.
severity: fail
because: figures of a day that the calendar lacks would vanish
*/
select min(day) as first_day, max(day) as last_day, count(*) as days
from calendar
having count(*) <> max(day) - min(day) + 1

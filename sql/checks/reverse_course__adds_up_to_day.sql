/*
zh: 倒流过程之和等于日反向水量
description: The intervals with reverse flow add up to the reverse volume of the day.
severity: fail
because: both are differences of one register
deps: [daily_usage]
*/
select daily_usage.meter, daily_usage.day, daily_usage.reverse_m3, sum(reverse_course.reverse_m3 order by interval_end) as course_m3
from daily_usage
join touched_day using (day)
left join reverse_course using (meter, day)
where daily_usage.reverse_m3 is not null
group by daily_usage.meter, daily_usage.day, daily_usage.reverse_m3
having abs(daily_usage.reverse_m3 - coalesce(sum(reverse_course.reverse_m3 order by interval_end), 0)) > 1e-6

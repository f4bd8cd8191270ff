/*
zh: 事件水量等于其过程之和
description: The volume of an event is that of its intervals.
severity: fail
because: an event is made from its intervals
deps: [reverse_course]
*/
select reverse_event.meter, reverse_event.started_at, reverse_event.volume_m3, sum(reverse_m3 order by interval_end) as course_m3
from reverse_event
join touched_reverse using (day)
left join reverse_course
    on reverse_course.meter = reverse_event.meter and interval_start >= started_at and interval_end <= ended_at
group by reverse_event.meter, reverse_event.started_at, reverse_event.volume_m3
having abs(reverse_event.volume_m3 - coalesce(sum(reverse_m3 order by interval_end), 0)) > 1e-6

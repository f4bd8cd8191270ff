/*
zh: 变化方向与幅度一致
description: A change up is positive and a change down negative, and it began in its week or the one before.
severity: fail
because: the list is read by direction
*/
select *
from change_point
join touched_change using (week)
where not coalesce((direction = 'up') = (change_m3_day > 0) and since between week - 7 and week + 6, false)

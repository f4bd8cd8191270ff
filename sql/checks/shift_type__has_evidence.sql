/*
zh: 班制有依据
description: A shift type is one of the five and stands on complete work days.
severity: fail
because: a type without work days would be invented
*/
select meter, month, shift_type, work_days
from shift_type
join touched_month using (month)
where shift_type not in ('day', 'two', 'three', 'continuous', 'irregular') or (shift_type is not null and work_days = 0)

/*
zh: 抄表状态与抄表时间相符
description: A meter is read or estimated in a month if and only if there is a time of it.
severity: fail
because: the reading rate counts the states
*/
select month, meter, state, read_at, last_read_on
from meter_month
join touched_account using (month)
where (state in ('read', 'estimated')) <> (read_at is not null) or state = 'read' and last_read_on is null

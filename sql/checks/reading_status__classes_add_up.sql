/*
zh: 分类之和等于合计
description: Meters, reads and amounts of the classes of a kind add up to the total, and no more meters are read than there are.
severity: fail
because: every meter has one industry, one region and one book
*/
select month, kind, sum(meters) filter (where code <> 'all') as meters, sum(amount) filter (where code <> 'all') as amount
from reading_status
join touched_account using (month)
where kind in ('industry', 'region', 'book')
group by month, kind
having sum(meters * if(code = 'all', -1, 1)) <> 0
    or sum(meters_read * if(code = 'all', -1, 1)) <> 0
    or sum(amount * if(code = 'all', -1, 1)) <> 0
    or bool_or(meters_read > meters or meters_unread < 0)

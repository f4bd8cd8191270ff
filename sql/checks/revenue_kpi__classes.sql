/*
zh: 分类之和等于指标
description: What is billed, owed and received of the classes of a kind adds up to lines 8, 11 and 14.
severity: fail
because: pages of one month must not contradict each other
deps: [collection_status]
*/
select month, kind, line, value, amount
from (
    select month, kind, unnest([8, 11, 14]) as line, unnest([sum(billed), sum(opening_arrears), sum(received)]) as amount
    from collection_status
    where kind in ('industry', 'region', 'book') and code <> 'all'
    group by month, kind
) as classes
join revenue_kpi using (month, line)
join touched_account using (month)
where abs(value - amount) > 0.005

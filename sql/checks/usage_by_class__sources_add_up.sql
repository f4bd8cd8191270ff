/*
zh: 各来源客户数之和等于客户数
description: Customers and volumes of the sources add up to those of all.
severity: fail
because: a customer counts once
*/
select month, kind, code
from usage_by_class
join touched_account using (month)
group by month, kind, code
having sum(customers * if(source = 'all', -1, 1)) <> 0
    or abs(coalesce(sum(volume_m3 * if(source = 'all', -1, 1)), 0)) > 0.001

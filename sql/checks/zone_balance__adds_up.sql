/*
zh: 供入减用户等于平衡差
description: The balance is what was supplied less what the customers took.
severity: fail
because: a balance is a difference
*/
select kind, code, day, inlet_m3, customers_m3, balance_m3
from zone_balance
join touched_day using (day)
where abs(inlet_m3 - customers_m3 - balance_m3) > 1e-6

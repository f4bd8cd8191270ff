/*
zh: 缴费记录无遗漏
description: The payments of a month are those that billing has, to the cent.
severity: fail
because: received is the sum of the payments
*/
select month, billed.amount as in_billing, own.amount as here
from (
    select month, sum(amount) as amount from billing.payment join touched_account on paid_on >= month and paid_on < next_month group by month
) as billed
full join (select month, sum(amount) as amount from payment join touched_account using (month) group by month) as own using (month)
where billed.amount is distinct from own.amount

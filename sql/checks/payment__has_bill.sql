/*
zh: 缴费有对应账单
description: A payment is of a bill that billing has, and that is not cancelled.
severity: warn
because: a payment of no bill lowers nobody's arrears
*/
select month, payment_id, bill_no, customer_no, amount
from payment
join touched_account using (month)
where timing = 'unassigned'

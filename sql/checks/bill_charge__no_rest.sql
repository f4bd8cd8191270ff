/*
zh: 费用之和等于账单金额
description: The charges of a bill add up to its amount.
severity: warn
because: the parts for water and drainage are not those of the total
*/
select bill_no, meter, account_month, amount as beyond_the_charges
from bill_charge
join touched_bill using (bill_no)
where charge_kind = 'rest'

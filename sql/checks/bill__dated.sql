/*
zh: 账单有合理的账务月份
description: A bill has a month of account, within ten years back and a year ahead.
severity: warn
because: a bill of no month, or of an absurd one, is in no month's figures
*/
select bill_no, meter, account_month, period_start, period_end, issued_on
from bill
join touched_bill using (bill_no)
where account_month is null or account_month not between current_date - interval 10 year and current_date + interval 1 year

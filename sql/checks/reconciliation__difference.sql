/*
zh: 差额等于计费减实测
description: The difference is billed minus measured, and no more days are measured than the bill has.
severity: fail
because: a bill is disputed with this figure
*/
select bill_no, billed_m3, measured_m3, difference_m3, days, days_measured, comparable
from reconciliation
join touched_bill using (bill_no)
where (measured_m3 is null or billed_m3 is null) <> (difference_m3 is null)
    or abs(difference_m3 - (billed_m3 - measured_m3)) > 1e-6
    or days_measured > days
    or comparable and measured_m3 is null

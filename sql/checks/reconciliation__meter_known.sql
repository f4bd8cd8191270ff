/*
zh: 账单的水表已建档
description: The meter of a bill is in the registry or on a card of billing.
severity: warn
because: a bill of a meter that neither registry nor billing knows is never reconciled
deps: [meter]
*/
select bill_no, reconciliation.meter, reconciliation.customer_no
from reconciliation
join touched_bill using (bill_no)
left join meter on meter.meter = reconciliation.meter
where meter.meter is null

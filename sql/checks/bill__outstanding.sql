/*
zh: 未收等于开账减已收
description: What is outstanding of a bill is its amount less what was received.
severity: fail
because: arrears are the sum of what is outstanding
*/
select bill_no, meter, amount, received, outstanding, state
from bill
join touched_bill using (bill_no)
where state <> 'cancelled' and outstanding <> amount - received

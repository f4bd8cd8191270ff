/*
zh: 原因之和等于核对差
description: The parts of a bill and meter add up to the difference of the reconciliation (0.001 m³).
severity: fail
because: a difference is explained in full or called unexplained
deps: [reconciliation]
*/
select bill_no, r.meter, r.difference_m3, parts.difference_m3 as of_parts
from reconciliation as r
join touched_dispute using (bill_no)
left join (select bill_no, meter, sum(difference_m3) as difference_m3 from reconciliation_reason group by all) as parts
    on parts.bill_no = r.bill_no and parts.meter is not distinct from r.meter
where abs(coalesce(r.difference_m3, 0) - coalesce(parts.difference_m3, 0)) > 0.001

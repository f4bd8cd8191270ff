/*
zh: 占比合计为 100 %
description: The shares of a period add up to 1, and so does the cumulative share of its last customer.
severity: fail
because: a customer is counted twice or left out
*/
select grain, period, sum(share order by customer_no) as shares, max(cumulative_share) as cumulative_share
from usage_rank
where (grain, period) in (select (grain, period) from touched_rank)
group by grain, period
having abs(shares - 1) > 1e-9 or (min(share) >= 0 and cumulative_share <> 1)

/*
zh: 占比合计为 100 %
description: The shares of a year add up to 1, and its amounts to those of its bills.
severity: fail
because: a customer is counted twice or left out
*/
with billed as (
    select cast(date_trunc('year', account_month) as date) as year, sum(amount) as billed
    from bill
    where state <> 'cancelled' and customer_no is not null
    group by all
)

select year, sum(share order by customer_no) as shares, sum(amount) as amounts, any_value(billed) as billed
from revenue_rank
join touched_account_year using (year)
left join billed using (year)
group by year
having abs(shares - 1) > 1e-9 or amounts is distinct from billed

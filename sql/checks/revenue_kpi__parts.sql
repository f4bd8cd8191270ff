/*
zh: 用水费加排水费等于合计
description: Where bills have water and drainage charges only, they add up to what is billed, owed and received, payments of no bill apart.
severity: warn
because: a total that is not the sum of its parts is a wrong figure
deps: [month_end, bill_charge]
*/
with lines as (
    select month, line, value, lead(value, 1) over (partition by month order by line) as water, lead(value, 2) over (partition by month order by line) as drainage
    from revenue_kpi
    join touched_account using (month)
),

others as (
    select month, sum(received_other) as received_other from month_end where kind = 'all' group by month
)

select month, line, value, water, drainage
from lines
join others using (month)
where line in (8, 11, 14)
    and abs(value - water - drainage - if(line = 14, received_other, 0)) > 0.005
    and not exists (select 1 from bill_charge where charge_kind not in ('water', 'drainage'))

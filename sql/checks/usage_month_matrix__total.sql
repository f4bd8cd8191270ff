/*
zh: 合计等于各月之和
description: The total of a class is the sum of its months.
severity: fail
because: totals are computed, and must not differ from what is shown above them
*/
select year, kind, code
from usage_month_matrix
join touched_account_year using (year)
group by year, kind, code
having abs(coalesce(sum(volume_m3 * if(month_no = 13, -1, 1)), 0)) > 0.001
    or abs(coalesce(sum(last_year_m3 * if(month_no = 13, -1, 1)), 0)) > 0.001
    or count(*) <> 13

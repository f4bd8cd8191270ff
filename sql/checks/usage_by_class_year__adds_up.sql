/*
zh: 月水量之和等于年水量
description: The months of a class add up to its year.
severity: fail
because: the year is the sum of its months
deps: [usage_by_class]
*/
select year, kind, code, source, years.volume_m3, months.volume_m3 as of_months
from usage_by_class_year as years
join touched_account_year using (year)
left join (select year, kind, code, source, sum(volume_m3) as volume_m3 from usage_by_class group by all) as months using (year, kind, code, source)
where abs(years.volume_m3 - months.volume_m3) > 0.001 or (years.volume_m3 is null) <> (months.volume_m3 is null)

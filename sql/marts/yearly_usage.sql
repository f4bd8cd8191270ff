/*
zh: 年用水量
group: usage
description: >-
  Volume of each meter and calendar year: the sum of its twelve months, or the difference of the register curve between the year's ends where
  the end of a month is not known; measured_m3 is the sum of the days that are known.
grain: [meter, year]
deps: [monthly_usage, register_year]
partitions: year
columns:
  meter:
  year: {zh: 年, en: Year, unit: "", format: "yyyy", description: "Calendar year, by its first day."}
  volume_m3:
  measured_m3:
  days_complete:
  complete:
  clean:
  coverage: {description: "Share of the year in which the curve is known, 0 to 1: the mean of its days."}
*/
select
    meter,
    year,
    case
        when count(monthly_usage.volume_m3) = 12 then sum(monthly_usage.volume_m3 order by month)
        else any_value(register_year.volume_m3)
    end as volume_m3,
    sum(measured_m3 order by month) as measured_m3,
    sum(days_complete)::bigint as days_complete,
    count(*) filter (where monthly_usage.complete) = 12 as complete,
    bool_and(clean) as clean,
    sum(coverage * days_in_month order by month) / date_diff('day', year, cast(year + interval 1 year as date)) as coverage
from monthly_usage
join touched_year on month >= year and month < year + interval 1 year
left join register_year using (meter, year)
group by meter, year

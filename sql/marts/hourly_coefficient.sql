/*
zh: 时差系数
group: metrics
description: Hour volume divided by the mean hour volume of that day (docs/domain.md#coefficients); no figure on a day without water (a mean below 1e-9 m³ is rounding).
grain: [meter, hour_start]
deps: [hourly_usage]
partitions: day
columns:
  meter:
  hour_start:
  day:
  coefficient: {description: Volume of the hour over the mean hour volume of the day.}
*/
with means as (
    select meter, day, avg(volume_m3 order by hour_start) as mean_hour_m3
    from hourly_usage
    join touched_day using (day)
    group by meter, day
)

select
    meter,
    hour_start,
    day,
    volume_m3 / mean_hour_m3 as coefficient
from hourly_usage
join means using (meter, day)
where volume_m3 is not null and mean_hour_m3 > 1e-9

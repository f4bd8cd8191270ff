/*
zh: 日差系数
group: metrics
description: Volume of a complete day divided by the mean of the month's complete days (docs/domain.md#coefficients); no figure in a month without water (a mean below 1e-9 m³ is rounding).
grain: [meter, day]
deps: [daily_usage, monthly_usage]
partitions: month
columns:
  meter:
  day:
  month:
  coefficient: {description: Volume of the day over the mean of the month's complete days.}
*/
select
    meter,
    day,
    month,
    daily_usage.volume_m3 / mean_day_m3 as coefficient
from daily_usage
join touched_month on day >= month and day < month + interval 1 month
join monthly_usage using (meter, month)
where daily_usage.complete and daily_usage.volume_m3 is not null and mean_day_m3 > 1e-9

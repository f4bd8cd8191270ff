/*
zh: 日反向水量
en: Reverse volume by day
sheet_of: reverse_flow
description: Reverse volume of each meter and day on which water flowed backwards.
grain: [meter, day]
deps: [daily_usage]
columns:
  meter: {width: 14}
  day: {width: 12}
  reverse_m3: {width: 14, total: sum}
layout: {kind: list, by: [meter], frozen: 2}
csv: [meter, day, reverse_m3]
*/
select
    meter,
    day,
    reverse_m3
from daily_usage
where day >= $first_day::date and day <= $last_day::date and reverse_m3 > 0
order by meter, day

/*
zh: 倒流过程
en: Course
sheet_of: reverse_flow
description: The course of reverse flow, one row an interval in which water flowed backwards, with the pressure at its end.
grain: [meter, interval_start]
deps: [reverse_course]
columns:
  meter: {width: 14}
  interval_start: {width: 18}
  interval_end: {width: 18}
  reverse_m3: {width: 14, total: sum}
  flow_m3h: {width: 14, total: max}
  pressure_mpa: {width: 12, total: min}
layout: {kind: list, by: [meter], frozen: 3}
csv: [meter, interval_start, interval_end, reverse_m3, flow_m3h, pressure_mpa]
*/
select
    meter,
    interval_start,
    interval_end,
    reverse_m3,
    flow_m3h,
    pressure_mpa
from reverse_course
where day >= $first_day::date and day <= $last_day::date
order by meter, interval_start

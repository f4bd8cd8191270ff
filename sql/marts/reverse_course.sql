/*
zh: 倒流过程
group: metrics
description: The course of reverse flow, one row an interval in which water flowed backwards, with the pressure at its end.
grain: [meter, interval_end, interval_start]
deps: [interval_reading]
partitions: day
columns:
  meter:
  interval_start: {zh: 区间开始, en: Interval start, unit: "", format: "yyyy-mm-dd hh:mm", description: Start of the interval.}
  interval_end: {zh: 区间结束, en: Interval end, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the interval.}
  day:
  reverse_m3: {description: Volume that flowed backwards in the interval.}
  flow_m3h: {zh: 倒流流量, en: Reverse flow, description: Mean reverse flow of the interval.}
  pressure_mpa: {description: Pressure at the end of the interval.}
*/
select
    meter,
    started_at as interval_start,
    ended_at as interval_end,
    day,
    reverse_nl / 1e12 as reverse_m3,
    reverse_nl / 1e12 / ((epoch_us(ended_at) - epoch_us(started_at)) / 3.6e9) as flow_m3h,
    pressure_pa / 1e6 as pressure_mpa
from reverse_interval
join touched_day using (day)

/*
zh: 小时水量
en: Hourly volumes
description: >-
  Volume of each meter and local clock hour. An hour of which nothing is known has no row, one that is known in part has no volume; neither is 0.
grain: [meter, hour_start]
deps: [hourly_usage]
cut: day
files: [csv, parquet]
columns:
  meter: {type: text}
  day: {type: day}
  hour_start: {type: time}
  volume_m3: {type: number}
  reverse_m3: {type: number}
  coverage: {type: number}
  clean: {type: boolean}
*/
select
    meter,
    day,
    hour_start,
    volume_m3,
    reverse_m3,
    coverage,
    clean
from hourly_usage

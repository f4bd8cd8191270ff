/*
zh: 小时用水量
group: usage
description: Volume of each meter and local clock hour; of a register meter only where the curve is known throughout the hour.
grain: [meter, hour_start]
deps: [interval_reading]
partitions: day
columns:
  meter:
  hour_start:
  day:
  volume_m3: {description: Volume of the hour; empty where the curve is not known throughout.}
  reverse_m3:
  coverage:
  clean:
*/
select
    meter,
    hour_start,
    day,
    volume_nl / 1e12 as volume_m3,
    reverse_nl / 1e12 as reverse_m3,
    coverage,
    clean
from clock_hour
join touched_day using (day)
where coverage is not null

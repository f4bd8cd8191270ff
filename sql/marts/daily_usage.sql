/*
zh: 日用水量
group: usage
description: >-
  Volume and flows of each meter and local day. A hole within the day does not lose it, a hole over its edge does; complete means that the
  curve is known throughout. Flows are taken from intervals that the register can resolve.
grain: [meter, day]
deps: [interval_reading]
partitions: day
columns:
  meter:
  day:
  volume_m3: {description: Volume of the day as the difference of the register curve; empty where an end of the day is not known.}
  reverse_m3:
  flow_max_m3h:
  flow_min_m3h:
  flow_mean_m3h:
  coverage:
  complete:
  clean:
*/
select
    meter,
    day,
    volume_nl / 1e12 as volume_m3,
    reverse_nl / 1e12 as reverse_m3,
    flow_max_m3h,
    flow_min_m3h,
    known_volume_nl / 1e12 / nullif(known_us / 3.6e9, 0) as flow_mean_m3h,
    known_us / (epoch_us(ends_at) - epoch_us(starts_at)) as coverage,
    known_us = epoch_us(ends_at) - epoch_us(starts_at) as complete,
    clean
from unit_day
join touched_day using (day)

/*
zh: 分组小时压力
group: metrics
description: >-
  Pressure of the members of a network, line or region in each hour: percentiles (linear) of their hourly means, beside the volume that
  they took. Members are those of the day.
grain: [kind, code, hour_start]
deps: [hourly_pressure, hourly_usage, relation]
partitions: day
columns:
  kind:
  code: {zh: 代码, en: Code, unit: "", description: Code of the group.}
  hour_start:
  p5_mpa: {zh: 5% 分位压力, en: p5, unit: MPa, description: Pressure that 5 % of the members are below.}
  median_mpa: {zh: 中位压力, en: Median, unit: MPa, description: Median pressure of the members.}
  p95_mpa: {zh: 95% 分位压力, en: p95, unit: MPa, description: Pressure that 95 % of the members are below.}
  day:
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of a member in the hour.}
  head_m: {zh: 中位水头, en: Median head, unit: m, description: Median head of the members whose elevation is known.}
  points: {zh: 测压点数, en: Pressure points, unit: "", format: "#,##0", description: Members with a pressure in the hour.}
  volume_m3: {description: Volume of the members whose hour is known.}
  meters: {description: Members whose volume of the hour is known.}
*/
with members as (
    select distinct meter, kind, code, day
    from relation
    join touched_day on (valid_from is null or valid_from <= day) and (valid_to is null or valid_to > day)
    where kind in ('network', 'line', 'region')
),

hours as (
    select meter, hour_start, day, volume_m3 from hourly_usage join touched_day using (day)
)

select
    kind,
    code,
    hour_start,
    quantile_cont(pressure_mpa, 0.05) as p5_mpa,
    median(pressure_mpa) as median_mpa,
    quantile_cont(pressure_mpa, 0.95) as p95_mpa,
    members.day,
    min(pressure_min_mpa) as pressure_min_mpa,
    median(head_m) as head_m,
    count(pressure_mpa) as points,
    sum(volume_m3 order by meter) as volume_m3,
    count(volume_m3) as meters
from (select * from hours full join (select * from hourly_pressure join touched_day using (day)) using (meter, hour_start, day)) as known
join members using (meter, day)
group by kind, code, hour_start, members.day

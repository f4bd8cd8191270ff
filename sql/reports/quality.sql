/*
zh: 数据质量报表
en: Data quality report
description: What the readings of each meter and day were like, in counts; refused readings contradict the others.
grain: [meter, day]
deps: [data_quality, meter]
columns:
  customer_name: {width: 24}
  meter: {width: 12}
  day: {width: 11}
  readings: {width: 9, total: sum}
  expected_readings: {width: 9, total: sum}
  coverage: {width: 9, total: mean}
  holes: {width: 8, total: sum}
  falls: {width: 8, total: sum}
  impossible_rises: {width: 9, total: sum}
  bridged: {width: 8, total: sum}
  rollovers: {width: 8, total: sum}
  replacements: {width: 8, total: sum}
  reversals: {width: 8, total: sum}
  conflicts: {width: 8, total: sum}
  refused: {width: 8, total: sum}
  complete: {width: 0}
  clean: {width: 8}
layout: {kind: list, by: [meter], complete: complete, frozen: 3}
csv: [meter, day, customer_name, readings, expected_readings, coverage, holes, falls, impossible_rises, bridged, rollovers, replacements, reversals, conflicts, refused, complete, clean]
*/
select
    meter.customer_name,
    data_quality.meter,
    day,
    readings,
    expected_readings,
    coverage,
    holes,
    falls,
    impossible_rises,
    bridged,
    rollovers,
    replacements,
    reversals,
    conflicts,
    refused,
    complete,
    clean
from data_quality
left join meter using (meter)
where day >= $first_day::date and day <= $last_day::date
order by data_quality.meter, day

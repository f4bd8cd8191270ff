/*
zh: 数据质量
group: quality
description: >-
  What the readings of each meter and day were like, in counts; a flag counts once a step, however many hours it crosses. refused: readings
  that the register curve does not use because they contradict the others.
grain: [meter, day]
deps: [interval_reading, daily_usage, meter, meter_history]
partitions: day
columns:
  meter:
  day:
  readings: {zh: 读数条数, en: Readings, unit: "", format: "#,##0", description: Readings stored for the day.}
  expected_readings: {zh: 应有读数条数, en: Expected readings, unit: "", format: "#,##0", description: Readings that the step of that day leads to expect.}
  coverage:
  holes: {zh: 缺口, en: Holes, unit: "", format: "#,##0", description: Steps in which the curve is not known.}
  falls: {zh: 读数下降, en: Falls, unit: "", format: "#,##0", description: Steps in which the register fell without an explanation.}
  impossible_rises: {zh: 不可能的上升, en: Impossible rises, unit: "", format: "#,##0", description: Steps in which the register rose more than the meter can pass.}
  bridged: {zh: 跨越, en: Bridged, unit: "", format: "#,##0", description: Steps bridged over a refused reading.}
  rollovers: {zh: 翻转, en: Roll-overs, unit: "", format: "#,##0", description: Steps in which the register rolled over.}
  replacements: {zh: 换表, en: Replacements, unit: "", format: "#,##0", description: Steps in which the meter was replaced.}
  reversals: {zh: 倒流, en: Reversals, unit: "", format: "#,##0", description: Steps with reverse flow.}
  resets: {zh: 疑似清零, en: Suspected resets, unit: "", format: "#,##0", description: Steps in which a reset of the register is suspected.}
  off_grid: {zh: 偏离采集时刻, en: Off the grid, unit: "", format: "#,##0", description: Readings beside the meter's grid of steps.}
  conflicts: {zh: 冲突, en: Conflicts, unit: "", format: "#,##0", description: Times for which two different readings came.}
  complete:
  clean:
  refused: {zh: 拒用读数, en: Refused readings, unit: "", format: "#,##0", description: Readings that the curve does not use because they contradict the others.}
*/
select
    unit_day.meter,
    day,
    readings,
    cast(round((epoch(ends_at) - epoch(starts_at)) / 60 / coalesce(history.step_min, meter.step_min)) as bigint) as expected_readings,
    daily_usage.coverage,
    cast(hole_count as bigint) as holes,
    cast(fall_count as bigint) as falls,
    cast(impossible_rise_count as bigint) as impossible_rises,
    cast(bridged_count as bigint) as bridged,
    cast(rollover_count as bigint) as rollovers,
    cast(replaced_count as bigint) as replacements,
    cast(reverse_count as bigint) as reversals,
    cast(reset_count as bigint) as resets,
    cast(off_grid_count as bigint) as off_grid,
    cast(conflict_count as bigint) as conflicts,
    daily_usage.complete,
    daily_usage.clean,
    cast(refused_count as bigint) as refused
from unit_day
join touched_day using (day)
join daily_usage using (meter, day)
join meter using (meter)
left join meter_history as history
    on history.meter = unit_day.meter and day >= coalesce(first_day, date '0001-01-01') and day <= coalesce(last_day, date '9999-12-30')

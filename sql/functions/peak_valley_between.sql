/*
zh: 任意时段峰谷值
group: metrics
description: >-
  The total row of peaks and valleys over any days of a meter: the highest of the highest, the lowest of the lowest, the mean of all
  intervals; of equal peaks the first is named.
grain: []
deps: [peak_valley]
parameters:
  meter: Name of the meter.
  first_day: First local day.
  last_day: Last local day, included.
columns:
  flow_max_m3h:
  flow_max_at: {zh: 最大时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was highest.}
  flow_min_m3h:
  flow_min_at: {zh: 最小时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was lowest.}
  flow_mean_m3h:
  pressure_max_mpa: {zh: 最高压力, en: Max pressure, unit: MPa, description: Highest pressure of the days.}
  pressure_max_at: {zh: 最高时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was highest.}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of the days.}
  pressure_min_at: {zh: 最低时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was lowest.}
  pressure_mean_mpa: {zh: 平均压力, en: Mean pressure, unit: MPa, description: Mean pressure of the days.}
  coverage: {description: "Share of the days in which the curve is known, 0 to 1: their mean."}
  complete: {description: The curve is known throughout every day.}
*/
create or replace function mart.peak_valley_between(meter text, first_day date, last_day date)
returns table (
    flow_max_m3h double precision,
    flow_max_at timestamptz,
    flow_min_m3h double precision,
    flow_min_at timestamptz,
    flow_mean_m3h double precision,
    pressure_max_mpa double precision,
    pressure_max_at timestamptz,
    pressure_min_mpa double precision,
    pressure_min_at timestamptz,
    pressure_mean_mpa double precision,
    coverage double precision,
    complete boolean
)
language sql stable parallel safe as $$
    select
        max(days.flow_max_m3h),
        (array_agg(days.flow_max_at order by days.flow_max_m3h desc nulls last, days.flow_max_at))[1],
        min(days.flow_min_m3h),
        (array_agg(days.flow_min_at order by days.flow_min_m3h nulls last, days.flow_min_at))[1],
        sum(days.flow_mean_m3h * known_h order by period) / nullif(sum(known_h order by period), 0),
        max(days.pressure_max_mpa),
        (array_agg(days.pressure_max_at order by days.pressure_max_mpa desc nulls last, days.pressure_max_at))[1],
        min(days.pressure_min_mpa),
        (array_agg(days.pressure_min_at order by days.pressure_min_mpa nulls last, days.pressure_min_at))[1],
        sum(days.pressure_mean_mpa * pressures order by period) / nullif(sum(pressures), 0),
        sum(days.coverage order by period) / ($3 - $2 + 1),
        count(*) filter (where days.complete) = $3 - $2 + 1
    from mart.peak_valley as days
    where days.meter = $1 and grain = 'day' and period between $2 and $3
$$

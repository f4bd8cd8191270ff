/*
zh: 峰谷值
group: metrics
description: >-
  Highest, lowest and mean flow and pressure of each meter and local day, month and year with their times: of a month or year the highest of
  its days' highest, the lowest of their lowest and the mean of all intervals. Flow is the mean of an interval that the register can resolve, holes
  excluded; of equal peaks the first is named.
grain: [meter, grain, period]
deps: [interval_reading]
partitions: grain
columns:
  meter:
  grain:
  period:
  flow_max_m3h:
  flow_max_at: {zh: 最大时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was highest.}
  flow_min_m3h:
  flow_min_at: {zh: 最小时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the flow was lowest.}
  flow_mean_m3h:
  pressure_max_mpa: {zh: 最高压力, en: Max pressure, unit: MPa, description: Highest pressure of the period.}
  pressure_max_at: {zh: 最高时刻, en: Max at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was highest.}
  pressure_min_mpa: {zh: 最低压力, en: Min pressure, unit: MPa, description: Lowest pressure of the period.}
  pressure_min_at: {zh: 最低时刻, en: Min at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the pressure was lowest.}
  pressure_mean_mpa: {zh: 平均压力, en: Mean pressure, unit: MPa, description: Mean pressure of the period.}
  coverage:
  complete:
  known_h: {zh: 已知时长, en: Known hours, unit: h, description: Hours in which the curve is known; the weight of the mean flow.}
  pressures: {zh: 压力读数条数, en: Pressures, unit: "", format: "#,##0", description: Number of pressures; the weight of their mean.}
*/
with days as (
    select
        meter,
        day,
        flow_max_m3h,
        flow_max_at,
        flow_min_m3h,
        flow_min_at,
        known_volume_nl,
        known_us,
        pressure_max_pa,
        pressure_max_at,
        pressure_min_pa,
        pressure_min_at,
        pressure_sum_pa,
        pressure_count
    from unit_day
    where day >= (select min(period) from touched_grain)
),

found as (
    select days.* rename (day as period, pressure_count as pressures), grain, next
    from days
    join touched_grain on grain = 'day' and period = day
    union all by name
    select
        meter,
        grain,
        period,
        next,
        max(flow_max_m3h) as flow_max_m3h,
        arg_max(flow_max_at, (flow_max_m3h, -epoch_us(flow_max_at))) filter (where flow_max_m3h is not null) as flow_max_at,
        min(flow_min_m3h) as flow_min_m3h,
        arg_min(flow_min_at, (flow_min_m3h, flow_min_at)) filter (where flow_min_m3h is not null) as flow_min_at,
        sum(known_volume_nl) as known_volume_nl,
        sum(known_us) as known_us,
        max(pressure_max_pa) as pressure_max_pa,
        arg_max(pressure_max_at, (pressure_max_pa, -epoch_us(pressure_max_at))) filter (where pressure_max_pa is not null) as pressure_max_at,
        min(pressure_min_pa) as pressure_min_pa,
        arg_min(pressure_min_at, (pressure_min_pa, pressure_min_at)) filter (where pressure_min_pa is not null) as pressure_min_at,
        sum(pressure_sum_pa) as pressure_sum_pa,
        sum(pressure_count) as pressures
    from days
    join touched_grain on period = case grain when 'month' then date_trunc('month', day) when 'year' then date_trunc('year', day) end
    group by meter, grain, period, next
)

select
    meter,
    grain,
    period,
    flow_max_m3h,
    flow_max_at,
    flow_min_m3h,
    flow_min_at,
    known_volume_nl / 1e12 / nullif(known_us / 3.6e9, 0) as flow_mean_m3h,
    pressure_max_pa / 1e6 as pressure_max_mpa,
    pressure_max_at,
    pressure_min_pa / 1e6 as pressure_min_mpa,
    pressure_min_at,
    pressure_sum_pa / 1e6 / nullif(pressures, 0) as pressure_mean_mpa,
    known_us / (epoch_us(next::timestamptz) - epoch_us(period::timestamptz)) as coverage,
    known_us = epoch_us(next::timestamptz) - epoch_us(period::timestamptz) as complete,
    known_us / 3.6e9 as known_h,
    cast(pressures as bigint) as pressures
from found

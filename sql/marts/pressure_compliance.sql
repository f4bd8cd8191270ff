/*
zh: 压力合格率
group: metrics
description: >-
  Share of the pressure readings of a meter that meet its limit (registry pressure_low_mpa, else criterion pressure.low_mpa), by day, month and year;
  met: the share reaches pressure.pass_share (docs/domain.md#service-pressure). A period without a pressure reading has no row.
grain: [meter, grain, period]
deps: [interval_reading]
partitions: grain
columns:
  meter:
  grain:
  period:
  readings: {zh: 压力读数, en: Pressure readings, unit: "", format: "#,##0", description: Pressures that were read and can be believed.}
  readings_met: {zh: 合格读数, en: Readings that meet it, unit: "", format: "#,##0", description: Pressures at or above the limit of the meter.}
  share_met: {zh: 合格率, en: Share that meets it, unit: "", format: "0.0%", description: "Readings that meet the limit over all readings, 0 to 1."}
  met: {zh: 符合标准, en: Meets the standard, unit: "", description: The share reaches the least share of the criteria.}
*/
with counts as (
    select unit_day.meter, grain, period, sum(pressure_count) as readings, sum(pressure_count - pressure_low_count) as readings_met
    from unit_day
    join touched_grain on unit_day.day >= period and unit_day.day < touched_grain.next
    where pressure_count > 0
    group by unit_day.meter, grain, period
),

least as (
    select grain, period, criterion('pressure.pass_share', period) as least_share
    from touched_grain
)

select
    meter,
    grain,
    period,
    cast(readings as bigint) as readings,
    cast(readings_met as bigint) as readings_met,
    readings_met / readings as share_met,
    readings_met / readings >= least_share as met
from counts
join least using (grain, period)

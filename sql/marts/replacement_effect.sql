/*
zh: 换表前后
group: metrics
description: >-
  Before and after a change of a meter's size: up to 90 days to either side, none of the day of the change, each by the sizes of its own time. realised_m3_year
  is what is registered more in a year, once 30 complete days are known on both sides; a change of what the customer uses is in it.
grain: [meter, replaced_on, side]
deps: [interval_reading, daily_usage, meter_history, criterion]
partitions: whole
columns:
  meter:
  replaced_on: {zh: 换表日, en: Replaced on, unit: "", format: yyyy-mm-dd, description: First local day with the new sizes.}
  side: {zh: 前后, en: Side, unit: "", description: before or after.}
  days_complete:
  volume_day_m3: {zh: 日均水量, en: Mean day volume, unit: m³, description: Mean volume of the complete days.}
  volume_below_q1: {zh: 低于Q1水量, en: Volume below Q1, unit: "", format: "0.0%", description: Share of the volume below Q1.}
  volume_below_q2: {zh: 低于Q2水量, en: Volume below Q2, unit: "", format: "0.0%", description: Share of the volume below Q2.}
  time_above_q3: {zh: 高于Q3时间, en: Time above Q3, unit: "", format: "0.0%", description: Share of the time above Q3.}
  flow_max_m3h:
  realised_m3_year: {zh: 实现增计水量, en: Realised a year, unit: m³, description: "Mean day after less before, times 365; of the side after, where both have 30 complete days."}
  dn_mm:
  technology:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
*/
with spans as (
    select
        *,
        lag(struct_pack(dn_mm, technology, q1_m3h, q2_m3h, q3_m3h, q4_m3h)) over by_time as former
    from meter_history
    where source is distinct from 'manual'
    window by_time as (partition by meter order by valid_from nulls first)
),

changes as (
    select
        meter,
        first_day as replaced_on,
        former,
        struct_pack(dn_mm, technology, q1_m3h, q2_m3h, q3_m3h, q4_m3h) as later,
        lag(first_day) over (partition by meter order by first_day) as earlier_change,
        lead(first_day) over (partition by meter order by first_day) as next_change
    from spans
    where former is not null and first_day is not null
        and former is distinct from struct_pack(dn_mm, technology, q1_m3h, q2_m3h, q3_m3h, q4_m3h)
),

sides as (
    select
        meter,
        replaced_on,
        'before' as side,
        greatest(replaced_on - 91, earlier_change) as first_day,
        replaced_on - 2 as last_day,
        former as size
    from changes
    union all
    select meter, replaced_on, 'after', replaced_on, least(replaced_on + 89, next_change - 2), later from changes
),

summed as (
    select
        sides.meter,
        replaced_on,
        side,
        any_value(size) as size,
        count(*) filter (where complete) as days_complete,
        avg(volume_m3 order by unit_day.day) filter (where complete) as volume_day_m3,
        sum(zone_nl[2])::double as v1,
        sum(zone_nl[2] + zone_nl[3])::double as v2,
        sum(list_sum(zone_nl[2:6]))::double as volume,
        sum(zone_us[5] + zone_us[6])::double as above_us,
        sum(list_sum(zone_us))::double as known_us,
        max(unit_day.flow_max_m3h) as flow_max_m3h
    from sides
    join unit_day on unit_day.meter = sides.meter and unit_day.day between first_day and last_day
    join daily_usage on daily_usage.meter = sides.meter and daily_usage.day = unit_day.day
    group by sides.meter, replaced_on, side
)

select
    summed.meter,
    summed.replaced_on,
    side,
    days_complete,
    volume_day_m3,
    case when size.q1_m3h is not null then v1 / nullif(volume, 0) end as volume_below_q1,
    case when size.q2_m3h is not null then v2 / nullif(volume, 0) end as volume_below_q2,
    case when size.q3_m3h is not null then above_us / nullif(known_us, 0) end as time_above_q3,
    flow_max_m3h,
    case
        when side = 'after'
            and min(days_complete) over both_sides >= criterion('fit.least_days', summed.replaced_on)
            and count(*) over both_sides = 2
            then 365 * (volume_day_m3 - max(case when side = 'before' then volume_day_m3 end) over both_sides)
    end as realised_m3_year,
    size.dn_mm,
    size.technology,
    size.q1_m3h,
    size.q2_m3h,
    size.q3_m3h,
    size.q4_m3h
from summed
window both_sides as (partition by summed.meter, summed.replaced_on)

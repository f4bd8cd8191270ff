/*
zh: 流量分布
group: metrics
description: >-
  How long and how much water flowed in which zone and class of flow, a row a meter and local month: the base of meter fit and of the duration curve.
  Zones are those of the meter's own Q1 to Q4 (0 none, below Q1, Q1–Q2, Q2–Q3, Q3–Q4, above Q4); a class is a hundredth of a decade above 10⁻⁴ m³/h, class 0
  no flow. unregistered_m3 is what the default error curve expects the meter to have missed (docs/domain.md#meter-fit).
grain: [meter, month]
deps: [interval_reading, daily_usage, meter_history, criterion]
partitions: month
columns:
  meter:
  month:
  days_complete:
  zone_h: {zh: 各区时间, en: Hours by zone, unit: h, description: Hours in each of the six zones.}
  zone_m3: {zh: 各区水量, en: Volume by zone, unit: m³, description: Volume in each of the six zones.}
  class: {zh: 流量级, en: Flow classes, unit: "", description: Classes of flow that occur.}
  class_h: {zh: 各级时间, en: Hours by class, unit: h, description: Hours in each class.}
  class_m3: {zh: 各级水量, en: Volume by class, unit: m³, description: Volume in each class.}
  flow_max_m3h:
  flow_p99_m3h: {zh: P99 流量, en: P99 of the flow, unit: m³/h, description: Flow that 99 % of the running time does not exceed.}
  unregistered_m3: {zh: 估计漏计水量, en: Expected unregistered, unit: m³, description: Volume that the default error curve expects to be missing from what the meter registered; empty without Q1 and Q2.}
*/
with zones as (
    select
        unit_day.meter,
        month,
        count(*) filter (where complete) as days_complete,
        list_transform(
            [sum(zone_us[1]), sum(zone_us[2]), sum(zone_us[3]), sum(zone_us[4]), sum(zone_us[5]), sum(zone_us[6])],
            lambda length: length / 3.6e9
        ) as zone_h,
        list_transform(
            [sum(zone_nl[1]), sum(zone_nl[2]), sum(zone_nl[3]), sum(zone_nl[4]), sum(zone_nl[5]), sum(zone_nl[6])],
            lambda volume: volume / 1e12
        ) as zone_m3,
        max(unit_day.flow_max_m3h) as flow_max_m3h
    from unit_day
    join daily_usage using (meter, day)
    join touched_month on day >= month and day < month + interval 1 month
    group by unit_day.meter, month
),

daily as (
    select meter, month, unnest(bin) as class, unnest(seconds) as seconds, unnest(volume_nl) as volume_nl
    from flow_histogram
    join touched_month on day >= month and day < month + interval 1 month
),

classes as (
    -- Whole microseconds: the sum does not depend on its order.
    select
        meter,
        month,
        class,
        sum(cast(round(seconds * 1e6) as bigint)) as length_us,
        length_us / 3.6e9 as hours,
        sum(volume_nl) / 1e12 as volume_m3
    from daily
    group by meter, month, class
),

sizes as (
    select
        meter,
        month,
        arg_max(struct_pack(q1_m3h, q2_m3h), coalesce(first_day, date '0001-01-01')) as q
    from meter_history
    join touched_month on coalesce(first_day, date '0001-01-01') < month + interval 1 month
        and coalesce(last_day, date '9999-12-31') >= month
    where source is distinct from 'manual'
    group by meter, month
),

curve as (
    select
        month,
        criterion('fit.start_share', month) as start_share,
        criterion('fit.error_at_q1_pct', month) / 100 as error_at_q1
    from touched_month
),

judged as (
    select
        classes.*,
        volume_m3 / hours as flow_m3h,
        case
            when class = 0 then 0.0
            else -volume_m3 * meter_error(volume_m3 / hours, q.q1_m3h, q.q2_m3h, start_share, error_at_q1)
        end as missed_m3,
        sum(case when class > 0 then length_us end) over (partition by classes.meter, month order by class) as so_far_us,
        sum(case when class > 0 then length_us end) over (partition by classes.meter, month) as running_us
    from classes
    join curve using (month)
    left join sizes using (meter, month)
    where length_us > 0
),

listed as (
    select
        meter,
        month,
        list(class::integer order by class) as class,
        list(hours order by class) as class_h,
        list(volume_m3 order by class) as class_m3,
        min(flow_m3h) filter (where class > 0 and so_far_us >= 0.99 * running_us) as flow_p99_m3h,
        case when bool_and(missed_m3 is not null) then sum(missed_m3 order by class) end as unregistered_m3
    from judged
    group by meter, month
)

select
    zones.meter,
    zones.month,
    days_complete,
    zone_h,
    zone_m3,
    class,
    class_h,
    class_m3,
    flow_max_m3h,
    flow_p99_m3h,
    unregistered_m3
from zones
join listed using (meter, month)

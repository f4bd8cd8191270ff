/*
zh: 校验结果
group: quality
description: >-
  Days of a meter that break a validation rule (V10 to V13, V16, V17): a mark for a person to review, which changes no figure. Like days are the last
  ones before it of the same kind in the calendar whose volume is known.
grain: [meter, day, rule]
deps: [interval_reading, daily_usage, flow_distribution, meter_history, calendar, vee_rule, criterion]
partitions: review
columns:
  meter:
  day:
  rule: {zh: 规则, en: Rule, unit: "", description: Code of the rule.}
  value: {zh: 数值, en: Value, unit: "", format: "0.000", description: "What was found, in the rule's unit: flow, volume, pressure, ratio or share."}
  limit_value: {zh: 限值, en: Limit, unit: "", format: "0.000", description: "What it is held against, in the same unit; empty where there is none."}
  value_unit: {zh: 单位, en: Unit, unit: "", description: Unit of value and limit; empty for a share or ratio.}
  rule_zh: {zh: 规则名称, en: Rule (Chinese), unit: "", description: Name of the rule in Chinese.}
  rule_en: {zh: 规则名称（英文）, en: Rule in words, unit: "", description: Name of the rule in English.}
*/
with criteria as (
    select
        day,
        criterion('vee.spike_factor', day) as spike_factor,
        criterion('vee.sum_resolutions', day) as sum_resolutions,
        cast(criterion('vee.like_days', day) as bigint) as like_days,
        cast(criterion('vee.like_window_days', day) as integer) as like_window_days,
        criterion('vee.low_ratio', day) as low_ratio,
        criterion('vee.high_ratio', day) as high_ratio,
        criterion('vee.estimated_share', day) as estimated_share,
        cast(date_trunc('month', day) - interval 1 month as date) as month_before
    from touched_review_day
),

days as (
    select unit_day.*, q3_m3h, resolution_m3, criteria.* exclude (day)
    from unit_day
    join criteria using (day)
    left join meter_history as history
        on history.meter = unit_day.meter
        and unit_day.day between coalesce(first_day, date '0001-01-01') and coalesce(last_day, date '9999-12-31')
),

likes as (
    select
        daily_usage.meter,
        daily_usage.day,
        volume_m3,
        complete,
        low_ratio,
        high_ratio,
        list(volume_m3) over past as like_m3,
        min(daily_usage.day) over past as since,
        daily_usage.day - like_window_days as first_day,
        like_days
    from daily_usage
    join calendar using (day)
    left join criteria using (day)
    where volume_m3 is not null
        and day in (select unnest(generate_series(day - like_window_days, day, interval 1 day))::date from criteria)
    window past as (
        partition by daily_usage.meter, day_kind order by daily_usage.day
        rows between coalesce(like_days, 0) preceding and 1 preceding
    )
),

compared as (
    select *, list_median(like_m3) as median_m3, list_min(like_m3) as least_m3
    from likes
    where len(like_m3) = like_days and since >= first_day
),

sums as (
    -- What the day counted less what its register moved: the reverse register may account for a fall.
    select
        meter,
        day,
        coalesce(between_nl, known_volume_nl) / 1e12 - (last_ul - first_ul) / 1e9 as rest_m3,
        coalesce(reverse_nl, 0) / 1e12 as reverse_m3,
        sum_resolutions * resolution_m3 as limit_m3
    from days
    where rollover_count = 0 and replaced_count = 0
),

found as (
    select days.meter, day, 'V10' as rule, days.flow_max_m3h as value, greatest(q3_m3h, spike_factor * flow_p99_m3h) as limit_value
    from days
    join flow_distribution as before on before.meter = days.meter and before.month = month_before
    where days.flow_max_m3h > q3_m3h and days.flow_max_m3h > spike_factor * flow_p99_m3h
    union all
    select meter, day, 'V11', rest_m3, limit_m3
    from sums
    where rest_m3 < -limit_m3 or rest_m3 > reverse_m3 + limit_m3
    union all
    select meter, day, 'V12', volume_m3, least_m3
    from compared
    where complete and volume_m3 = 0 and least_m3 > 0
    union all
    select days.meter, days.day, 'V13', days.pressure_min_pa / 1e6, null
    from days
    join unit_day as before on before.meter = days.meter and before.day = days.day - 1
    where days.pressure_min_pa = days.pressure_max_pa
        and before.pressure_min_pa = days.pressure_min_pa and before.pressure_max_pa = days.pressure_max_pa
        and days.pressure_count > 1 and before.pressure_count > 1
    union all
    select meter, day, 'V16', volume_m3 / median_m3, case when volume_m3 < low_ratio * median_m3 then low_ratio else high_ratio end
    from compared
    where volume_m3 > 0 and median_m3 > 0 and (volume_m3 < low_ratio * median_m3 or volume_m3 > high_ratio * median_m3)
    union all
    select meter, day, 'V17', (volume_nl - known_volume_nl) / volume_nl, estimated_share
    from days
    where volume_nl > 0 and volume_nl - known_volume_nl > estimated_share * volume_nl
)

select
    meter,
    day,
    rule,
    value,
    limit_value,
    value_unit,
    name_zh as rule_zh,
    name_en as rule_en
from found
join vee_rule using (rule)

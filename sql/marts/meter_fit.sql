/*
zh: 流量特性
group: metrics
description: >-
  Whether a meter fits the flows that it has: shares of time and volume by the zones of its Q1 to Q4 over the months up to this one (criterion fit.months)
  in which it had these sizes; see docs/domain.md#meter-fit. over: too large and a smaller one would do; under: too small; not_resolvable: the register is too coarse to
  see flows below Q2; too_few_days; unknown: sizes are missing. Time shares are of all known time, time_zero apart.
grain: [meter, month]
deps: [flow_distribution, meter_history, meter_catalogue, criterion]
partitions: fit
columns:
  meter:
  month: {description: Last month of the window.}
  time_below_q1: {zh: 低于Q1时间, en: Time below Q1, unit: "", format: "0.0%", description: Share of the time with flow below Q1.}
  time_q1_q2: {zh: Q1–Q2时间, en: Time Q1–Q2, unit: "", format: "0.0%", description: Share of the time with flow from Q1 to below Q2.}
  time_q2_q3: {zh: Q2–Q3时间, en: Time Q2–Q3, unit: "", format: "0.0%", description: Share of the time with flow from Q2 to Q3.}
  time_q3_q4: {zh: Q3–Q4时间, en: Time Q3–Q4, unit: "", format: "0.0%", description: Share of the time with flow above Q3 up to Q4.}
  time_above_q4: {zh: 高于Q4时间, en: Time above Q4, unit: "", format: "0.0%", description: Share of the time with flow above Q4.}
  volume_below_q1: {zh: 低于Q1水量, en: Volume below Q1, unit: "", format: "0.0%", description: Share of the volume below Q1.}
  volume_q1_q2: {zh: Q1–Q2水量, en: Volume Q1–Q2, unit: "", format: "0.0%", description: Share of the volume from Q1 to below Q2.}
  volume_q2_q3: {zh: Q2–Q3水量, en: Volume Q2–Q3, unit: "", format: "0.0%", description: Share of the volume from Q2 to Q3.}
  volume_q3_q4: {zh: Q3–Q4水量, en: Volume Q3–Q4, unit: "", format: "0.0%", description: Share of the volume above Q3 up to Q4.}
  volume_above_q4: {zh: 高于Q4水量, en: Volume above Q4, unit: "", format: "0.0%", description: Share of the volume above Q4.}
  fit_class: {zh: 匹配结论, en: Fit, unit: "", description: "over, under, fit, not_resolvable, too_few_days or unknown."}
  time_zero: {zh: 无流量时间, en: Time without flow, unit: "", format: "0.0%", description: Share of the time without flow (or with reverse flow).}
  running_below_q2: {zh: 用水时低于Q2时间, en: Running time below Q2, unit: "", format: "0.0%", description: Share of the running time with flow below Q2.}
  q1_resolvable: {zh: Q1可分辨, en: Q1 resolvable, unit: "", description: The register is fine enough to tell a flow below Q1 from none.}
  first_month: {zh: 首月, en: First month, unit: "", format: yyyy-mm, description: First month of the window.}
  days_complete:
  volume_m3: {description: Volume of the window whose flow is known.}
  flow_max_m3h:
  flow_p99_m3h: {zh: P99 流量, en: P99 of the flow, unit: m³/h, description: Highest monthly P99 of the running flow.}
  utilisation: {zh: 利用率, en: Utilisation, unit: "", format: "0%", description: P99 of the flow over Q3.}
  weighted_error_pct: {zh: 加权误差, en: Weighted error, unit: "%", description: Error weighted by volume that the default curve expects; empty without Q1 and Q2.}
  dn_mm:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
  conclusion_zh: {zh: 结论, en: Conclusion (Chinese), unit: "", description: The conclusion with its numbers in Chinese.}
  conclusion_en: {zh: 结论（英文）, en: Conclusion, unit: "", description: The conclusion with its numbers in English.}
*/
with criteria as (
    select
        month,
        cast(month - to_months(cast(criterion('fit.months', month) as integer) - 1) as date) as first_month,
        criterion('fit.least_days', month) as least_days,
        criterion('fit.over_volume_share', month) as over_volume_share,
        criterion('fit.over_time_share', month) as over_time_share,
        criterion('fit.under_time_share', month) as under_time_share,
        criterion('fit.peak_factor', month) as peak_factor
    from touched_fit_month
),

history as (
    -- From when the meter has had the sizes that it has at the end of a span.
    select
        *,
        min(coalesce(first_day, date '0001-01-01')) over (partition by meter, dn_mm, q1_m3h, q2_m3h, q3_m3h, q4_m3h) as sized_from
    from meter_history
    where source is distinct from 'manual'
),

sizes as (
    select
        meter,
        month,
        arg_max(
            struct_pack(dn_mm, q1_m3h, q2_m3h, q3_m3h, q4_m3h, resolution_m3, step_min, reads, sized_from),
            coalesce(first_day, date '0001-01-01')
        ) as size
    from history
    join criteria on coalesce(first_day, date '0001-01-01') < month + interval 1 month and coalesce(last_day, date '9999-12-31') >= month
    group by meter, month
),

summed as (
    select
        sizes.meter,
        sizes.month,
        min(flow_distribution.month) as first_month,
        sum(days_complete)::bigint as days_complete,
        sum(zone_h[1] order by flow_distribution.month) as h0,
        sum(zone_h[2] order by flow_distribution.month) as h1,
        sum(zone_h[3] order by flow_distribution.month) as h2,
        sum(zone_h[4] order by flow_distribution.month) as h3,
        sum(zone_h[5] order by flow_distribution.month) as h4,
        sum(zone_h[6] order by flow_distribution.month) as h5,
        sum(zone_m3[2] order by flow_distribution.month) as v1,
        sum(zone_m3[3] order by flow_distribution.month) as v2,
        sum(zone_m3[4] order by flow_distribution.month) as v3,
        sum(zone_m3[5] order by flow_distribution.month) as v4,
        sum(zone_m3[6] order by flow_distribution.month) as v5,
        max(flow_max_m3h) as flow_max_m3h,
        max(flow_p99_m3h) as flow_p99_m3h,
        case when bool_and(unregistered_m3 is not null) then sum(unregistered_m3 order by flow_distribution.month) end as unregistered_m3
    from flow_distribution
    join sizes on sizes.meter = flow_distribution.meter
    join criteria on criteria.month = sizes.month
        and flow_distribution.month between criteria.first_month and criteria.month
    where flow_distribution.month >= size.sized_from or flow_distribution.month = sizes.month
    group by sizes.meter, sizes.month
),

shares as (
    select
        meter,
        month,
        first_month,
        days_complete,
        unnest(size),
        case when size.q1_m3h is not null and size.q2_m3h is not null then h0 + h1 + h2 + h3 + h4 + h5 end as hours,
        case when size.q1_m3h is not null and size.q2_m3h is not null then v1 + v2 + v3 + v4 + v5 end as volume,
        h0, h1, h2, h3, h4, h5, v1, v2, v3, v4, v5,
        flow_max_m3h,
        flow_p99_m3h,
        unregistered_m3,
        case when size.reads = 'flow' then 0 else size.resolution_m3 * 60 / size.step_min end as resolution_m3h
    from summed
    join sizes using (meter, month)
),

smaller as (
    select distinct shares.meter, shares.month
    from shares
    join criteria using (month)
    join meter_catalogue as candidate
        on candidate.dn_mm < shares.dn_mm and candidate.price_cny is not null and flow_max_m3h * peak_factor <= candidate.q3_m3h
),

judged as (
    select
        shares.*,
        (h1 + h2) / nullif(hours - h0, 0) as running_below_q2,
        (v1 + v2) / nullif(volume, 0) as below_q2,
        case
            when q1_m3h is null or q2_m3h is null or q3_m3h is null then 'unknown'
            when days_complete < least_days then 'too_few_days'
            when h4 / nullif(hours, 0) > under_time_share or h5 > 0 then 'under'
            when resolution_m3h > q2_m3h then 'not_resolvable'
            when
                ((v1 + v2) / nullif(volume, 0) > over_volume_share or (h1 + h2) / nullif(hours - h0, 0) > over_time_share)
                and smaller.meter is not null
                then 'over'
            else 'fit'
        end as fit_class
    from shares
    join criteria using (month)
    left join smaller using (meter, month)
)

select
    meter,
    month,
    h1 / nullif(hours, 0) as time_below_q1,
    h2 / nullif(hours, 0) as time_q1_q2,
    h3 / nullif(hours, 0) as time_q2_q3,
    h4 / nullif(hours, 0) as time_q3_q4,
    h5 / nullif(hours, 0) as time_above_q4,
    v1 / nullif(volume, 0) as volume_below_q1,
    v2 / nullif(volume, 0) as volume_q1_q2,
    v3 / nullif(volume, 0) as volume_q2_q3,
    v4 / nullif(volume, 0) as volume_q3_q4,
    v5 / nullif(volume, 0) as volume_above_q4,
    fit_class,
    h0 / nullif(hours, 0) as time_zero,
    running_below_q2,
    resolution_m3h <= q1_m3h as q1_resolvable,
    first_month,
    days_complete,
    volume as volume_m3,
    flow_max_m3h,
    flow_p99_m3h,
    flow_p99_m3h / q3_m3h as utilisation,
    -100 * unregistered_m3 / nullif(volume, 0) as weighted_error_pct,
    dn_mm,
    q1_m3h,
    q2_m3h,
    q3_m3h,
    q4_m3h,
    case
        when fit_class in ('over', 'under', 'fit', 'not_resolvable') then printf(
            'DN%d，%s 至 %s：%.1f%% 的水量低于最小流量 Q1（%.4g m³/h），%.1f%% 低于分界流量 Q2（%.4g m³/h），%.1f%% 的时间高于常用流量 Q3（%.4g m³/h）；%s。',
            dn_mm, strftime(first_month, '%Y-%m'), strftime(month, '%Y-%m'), 100 * v1 / nullif(volume, 0), q1_m3h, 100 * below_q2, q2_m3h,
            100 * (h4 + h5) / nullif(hours, 0), q3_m3h,
            case fit_class
                when 'over' then '口径偏大，宜换小'
                when 'under' then '口径偏小，宜换大'
                when 'not_resolvable' then '读数分辨率不足，低于 Q2 的流量不可分辨'
                else '口径合适'
            end
        )
    end as conclusion_zh,
    case
        when fit_class in ('over', 'under', 'fit', 'not_resolvable') then printf(
            'DN%d, %s to %s: %.1f%% of the volume is below the minimum flow Q1 (%.4g m³/h), %.1f%% below the transitional flow Q2 (%.4g m³/h), %.1f%% of the time is above the permanent flow Q3 (%.4g m³/h); %s.',
            dn_mm, strftime(first_month, '%Y-%m'), strftime(month, '%Y-%m'), 100 * v1 / nullif(volume, 0), q1_m3h, 100 * below_q2, q2_m3h,
            100 * (h4 + h5) / nullif(hours, 0), q3_m3h,
            case fit_class
                when 'over' then 'the meter is too large, a smaller one would do'
                when 'under' then 'the meter is too small'
                when 'not_resolvable' then 'the register is too coarse to see flows below Q2'
                else 'the meter fits'
            end
        )
    end as conclusion_en
from judged

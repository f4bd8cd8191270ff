/*
zh: 换表方案
group: metrics
description: >-
  For each meter that does not fit (meter_fit of its newest month): every candidate of the catalogue from four DN below to two above, whether it passes, and what it
  would save. The saving counts what the default error curve expects the present meter to miss and the candidate to register; what the present meter never registered at all
  is not in the data, so it is a lower bound (docs/domain.md#meter-fit).
grain: [meter, candidate]
deps: [meter_fit, flow_distribution, peak_valley, meter, meter_catalogue, criterion]
partitions: whole
columns:
  meter:
  candidate: {zh: 候选水表, en: Candidate, unit: "", description: "DN, technology and class of the candidate."}
  passes: {zh: 通过, en: Passes, unit: "", description: "Its Q3 covers the highest flow with the safety factor, the pressure behind it suffices and it registers more."}
  reason: {zh: 原因, en: Reason, unit: "", description: "Why it does not pass: peak_above_q3, pressure, no_gain (registers no more than the present one) or present (it is the present one); empty where it does."}
  saving_m3_year: {zh: 年增计水量, en: Saving a year, unit: m³, description: Volume that it would register more in a year.}
  saving_cny_year: {zh: 年增收（¥）, en: Saving a year (¥), unit: "", format: "#,##0", description: "That volume at the price of the criteria (¥)."}
  payback_years: {zh: 回收期（年）, en: Payback (years), unit: "", format: "0.0", description: Price of the candidate over the yearly saving (years); empty without a saving.}
  dn_mm: {description: DN of the candidate.}
  technology: {description: Technology of the candidate.}
  class: {zh: 等级, en: Class, unit: "", description: Class of the candidate.}
  q2_m3h: {description: Transitional flow of the candidate.}
  q3_m3h: {description: Permanent flow of the candidate.}
  fit_class: {zh: 匹配结论, en: Fit now, unit: "", description: Why the meter is looked at.}
  error_now_pct: {zh: 现误差, en: Error now, unit: "%", description: Weighted error of the present meter.}
  error_then_pct: {zh: 换后误差, en: Error then, unit: "%", description: Weighted error of the candidate.}
  below_q2_now: {zh: 现低于Q2水量, en: Below Q2 now, unit: "", format: "0.0%", description: Share of the volume below Q2 of the present meter.}
  below_q2_then: {zh: 换后低于Q2水量, en: Below Q2 then, unit: "", format: "0.0%", description: Share of the volume below Q2 of the candidate.}
  head_room: {zh: 峰值裕量, en: Head-room, unit: "", format: "0%", description: Q3 of the candidate over the highest flow.}
  pressure_then_mpa: {zh: 换后最低压力, en: Pressure then, unit: MPa, description: Lowest pressure of the window less what the candidate loses more than the present meter at the highest flow; empty where pressure is not measured.}
  price_cny: {zh: 参考价（¥）, en: Price, unit: "", format: "#,##0", description: Price of the candidate (¥).}
  assumed: {zh: 假定, en: Assumed, unit: "", description: The candidate's sizes are usual values and not of a data sheet.}
*/
with newest as (
    select
        meter_fit.*,
        meter.technology as present_technology,
        coalesce(meter.pressure_low_mpa, criterion('pressure.low_mpa', month)) as limit_mpa,
        criterion('fit.peak_factor', month) as peak_factor,
        criterion('fit.start_share', month) as start_share,
        criterion('fit.error_at_q1_pct', month) / 100 as error_at_q1,
        criterion('fit.loss_at_q3_mpa', month) as loss_at_q3_mpa,
        criterion('price.water_cny_m3', month) as price_cny_m3
    from meter_fit
    join meter using (meter)
    join (select meter, max(month) as month from meter_fit group by meter) as latest using (meter, month)
    where fit_class in ('over', 'under')
),

pressures as (
    select newest.meter, min(pressure_min_mpa) as pressure_min_mpa
    from newest
    join peak_valley on peak_valley.meter = newest.meter and grain = 'day'
        and period >= first_month and period < month + interval 1 month
    group by newest.meter
),

flows as (
    select
        newest.meter,
        unnest(class) as class,
        unnest(class_h) as hours,
        unnest(class_m3) as volume_m3
    from newest
    join flow_distribution as distribution on distribution.meter = newest.meter
        and distribution.month between first_month and newest.month
),

classes as (
    -- Whole microseconds and microlitres, here and below: their sums do not depend on the order, which would cost most of all.
    select
        meter,
        class,
        sum(cast(round(volume_m3 * 1e9) as bigint)) as volume_ul,
        volume_ul / 1e9 / (sum(cast(round(hours * 3.6e9) as bigint)) / 3.6e9) as flow_m3h
    from flows
    where class > 0 and hours > 0
    group by meter, class
),

sizes as (
    select dn_mm, dense_rank() over (order by dn_mm) as place from (select distinct dn_mm from meter_catalogue)
),

candidates as (
    select
        newest.meter,
        catalogue.*,
        printf('DN%d %s %s', catalogue.dn_mm, catalogue.technology, class) as candidate
    from newest
    join sizes as present on present.dn_mm = newest.dn_mm
    join sizes as other on other.place between present.place - 4 and present.place + 2
    join meter_catalogue as catalogue on catalogue.dn_mm = other.dn_mm and price_cny is not null
),

errors as (
    -- Candidates of equal Q1 and Q2 have equal errors.
    select
        curves.meter,
        q1_m3h,
        q2_m3h,
        sum(cast(round(volume_ul * meter_error(flow_m3h, q1_m3h, q2_m3h, start_share, error_at_q1)) as bigint)) / 1e9 as error_m3,
        coalesce(sum(volume_ul) filter (where flow_m3h < q2_m3h * (1 - 1e-9)), 0) / 1e9 as below_q2_m3,
        sum(volume_ul) / 1e9 as volume_m3
    from (
        select distinct candidates.meter, candidates.q1_m3h, candidates.q2_m3h, start_share, error_at_q1
        from candidates
        join newest using (meter)
    ) as curves
    join classes using (meter)
    group by curves.meter, q1_m3h, q2_m3h
),

judged as (
    select
        newest.*,
        candidates.candidate,
        candidates.dn_mm as candidate_dn_mm,
        candidates.technology as candidate_technology,
        candidates.class as candidate_class,
        candidates.q2_m3h as candidate_q2_m3h,
        candidates.q3_m3h as candidate_q3_m3h,
        candidates.price_cny as candidate_price_cny,
        candidates.assumed as candidate_assumed,
        100 * error_m3 / nullif(errors.volume_m3, 0) as error_then_pct,
        below_q2_m3 / nullif(errors.volume_m3, 0) as below_q2_then,
        case
            when candidates.dn_mm = newest.dn_mm and candidates.technology = present_technology then 0
            else (error_m3 / nullif(errors.volume_m3, 0) - weighted_error_pct / 100) * errors.volume_m3 * 365 / nullif(days_complete, 0)
        end as saving_m3_year,
        pressure_min_mpa
        - loss_at_q3_mpa * (pow(newest.flow_max_m3h / candidates.q3_m3h, 2) - pow(newest.flow_max_m3h / newest.q3_m3h, 2)) as pressure_then_mpa
    from newest
    join candidates using (meter)
    join errors on errors.meter = newest.meter and errors.q1_m3h = candidates.q1_m3h and errors.q2_m3h = candidates.q2_m3h
    left join pressures using (meter)
),

reasoned as (
    select
        *,
        case
            when candidate_dn_mm = dn_mm and candidate_technology = present_technology then 'present'
            when flow_max_m3h * peak_factor > candidate_q3_m3h then 'peak_above_q3'
            when pressure_then_mpa < limit_mpa then 'pressure'
            when fit_class = 'over' and coalesce(saving_m3_year, 0) <= 0 then 'no_gain'
        end as reason
    from judged
)

select
    meter,
    candidate,
    reason is null as passes,
    reason,
    saving_m3_year,
    saving_m3_year * price_cny_m3 as saving_cny_year,
    case when saving_m3_year > 0 then candidate_price_cny / (saving_m3_year * price_cny_m3) end as payback_years,
    candidate_dn_mm as dn_mm,
    candidate_technology as technology,
    candidate_class as class,
    candidate_q2_m3h as q2_m3h,
    candidate_q3_m3h as q3_m3h,
    fit_class,
    weighted_error_pct as error_now_pct,
    error_then_pct,
    volume_below_q1 + volume_q1_q2 as below_q2_now,
    below_q2_then,
    candidate_q3_m3h / nullif(flow_max_m3h, 0) as head_room,
    pressure_then_mpa,
    candidate_price_cny as price_cny,
    candidate_assumed as assumed
from reasoned

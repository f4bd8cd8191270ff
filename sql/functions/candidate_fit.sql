/*
zh: 模拟换表
group: metrics
description: >-
  A meter as it is and as it would be with another meter of the catalogue: shares of time and volume by the zones of Q1 to Q4, head-room and the weighted error of
  the default curve, over the months that its fit looks at. The present meter is that of meter_fit; of the candidate the zones are
  made from the classes of flow (flow_distribution), a hundredth of a decade wide. No row for a month without a fit.
grain: [side]
deps: [meter_fit, flow_distribution, meter_catalogue, criterion]
parameters:
  meter: Name of the meter.
  month: Last month of the window, by its first day.
  candidate: "DN, technology and class of the candidate as in meter_resize: DN100 ultrasonic R200."
columns:
  side: {zh: 方案, en: Meter, unit: "", description: "now: the present meter; then: the candidate."}
  dn_mm:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
  time_zero: {zh: 无流量时间, en: Time without flow, unit: "", format: "0.0%", description: Share of the time without flow.}
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
  below_q2: {zh: 低于Q2水量, en: Volume below Q2, unit: "", format: "0.0%", description: Share of the volume below Q2.}
  head_room: {zh: 峰值裕量, en: Head-room, unit: "", format: "0%", description: Q3 over the highest flow of the window.}
  covers_peak: {zh: 覆盖峰值, en: Covers the peak, unit: "", description: Q3 covers the highest flow with the safety factor of the criteria (fit.peak_factor).}
  weighted_error_pct: {zh: 加权误差, en: Weighted error, unit: "%", description: Error weighted by volume that the default curve expects; empty without Q1 and Q2.}
*/
create or replace function mart.candidate_fit(meter text, month date, candidate text)
returns table (
    side text,
    dn_mm bigint,
    q1_m3h double precision,
    q2_m3h double precision,
    q3_m3h double precision,
    q4_m3h double precision,
    time_zero double precision,
    time_below_q1 double precision,
    time_q1_q2 double precision,
    time_q2_q3 double precision,
    time_q3_q4 double precision,
    time_above_q4 double precision,
    volume_below_q1 double precision,
    volume_q1_q2 double precision,
    volume_q2_q3 double precision,
    volume_q3_q4 double precision,
    volume_above_q4 double precision,
    below_q2 double precision,
    head_room double precision,
    covers_peak boolean,
    weighted_error_pct double precision
)
language sql stable parallel safe as $$
    with fit as (
        select
            fit.*,
            (select value from mart.criterion where name = 'fit.peak_factor' and valid_from <= fit.month
                and (valid_to is null or valid_to > fit.month)) as peak_factor,
            (select value from mart.criterion where name = 'fit.start_share' and valid_from <= fit.month
                and (valid_to is null or valid_to > fit.month)) as start_share,
            (select value / 100 from mart.criterion where name = 'fit.error_at_q1_pct' and valid_from <= fit.month
                and (valid_to is null or valid_to > fit.month)) as error_at_q1
        from mart.meter_fit as fit
        where fit.meter = $1 and fit.month = $2
    ),

    size as (
        select catalogue.*
        from mart.meter_catalogue as catalogue
        where format('DN%s %s %s', catalogue.dn_mm, catalogue.technology, catalogue.class) = $3 and catalogue.price_cny is not null
        order by standard desc
        limit 1
    ),

    classes as (
        select flow_class, sum(cell_h order by distribution.month) as hours, sum(cell_m3 order by distribution.month) as volume_m3
        from fit
        join mart.flow_distribution as distribution on distribution.meter = fit.meter and distribution.month between fit.first_month and fit.month
        cross join unnest(distribution.class, class_h, class_m3) as cells (flow_class, cell_h, cell_m3)
        where cell_h > 0
        group by flow_class
    ),

    zones as (
        select
            hours,
            classes.volume_m3,
            case
                when flow_class = 0 then 0
                when classes.volume_m3 / hours < size.q1_m3h * (1 - 1e-9) then 1
                when classes.volume_m3 / hours < size.q2_m3h * (1 - 1e-9) then 2
                when classes.volume_m3 / hours <= size.q3_m3h * (1 + 1e-9) then 3
                when classes.volume_m3 / hours <= size.q4_m3h * (1 + 1e-9) then 4
                else 5
            end as zone,
            -- As the macro meter_error of the marts.
            case
                when flow_class = 0 or classes.volume_m3 / hours >= size.q2_m3h then 0
                when classes.volume_m3 / hours >= size.q1_m3h then error_at_q1 * (size.q2_m3h - classes.volume_m3 / hours) / (size.q2_m3h - size.q1_m3h)
                when classes.volume_m3 / hours < start_share * size.q1_m3h then -1
                else -1 + (1 + error_at_q1) * (classes.volume_m3 / hours - start_share * size.q1_m3h) / ((1 - start_share) * size.q1_m3h)
            end as error
        from classes
        cross join fit
        cross join size
    ),

    sums as (
        select
            sum(hours order by zone) as hours,
            sum(volume_m3 order by zone) as volume_m3,
            array_agg(zone_h order by zone) as zone_h,
            array_agg(zone_m3 order by zone) as zone_m3,
            sum(error_m3) as error_m3
        from (
            select
                zone,
                coalesce(sum(hours), 0) as hours,
                coalesce(sum(volume_m3), 0) as volume_m3,
                coalesce(sum(hours), 0) as zone_h,
                coalesce(sum(volume_m3), 0) as zone_m3,
                coalesce(sum(volume_m3 * error), 0) as error_m3
            from generate_series(0, 5) as zone
            left join zones using (zone)
            group by zone
        ) as summed
    )

    select
        'now',
        fit.dn_mm, fit.q1_m3h, fit.q2_m3h, fit.q3_m3h, fit.q4_m3h,
        fit.time_zero, fit.time_below_q1, fit.time_q1_q2, fit.time_q2_q3, fit.time_q3_q4, fit.time_above_q4,
        fit.volume_below_q1, fit.volume_q1_q2, fit.volume_q2_q3, fit.volume_q3_q4, fit.volume_above_q4,
        fit.volume_below_q1 + fit.volume_q1_q2,
        fit.q3_m3h / nullif(fit.flow_max_m3h, 0),
        fit.flow_max_m3h * peak_factor <= fit.q3_m3h,
        fit.weighted_error_pct
    from fit
    union all
    select
        'then',
        size.dn_mm, size.q1_m3h, size.q2_m3h, size.q3_m3h, size.q4_m3h,
        zone_h[1] / nullif(hours, 0), zone_h[2] / nullif(hours, 0), zone_h[3] / nullif(hours, 0),
        zone_h[4] / nullif(hours, 0), zone_h[5] / nullif(hours, 0), zone_h[6] / nullif(hours, 0),
        zone_m3[2] / nullif(sums.volume_m3, 0), zone_m3[3] / nullif(sums.volume_m3, 0), zone_m3[4] / nullif(sums.volume_m3, 0),
        zone_m3[5] / nullif(sums.volume_m3, 0), zone_m3[6] / nullif(sums.volume_m3, 0),
        (zone_m3[2] + zone_m3[3]) / nullif(sums.volume_m3, 0),
        size.q3_m3h / nullif(fit.flow_max_m3h, 0),
        fit.flow_max_m3h * peak_factor <= size.q3_m3h,
        100 * error_m3 / nullif(sums.volume_m3, 0)
    from fit
    cross join size
    cross join sums
$$

/*
zh: 夜间流量
group: metrics
description: >-
  Lowest flow of an hour in the night window against the median of the comparable nights before it (same kind of day), and where it has stayed above
  that for some nights the loss that it would be (docs/domain.md#night-flow). A night that is not known neither raises nor clears. Never suspected: a meter
  whose point runs always, or whose nights are no lower than its days. Looks back so many nights as the baseline has, for a first suspect night as well.
grain: [meter, day]
deps: [interval_reading, registry, calendar, meter]
partitions: night
columns:
  meter:
  day:
  night_min_m3h: {zh: 夜间最小流量, en: Night flow, unit: m³/h, description: Lowest mean of an hour in the night window; empty where less than 6 of 8 quarters are known.}
  baseline_m3h: {zh: 夜间基线, en: Baseline, unit: m³/h, description: Median of the comparable nights before.}
  suspected: {zh: 疑似漏水, en: Suspected, unit: "", description: A leak is suspected.}
  loss_m3_day: {zh: 日漏失量, en: Loss a day, unit: m³, description: "What the night flow above the baseline is in 24 hours, where a leak is suspected."}
  loss_cny_month: {zh: 月损失金额, en: Loss a month (¥), unit: "", format: "#,##0", description: The loss in 30 days at the price of the criteria (¥).}
  since: {zh: 起始夜, en: Since, unit: "", format: yyyy-mm-dd, description: First suspect night of those in a row.}
  nights: {zh: 连续可疑夜数, en: Nights, unit: "", format: "0", description: Suspect nights in a row up to this one.}
  limit_m3h: {zh: 可疑界限, en: Limit, unit: m³/h, description: Night flow above which a night is suspect.}
  baseline_nights: {zh: 基线夜数, en: Nights of the baseline, unit: "", format: "0", description: Known comparable nights that the baseline is made from.}
  day_ratio: {zh: 夜昼比, en: Night to day, unit: "", format: "0.00", description: Baseline over the median of the mean flows of the same days.}
*/
with window_of as (
    select max(criterion('night.baseline_nights', day)) as nights from touched_night
),

needed as (
    select distinct cast(day - cast(back as integer) as date) as day, cast(back <= nights as boolean) as in_row
    from touched_night, window_of, generate_series(0, cast(2 * nights as bigint)) as earlier (back)
),

days as (
    select
        day,
        bool_or(in_row) as in_row,
        date_diff('day', date '2000-01-01', day) as number,
        cast(criterion('night.baseline_nights', day) as bigint) as reach,
        criterion('night.mad_factor', day) as mad_factor,
        criterion('night.least_m3h', day) as least_m3h,
        criterion('night.nights', day) as least_nights,
        criterion('night.least_baseline', day) as least_baseline,
        criterion('night.continuous_ratio', day) as continuous_ratio,
        criterion('price.water_cny_m3', day) as price
    from needed
    group by day
),

nights as (
    select
        unit_day.meter,
        day,
        number,
        reach,
        in_row,
        night_min_nlh / 1e12 as night_min_m3h,
        known_volume_nl / 1e12 / nullif(known_us / 3.6e9, 0) as mean_m3h,
        day_kind = 'work' as is_work,
        coalesce(resolution_m3, 0) as resolution_m3,
        coalesce(points.runs_always = 'yes', false) as runs_always
    from unit_day
    join days using (day)
    join calendar using (day)
    left join meter using (meter)
    left join registry.points using (meter)
),

compared as (
    select
        *,
        median(night_min_m3h) over before as baseline_m3h,
        mad(night_min_m3h) over before as mad_m3h,
        count(night_min_m3h) over before as baseline_nights,
        median(case when night_min_m3h is not null then mean_m3h end) over before as usual_m3h
    from nights
    window before as (partition by meter, is_work order by number range between reach preceding and 1 preceding)
),

judged as (
    select
        *,
        case when baseline_nights >= least_baseline then baseline_m3h + greatest(mad_factor * mad_m3h, resolution_m3, least_m3h) end as limit_m3h,
        baseline_m3h / nullif(usual_m3h, 0) as day_ratio,
        night_min_m3h > limit_m3h and not runs_always and coalesce(day_ratio < continuous_ratio, true) as is_high
    from compared
    join days using (day, number, reach, in_row)
    where in_row
),

rows_of as (
    select *, count(*) filter (where not is_high) over (partition by meter order by number) as clear_nights
    from judged
),

counted as (
    select
        *,
        count(*) filter (where is_high) over in_a_row as nights_in_row,
        min(day) filter (where is_high) over in_a_row as first_high
    from rows_of
    window in_a_row as (partition by meter, clear_nights order by number range between reach preceding and current row)
)

select
    meter,
    day,
    night_min_m3h,
    case when baseline_nights >= least_baseline then baseline_m3h end as baseline_m3h,
    nights_in_row >= least_nights as suspected,
    case when nights_in_row >= least_nights then (night_min_m3h - baseline_m3h) * 24 end as loss_m3_day,
    case when nights_in_row >= least_nights then (night_min_m3h - baseline_m3h) * 24 * 30 * price end as loss_cny_month,
    first_high as since,
    nights_in_row as nights,
    limit_m3h,
    baseline_nights,
    day_ratio
from counted
join touched_night using (day)

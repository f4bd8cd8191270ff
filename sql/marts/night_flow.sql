/*
zh: 夜间流量
group: metrics
description: >-
  Lowest flow of an hour in the night window against the median of the comparable nights before it (same kind of day), and where it has stayed above
  that for some nights the loss that it would be (docs/domain.md#night-flow). A night that is not known neither raises nor clears. Never suspected: a meter
  whose point runs always, or whose nights are no lower than its days. Looks back so many nights as the baseline has, for a first suspect night as well.
grain: [meter, day]
deps: [night_level, meter]
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
with days as (
    select
        day,
        date_diff('day', date '2000-01-01', day) as number,
        cast(criterion('night.baseline_nights', day) as bigint) as reach,
        criterion('night.mad_factor', day) as mad_factor,
        criterion('night.least_m3h', day) as least_m3h,
        criterion('night.nights', day) as least_nights,
        criterion('night.least_baseline', day) as least_baseline,
        criterion('night.continuous_ratio', day) as continuous_ratio,
        criterion('price.water_cny_m3', day) as price
    from (
        select distinct cast(day - cast(back as integer) as date) as day
        from touched_night, generate_series(0, cast(criterion('night.baseline_nights', day) as bigint)) as earlier (back)
    )
),

judged as (
    select
        night_level.meter,
        day,
        number,
        reach,
        night_min_m3h,
        baseline_nights,
        least_nights,
        price,
        case when baseline_nights >= least_baseline then night_level.baseline_m3h end as own_m3h,
        own_m3h + greatest(mad_factor * mad_m3h, coalesce(resolution_m3, 0), least_m3h) as limit_m3h,
        night_level.baseline_m3h / nullif(usual_m3h, 0) as day_ratio,
        night_min_m3h > limit_m3h and not coalesce(runs_always, false) and coalesce(day_ratio < continuous_ratio, true) as is_high
    from night_level
    join days using (day)
    left join meter using (meter)
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
    own_m3h as baseline_m3h,
    nights_in_row >= least_nights as suspected,
    case when nights_in_row >= least_nights then (night_min_m3h - own_m3h) * 24 end as loss_m3_day,
    case when nights_in_row >= least_nights then (night_min_m3h - own_m3h) * 24 * 30 * price end as loss_cny_month,
    first_high as since,
    nights_in_row as nights,
    limit_m3h,
    baseline_nights,
    day_ratio
from counted
join touched_night using (day)

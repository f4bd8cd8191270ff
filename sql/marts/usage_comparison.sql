/*
zh: 环比同比
group: metrics
description: >-
  Volume of a day, month or year against the period before and the same period a year ago, as changes and as growth rates in percent of the base's
  absolute value; a base that is missing or 0 gives no rate (docs/domain.md#growth-rates). comparable: both periods are complete. A month or year whose
  end is not known, as the current one, is compared up to its last known day with the same part of its bases: elapsed_part.
grain: [meter, grain, period]
deps: [daily_usage, monthly_usage, yearly_usage, calendar]
partitions: comparison
columns:
  meter:
  grain:
  period:
  volume_m3: {description: Volume of the period or of its elapsed part; empty where it is not known.}
  previous_m3: {zh: 上期水量, en: Previous, unit: m³, description: Volume of the period before.}
  change_pct: {zh: 环比, en: Change, unit: "%", description: Growth on the period before; empty where the base is missing or 0.}
  last_year_m3: {zh: 去年同期, en: Last year, unit: m³, description: Volume of the same period a year ago.}
  yoy_pct: {zh: 同比, en: Year on year, unit: "%", description: Growth on the same period a year ago; empty where the base is missing or 0.}
  previous_comparable: {zh: 环比可比, en: Change comparable, unit: "", description: The period and the one before are complete.}
  last_year_comparable: {zh: 同比可比, en: Year on year comparable, unit: "", description: The period and the same one a year ago are complete.}
  change_m3: {zh: 环比增减量, en: Change, unit: m³, description: Volume less that of the period before.}
  yoy_m3: {zh: 同比增减量, en: Year on year, unit: m³, description: Volume less that of the same period a year ago.}
  elapsed_part: {zh: 同进度, en: Elapsed part, unit: "", description: The period and its bases are compared up to the day last_day only.}
  last_day: {zh: 截至日期, en: Up to, unit: "", format: yyyy-mm-dd, description: "Last known day of a period whose end is not known; empty where the whole is compared."}
  aligned_m3: {zh: 去年同周日水量, en: Same weekday last year, unit: m³, description: "Volume of the same day of the week a year ago, 364 days before; of days only."}
  aligned_pct: {zh: 同周日同比, en: On the same weekday, unit: "%", description: Growth on the same day of the week a year ago; empty where the base is missing or 0.}
  coverage: {description: "Share of the period, or of its elapsed part, in which the curve is known, 0 to 1."}
  previous_coverage: {zh: 上期覆盖率, en: Previous coverage, unit: "", format: "0.0%", description: "Coverage of the period before, 0 to 1."}
  last_year_coverage: {zh: 去年同期覆盖率, en: Coverage last year, unit: "", format: "0.0%", description: "Coverage of the same period a year ago, 0 to 1."}
  coverage_warning: {zh: 基期覆盖不足, en: Base incomplete, unit: "", description: A base that is compared with has less coverage than the criterion coverage.period.}
  festival: {zh: 移动节日, en: Festival, unit: "", description: "Festival whose date moves between years and that lies in or near the period or one of its bases, as in the calendar; else empty."}
*/
with volumes as (
    select meter, 'day' as grain, day as period, volume_m3, complete, coverage from daily_usage
    where day in (select unnest([period, previous, last_year, aligned]) from touched_period where grain = 'day')
    union all
    select meter, 'month', month, volume_m3, complete, coverage from monthly_usage
    where month in (select unnest([period, previous, last_year]) from touched_period where grain = 'month')
    union all
    select meter, 'year', year, volume_m3, complete, coverage from yearly_usage
    where year in (select unnest([period, previous, last_year]) from touched_period where grain = 'year')
),

unfinished as (
    -- The month of the last known day of a period without a volume.
    select volumes.meter, touched_period.*, max(month) as month
    from volumes
    join touched_period using (grain, period)
    join monthly_usage
        on monthly_usage.meter = volumes.meter and month >= period
        and month < period + case grain when 'year' then interval 1 year else interval 1 month end
    where grain <> 'day' and volumes.volume_m3 is null and measured_m3 is not null
    group by all
),

days as (
    select unnest(generate_series(month, month + interval 1 month - interval 1 day, interval 1 day))::date as day, month
    from (select distinct unnest([
        month, cast(month - interval 1 year as date), case grain when 'month' then cast(month - interval 1 month as date) end
    ]) as month from unfinished)
),

daily as (
    -- Whole microlitres and billionths of a day: their sums are the same in whatever order.
    select meter, month, day, cast(volume_m3 * 1e9 as bigint) as volume_ul, cast(coverage * 1e9 as bigint) as known_days
    from daily_usage
    join days using (day)
    where volume_m3 is not null or coverage > 0
),

elapsed as (
    select unfinished.*, max(day) as last_day
    from unfinished
    join daily using (meter, month)
    where volume_ul is not null
    group by all
    having max(day) < cast(period + case grain when 'year' then interval 1 year else interval 1 month end - interval 1 day as date)
),

spans as (
    select meter, grain, period, 'own' as base, period as first_day, last_day from elapsed
    union all
    select meter, grain, period, 'last_year', last_year, cast(last_day - interval 1 year as date) from elapsed
    union all
    select
        meter,
        grain,
        period,
        'previous',
        previous,
        case grain when 'year' then cast(last_day - interval 1 year as date) else least(previous + cast(last_day - period as integer), period - 1) end
    from elapsed
),

pieces as (
    select spans.meter, grain, period, base, first_day, last_day, volume_ul, known_days
    from spans
    join daily on daily.meter = spans.meter and daily.month = date_trunc('month', last_day) and day <= last_day
    union all
    select
        spans.meter,
        grain,
        period,
        base,
        first_day,
        last_day,
        cast(coalesce(volume_m3, measured_m3) * 1e9 as bigint),
        cast(coverage * days_in_month * 1e9 as bigint)
    from spans
    join monthly_usage
        on monthly_usage.meter = spans.meter and monthly_usage.month >= first_day and monthly_usage.month < date_trunc('month', last_day)
    where grain = 'year'
),

parts as (
    select
        meter,
        grain,
        period,
        base,
        any_value(last_day) as last_day,
        sum(volume_ul) / 1e9 as volume_m3,
        sum(known_days) / 1e9 / (any_value(last_day) - any_value(first_day) + 1) as coverage
    from pieces
    group by meter, grain, period, base
),

bases as (
    -- Each row with its bases: of an elapsed part their parts, else the whole.
    select
        now.meter,
        now.grain,
        now.period,
        own.last_day,
        if(own.last_day is null, now.volume_m3, own.volume_m3) as volume_m3,
        if(own.last_day is null, now.coverage, own.coverage) as coverage,
        if(own.last_day is null, before.volume_m3, part_before.volume_m3) as previous_m3,
        if(own.last_day is null, before.coverage, part_before.coverage) as previous_coverage,
        if(own.last_day is null, year_ago.volume_m3, part_year_ago.volume_m3) as last_year_m3,
        if(own.last_day is null, year_ago.coverage, part_year_ago.coverage) as last_year_coverage,
        aligned.volume_m3 as aligned_m3,
        own.last_day is null and coalesce(now.complete and before.complete, false) as previous_comparable,
        own.last_day is null and coalesce(now.complete and year_ago.complete, false) as last_year_comparable,
        previous,
        last_year
    from volumes as now
    join touched_period using (grain, period)
    left join volumes as before on before.meter = now.meter and before.grain = now.grain and before.period = previous
    left join volumes as year_ago on year_ago.meter = now.meter and year_ago.grain = now.grain and year_ago.period = last_year
    left join volumes as aligned on aligned.meter = now.meter and aligned.grain = now.grain and aligned.period = touched_period.aligned
    left join parts as own on own.meter = now.meter and own.grain = now.grain and own.period = now.period and own.base = 'own'
    left join parts as part_before
        on part_before.meter = now.meter and part_before.grain = now.grain and part_before.period = now.period and part_before.base = 'previous'
    left join parts as part_year_ago
        on part_year_ago.meter = now.meter and part_year_ago.grain = now.grain and part_year_ago.period = now.period
        and part_year_ago.base = 'last_year'
),

least_coverage as (
    select grain, period, criterion('coverage.period', period) as share from touched_period
),

festivals as (
    select 'day' as grain, day as period, festival from calendar where festival is not null
    union all
    select 'month', month, min(festival) from calendar where festival is not null group by month
)

select
    meter,
    bases.grain,
    bases.period,
    volume_m3,
    previous_m3,
    100 * (volume_m3 - previous_m3) / nullif(abs(previous_m3), 0) as change_pct,
    last_year_m3,
    100 * (volume_m3 - last_year_m3) / nullif(abs(last_year_m3), 0) as yoy_pct,
    previous_comparable,
    last_year_comparable,
    volume_m3 - previous_m3 as change_m3,
    volume_m3 - last_year_m3 as yoy_m3,
    last_day is not null as elapsed_part,
    last_day,
    aligned_m3,
    100 * (volume_m3 - aligned_m3) / nullif(abs(aligned_m3), 0) as aligned_pct,
    coverage,
    previous_coverage,
    last_year_coverage,
    coalesce(previous_m3 is not null and previous_coverage < share, false)
    or coalesce(last_year_m3 is not null and last_year_coverage < share, false) as coverage_warning,
    coalesce(own_festival.festival, year_ago_festival.festival, before_festival.festival) as festival
from bases
join least_coverage using (grain, period)
left join festivals as own_festival on own_festival.grain = bases.grain and own_festival.period = bases.period
left join festivals as year_ago_festival on year_ago_festival.grain = bases.grain and year_ago_festival.period = last_year
left join festivals as before_festival on before_festival.grain = bases.grain and before_festival.period = previous

/*
zh: 自由比
group: metrics
description: >-
  The volume of any days a of a meter, or of a customer, against that of any other days b, the base: known days are summed, of a customer those of its
  meters on the days on which they were its own; the rate is in percent of the base's absolute value (docs/domain.md#growth-rates).
grain: []
deps: [daily_usage, meter_history, criterion]
parameters:
  meter: Name of the meter; null to compare a customer.
  a_first: First local day of a.
  a_last: Last local day of a, included.
  b_first: First local day of b.
  b_last: Last local day of b, included.
  customer_no: Number of the customer; not given to compare a meter.
columns:
  a_m3: {zh: 比较期水量, en: Volume a, unit: m³, description: Volume of the days a that are known; empty where none is.}
  b_m3: {zh: 基期水量, en: Volume b, unit: m³, description: Volume of the days b that are known; empty where none is.}
  change_m3: {zh: 增减量, en: Change, unit: m³, description: Volume a less volume b.}
  change_pct: {zh: 增减率, en: Growth, unit: "%", description: Growth from b to a; empty where b is missing or 0.}
  a_day_m3: {zh: 比较期日均, en: Mean day a, unit: m³, description: Mean volume of a known day of a; for periods of different lengths.}
  b_day_m3: {zh: 基期日均, en: Mean day b, unit: m³, description: Mean volume of a known day of b; for periods of different lengths.}
  a_coverage: {zh: 比较期覆盖率, en: Coverage a, unit: "", format: "0.0%", description: "Share of a in which the curve is known, 0 to 1: the mean of meters and days."}
  b_coverage: {zh: 基期覆盖率, en: Coverage b, unit: "", format: "0.0%", description: "Share of b in which the curve is known, 0 to 1: the mean of meters and days."}
  comparable: {zh: 可比, en: Comparable, unit: "", description: Every day of both is complete.}
  coverage_warning: {zh: 基期覆盖不足, en: Base incomplete, unit: "", description: The base has less coverage than the criterion coverage.period.}
*/
create or replace function mart.compare_periods(
    meter text, a_first date, a_last date, b_first date, b_last date, customer_no text default null
)
returns table (
    a_m3 double precision,
    b_m3 double precision,
    change_m3 double precision,
    change_pct double precision,
    a_day_m3 double precision,
    b_day_m3 double precision,
    a_coverage double precision,
    b_coverage double precision,
    comparable boolean,
    coverage_warning boolean
)
language sql stable parallel safe as $$
    with spans as (
        select $1 as meter, cast('-infinity' as date) as first_day, cast('infinity' as date) as last_day where $1 is not null
        union all
        select history.meter, coalesce(history.first_day, '-infinity'), coalesce(history.last_day, 'infinity')
        from mart.meter_history as history
        where $1 is null and history.customer_no = $6
    ),

    days as (
        select distinct period, spans.meter, cast(day as date) as day
        from (values ('a', $2, $3), ('b', $4, $5)) as periods (period, first_day, last_day)
        cross join generate_series(periods.first_day, periods.last_day, interval '1 day') as day
        join spans on day between spans.first_day and spans.last_day
    ),

    sums as (
        select
            period,
            sum(volume_m3 order by day, meter) as volume_m3,
            count(distinct day) filter (where volume_m3 is not null) as days,
            avg(coalesce(coverage, 0) order by day, meter) as coverage,
            bool_and(coalesce(complete, false)) as complete
        from days
        left join mart.daily_usage using (meter, day)
        group by period
    )

    select
        a.volume_m3,
        b.volume_m3,
        a.volume_m3 - b.volume_m3,
        100 * (a.volume_m3 - b.volume_m3) / nullif(abs(b.volume_m3), 0),
        a.volume_m3 / nullif(a.days, 0),
        b.volume_m3 / nullif(b.days, 0),
        a.coverage,
        b.coverage,
        a.complete and b.complete,
        b.coverage < (
            select value from mart.criterion
            where name = 'coverage.period' and valid_from <= $4 and (valid_to is null or valid_to > $4)
        )
    from (select * from sums where period = 'a') as a
    full join (select * from sums where period = 'b') as b on true
$$

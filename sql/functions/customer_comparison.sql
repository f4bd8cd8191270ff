/*
zh: 客户月用水对比
group: metrics
description: >-
  The newest 13 months of a customer, each against the month before and the same month a year ago, as `compare_periods` has them. The month that runs is
  compared up to yesterday with the same days: elapsed_part.
grain: [period]
deps: [compare_periods]
parameters:
  customer_no: Number of the customer.
  today: The utility's local day.
columns:
  period:
  elapsed_part: {zh: 同进度, en: Elapsed part, unit: "", description: The month and its bases are compared up to yesterday only.}
  volume_m3: {description: Volume of the month or of its elapsed part; empty where none of it is known.}
  previous_m3: {zh: 上期水量, en: Previous, unit: m³, description: Volume of the month before.}
  change_pct: {zh: 环比, en: Change, unit: "%", description: Growth on the month before; empty where the base is missing or 0.}
  last_year_m3: {zh: 去年同期, en: Last year, unit: m³, description: Volume of the same month a year ago.}
  yoy_pct: {zh: 同比, en: Year on year, unit: "%", description: Growth on the same month a year ago; empty where the base is missing or 0.}
  coverage: {description: "Share of the month, or of its elapsed part, in which the curve is known, 0 to 1."}
*/
create or replace function mart.customer_comparison(customer_no text, today date)
returns table (
    period date,
    elapsed_part boolean,
    volume_m3 double precision,
    previous_m3 double precision,
    change_pct double precision,
    last_year_m3 double precision,
    yoy_pct double precision,
    coverage double precision
)
language sql stable parallel safe as $$
    with months as (
        select
            cast(month as date) as first_day,
            least(cast(month + interval '1 month' as date), $2) - 1 as last_day,
            cast(month + interval '1 month' as date) > $2 as runs
        from generate_series(date_trunc('month', $2 - 1) - interval '12 months', $2 - 1, interval '1 month') as month
    ),

    spans as (
        select
            months.*,
            cast(first_day - interval '1 month' as date) as before_first,
            least(cast(first_day - interval '1 month' as date) + case when runs then last_day - first_day else 31 end, first_day - 1) as before_last,
            cast(first_day - interval '1 year' as date) as ago_first,
            least(
                cast(first_day - interval '1 year' as date) + case when runs then last_day - first_day else 31 end,
                cast(first_day - interval '11 months' as date) - 1
            ) as ago_last
        from months
    )

    select
        spans.first_day,
        spans.runs,
        before.a_m3,
        before.b_m3,
        before.change_pct,
        ago.b_m3,
        ago.change_pct,
        before.a_coverage
    from spans
    cross join lateral mart.compare_periods(null, first_day, last_day, before_first, before_last, $1) as before
    cross join lateral mart.compare_periods(null, first_day, last_day, ago_first, ago_last, $1) as ago
    order by 1
$$

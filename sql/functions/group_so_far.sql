/*
zh: 分组近况
group: metrics
description: >-
  The last finished day of a network, line, industry, region … or of everybody (kind and code all) against the same day a week before, and its month
  so far against the same days of the month before. A day of which nothing is known is on neither side of the month's comparison.
grain: []
deps: [group_usage]
parameters:
  kind: What the code stands for, a kind of relation; all for everybody.
  code: Code within its kind; all for everybody.
  on_day: The local day that has not ended; the one before is the last finished one.
columns:
  day: {description: The last finished day.}
  volume_m3: {description: Volume of the last finished day.}
  week_change_pct: {zh: 比上周同日, en: On last week, unit: "%", description: Growth on the same day a week before.}
  month_m3: {zh: 本月累计, en: Month so far, description: Volume of the finished days of the month.}
  month_change_pct: {zh: 比上月同期, en: On last month, unit: "%", description: "Growth on the same days of the month before."}
  complete: {description: Every meter is complete on the last finished day.}
*/
create or replace function mart.group_so_far(kind text, code text, on_day date)
returns table (
    day date, volume_m3 double precision, week_change_pct double precision, month_m3 double precision, month_change_pct double precision, complete boolean
)
language sql stable parallel safe as $$
    with days as (
        select period, usage.volume_m3, usage.complete
        from mart.group_usage as usage
        where usage.kind = $1 and usage.code = $2 and grain = 'day' and period between $3 - 70 and $3 - 1
    ),

    month as (
        select now.period, now.volume_m3, before.volume_m3 as before_m3
        from days as now
        left join days as before
            on before.period = cast(now.period - interval '1 month' as date)
            and extract(day from before.period) = extract(day from now.period)
        where date_trunc('month', now.period) = date_trunc('month', $3 - 1)
    )

    select
        last.period,
        last.volume_m3,
        100 * (last.volume_m3 / nullif(week.volume_m3, 0) - 1),
        (select sum(month.volume_m3 order by period) from month),
        (
            select 100 * (sum(month.volume_m3 order by period) filter (where before_m3 is not null) / nullif(sum(before_m3 order by period), 0) - 1)
            from month
            where month.volume_m3 is not null
        ),
        last.complete
    from days as last
    left join days as week on week.period = last.period - 7
    where last.period = $3 - 1
$$

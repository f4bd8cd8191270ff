/*
zh: 今日累计对比
group: usage
description: >-
  What the meters of all customers took on a local day so far (inlets of zones do not count), against the same hours of the day before and of the same day a week before. Each comparison counts the
  hours of those meters whose volume is known on both days, so that what has not come yet is on neither side.
grain: []
deps: [hourly_usage, meter]
parameters:
  on_day: The local day.
columns:
  until_at: {zh: 截至, en: Until, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the last hour of the day of which a volume is known.}
  volume_m3: {description: Sum of the known hours of the day.}
  change_pct: {zh: 比昨日同时刻, en: On yesterday, unit: "%", description: "Growth on the same hours of the day before, of meters known on both."}
  week_change_pct: {zh: 比上周同时刻, en: On last week, unit: "%", description: "Growth on the same hours a week before, of meters known on both."}
  meters: {description: Meters with a known hour.}
*/
create or replace function mart.supply_so_far(on_day date)
returns table (until_at timestamptz, volume_m3 double precision, change_pct double precision, week_change_pct double precision, meters bigint)
language sql stable parallel safe as $$
    with hours as (
        select meter, day, hour_start, usage.volume_m3
        from mart.hourly_usage as usage
        where
            day in ($1, $1 - 1, $1 - 7) and usage.volume_m3 is not null
            and not exists (select 1 from mart.meter where meter.meter = usage.meter and meter.inlet_of is not null)
    ),

    pairs as (
        select
            max(hour_start) filter (where day = $1) as hour_start,
            max(hours.volume_m3) filter (where day = $1) as volume_m3,
            max(hours.volume_m3) filter (where day = $1 - 1) as before_m3,
            max(hours.volume_m3) filter (where day = $1 - 7) as week_m3,
            meter
        from hours
        join (select day, min(hour_start) as midnight from hours group by day) as first_hour using (day)
        group by meter, hour_start - midnight
    )

    select
        max(hour_start) + interval '1 hour',
        sum(pairs.volume_m3),
        100 * (
            sum(pairs.volume_m3) filter (where before_m3 is not null)
            / nullif(sum(before_m3) filter (where pairs.volume_m3 is not null), 0) - 1
        ),
        100 * (
            sum(pairs.volume_m3) filter (where week_m3 is not null)
            / nullif(sum(week_m3) filter (where pairs.volume_m3 is not null), 0) - 1
        ),
        count(distinct meter) filter (where pairs.volume_m3 is not null)
    from pairs
    having count(pairs.volume_m3) > 0
$$

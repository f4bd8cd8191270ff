/*
zh: 日读数
group: cleaned
description: Where the register of a meter stood at the end of each local day, and what ran through it on the day.
grain: [day]
deps: [daily_usage, interval_reading, data_quality]
parameters:
  meter: Name of the meter.
  first_day: First local day.
  last_day: Last local day, included.
columns:
  day:
  register_m3: {description: Last register of the day that is known.}
  register_at: {zh: 读数时间, en: Read at, unit: "", format: "yyyy-mm-dd hh:mm", description: When that was.}
  volume_m3: {description: Volume of the day; empty where an end of the day is not known.}
  reverse_m3:
  coverage: {description: "Share of the day in which the curve is known, 0 to 1."}
  replaced: {zh: 换表, en: Meter changed, unit: "", description: The meter was changed on the day.}
*/
create or replace function mart.register_days(meter text, first_day date, last_day date)
returns table (
    day date,
    register_m3 double precision,
    register_at timestamptz,
    volume_m3 double precision,
    reverse_m3 double precision,
    coverage double precision,
    replaced boolean
)
language sql stable parallel safe as $$
    select
        days.day,
        last_read.register_m3,
        last_read.interval_end,
        days.volume_m3,
        days.reverse_m3,
        days.coverage,
        coalesce(quality.replacements > 0, false)
    from mart.daily_usage as days
    left join mart.data_quality as quality on quality.meter = $1 and quality.day = days.day
    left join lateral (
        select reading.register_m3, reading.interval_end
        from mart.interval_reading as reading
        where reading.meter = $1 and reading.day = days.day and reading.register_m3 is not null
        order by reading.interval_end desc
        limit 1
    ) as last_read on true
    where days.meter = $1 and days.day between $2 and $3
    order by 1
$$

/*
zh: 逐时总水量
group: usage
description: What the meters of all customers took (inlets of zones do not count) in each local clock hour of some days, with the meters of which that is known.
grain: [hour_start]
deps: [hourly_usage, meter]
parameters:
  first_day: First local day.
  last_day: Last local day, included.
columns:
  hour_start:
  day:
  volume_m3: {description: Sum of the volumes that are known; empty where none is.}
  meters: {description: Meters whose volume of the hour is known.}
*/
create or replace function mart.supply_by_hour(first_day date, last_day date)
returns table (hour_start timestamptz, day date, volume_m3 double precision, meters bigint)
language sql stable parallel safe as $$
    select usage.hour_start, usage.day, sum(usage.volume_m3 order by meter), count(usage.volume_m3)
    from mart.hourly_usage as usage
    where
        usage.day between $1 and $2
        and not exists (select 1 from mart.meter where meter.meter = usage.meter and meter.inlet_of is not null)
    group by usage.hour_start, usage.day
    order by 1
$$

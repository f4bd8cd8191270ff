/*
zh: 节点用水量
en: Demands of nodes
description: >-
  Volume of each node of the network model and local clock hour: the sum of the customers' meters at it that a terminal reads. Where one of them
  is not known in the hour the volume is empty, never a part of it. `inp` is a fragment of EPANET's input: base demands and patterns.
grain: [node, hour_start]
deps: [hourly_usage, meter]
cut: day
files: [csv, parquet, inp]
columns:
  node: {type: text}
  day: {type: day}
  hour_start: {type: time}
  volume_m3: {type: number, description: Volume of the node in the hour; empty where that of a meter is not known.}
  meters: {type: integer, description: Customers' meters at the node that a terminal reads.}
  meters_known: {type: integer, zh: 已知水表数, en: Meters known, unit: "", description: Those whose volume of the hour is known.}
*/
with hours as (
    select distinct day, hour_start from hourly_usage
),

points as (
    select
        meter,
        node,
        coalesce(installed_on, date '0001-01-01') as installed_on,
        coalesce(removed_on, date '9999-12-31') as removed_on
    from meter
    where node is not null and inlet_of is null and source <> 'manual'
)

select
    points.node,
    hours.day,
    hours.hour_start,
    case when count(hourly_usage.volume_m3) = count(*) then sum(hourly_usage.volume_m3 order by points.meter) end as volume_m3,
    count(*) as meters,
    count(hourly_usage.volume_m3) as meters_known
from hours
join points on hours.day >= points.installed_on and hours.day <= points.removed_on
left join hourly_usage on hourly_usage.meter = points.meter and hourly_usage.hour_start = hours.hour_start
group by points.node, hours.day, hours.hour_start

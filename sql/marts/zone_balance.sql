/*
zh: 分区水量平衡
group: metrics
description: >-
  What came into a zone on a day and what its customers took, for each network, line or region of which the registry names inlets (points.inlet_of); an inlet counts
  forward less reverse. A missing inlet leaves the balance empty; a missing customer lowers what they took, and complete says so. Night flows are the
  lowest of an hour in the night window; of several meters their sum.
grain: [kind, code, day]
deps: [interval_reading, registry, relation]
partitions: day
columns:
  kind: {description: "What the zone is: network, line or region."}
  code: {zh: 分区代码, en: Zone, unit: "", description: Code of the zone.}
  day:
  inlet_m3: {zh: 供入水量, en: Supplied, unit: m³, description: Volume through all inlets; empty where one is not known.}
  customers_m3: {zh: 用户水量, en: Customers, unit: m³, description: Volume of the customers whose day is known.}
  balance_m3: {zh: 平衡差, en: Balance, unit: m³, description: Supplied less what the customers took.}
  balance_share: {zh: 平衡差占比, en: Balance share, unit: "", format: "0.0%", description: The balance over what was supplied.}
  inlets: {zh: 入口数, en: Inlets, unit: "", format: "#,##0", description: Inlets of the zone.}
  customers: {zh: 用户表数, en: Customers' meters, unit: "", format: "#,##0", description: Meters in the zone that are no inlets of it.}
  customers_known: {zh: 已知用户表数, en: Known, unit: "", format: "#,##0", description: Meters of customers whose day is known.}
  complete: {description: Every inlet and every customer is known.}
  inlet_night_m3h: {zh: 入口夜间流量, en: Night flow supplied, unit: m³/h, description: Night flow of the inlets; empty where one is not known.}
  customers_night_m3h: {zh: 大用户夜间流量, en: Customers' night flow, unit: m³/h, description: Night flow of the customers where it is known.}
  net_night_m3h: {zh: 净夜间流量, en: Net night flow, unit: m³/h, description: Night flow supplied less that of the customers.}
*/
with members as (
    select distinct relation.kind, relation.code, relation.meter, touched_day.day
    from relation
    join touched_day on (valid_from is null or valid_from <= day) and (valid_to is null or valid_to > day)
    semi join unit_day on unit_day.day = touched_day.day
    where kind in ('network', 'line', 'region') and code in (select inlet_of from registry.points)
),

zones as (
    select distinct kind, code, day from members
),

parts as (
    select kind, code, zones.day, points.meter, true as is_inlet
    from zones
    join registry.points on inlet_of = code
    union all
    select kind, code, members.day, members.meter, false
    from members
    left join registry.points on points.meter = members.meter and inlet_of = code
    where points.meter is null
),

totals as (
    select
        kind,
        code,
        day,
        count(*) filter (where is_inlet) as inlets,
        count(*) filter (where not is_inlet) as customers,
        count(volume_nl) filter (where is_inlet) as inlets_known,
        count(volume_nl) filter (where not is_inlet) as customers_known,
        count(night_min_nlh) filter (where is_inlet) as inlet_nights,
        sum(volume_nl - coalesce(reverse_nl, 0)) filter (where is_inlet) / 1e12 as inlet_m3,
        sum(volume_nl) filter (where not is_inlet) / 1e12 as customers_m3,
        sum(night_min_nlh) filter (where is_inlet) / 1e12 as inlet_night_m3h,
        sum(night_min_nlh) filter (where not is_inlet) / 1e12 as customers_night_m3h
    from parts
    left join unit_day using (meter, day)
    group by kind, code, day
)

select
    kind,
    code,
    day,
    case when inlets_known = inlets then inlet_m3 end as inlet_m3,
    customers_m3,
    case when inlets_known = inlets then inlet_m3 - customers_m3 end as balance_m3,
    case when inlets_known = inlets then (inlet_m3 - customers_m3) / nullif(inlet_m3, 0) end as balance_share,
    inlets,
    customers,
    customers_known,
    inlets_known = inlets and customers_known = customers as complete,
    case when inlet_nights = inlets then inlet_night_m3h end as inlet_night_m3h,
    customers_night_m3h,
    case when inlet_nights = inlets then inlet_night_m3h - customers_night_m3h end as net_night_m3h
from totals

/*
zh: 水表
group: master_data
description: >-
  One row a meter of registry and billing with its customer, its source and its place; DN, customer and dates come from billing where it has a card for
  the meter. A meter that is read by hand has no terminal, or that of before; what only a terminal has is empty.
grain: [meter]
deps: [registry, billing, meter_history, metering_point]
partitions: whole
columns:
  meter:
  terminal:
  customer_no:
  customer_name:
  dn_mm:
  technology:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
  digits:
  resolution_m3:
  step_min:
  reads:
  pressure_low_mpa:
  pressure_high_mpa:
  installed_on: {zh: 安装日期, en: Installed, unit: "", format: yyyy-mm-dd, description: Day of installation.}
  removed_on: {zh: 拆除日期, en: Removed, unit: "", format: yyyy-mm-dd, description: Day of removal.}
  book_no:
  in_billing: {zh: 营收有卡, en: In billing, unit: "", description: Billing has a card for the meter.}
  silent_after_h:
  source:
  vendor:
  elevation_m: {zh: 高程, en: Elevation, unit: m, description: Elevation of the point.}
  latitude: {zh: 纬度, en: Latitude, unit: "", format: "0.000000", description: Degrees north in the datum of the point.}
  longitude: {zh: 经度, en: Longitude, unit: "", format: "0.000000", description: Degrees east in the datum of the point.}
  datum: {zh: 坐标系, en: Datum, unit: "", description: "Datum of the coordinates: WGS84, CGCS2000, GCJ02 or BD09."}
  node: {zh: 管网节点, en: Network node, unit: "", description: Node of the network model at which the point lies.}
  inlet_of: {zh: 入口所属, en: Inlet of, unit: "", description: Zone into which the point measures; empty for a customer's.}
  runs_always: {zh: 持续用水, en: Runs always, unit: "", description: "Water is meant to flow at night, too."}
*/
with points as (
    select meter from registry.terminals
    union
    select meter_no from billing.meter_card
    union
    select meter from meter_history
),

newest as (
    select * from metering_point
    qualify row_number() over (partition by meter order by valid_from desc nulls last) = 1
)

select
    points.meter,
    terminal,
    coalesce(cards.customer_no, terminals.customer_no) as customer_no,
    coalesce(billed.name, known.name, cards.customer_no, terminals.customer_no) as customer_name,
    coalesce(cards.dn_mm, terminals.dn_mm) as dn_mm,
    technology,
    q1_m3h,
    q2_m3h,
    q3_m3h,
    q4_m3h,
    digits,
    resolution_m3,
    step_min,
    reads,
    pressure_low_mpa,
    pressure_high_mpa,
    coalesce(cards.installed_on, terminals.installed_on) as installed_on,
    case when newest.source = 'manual' then newest.last_day else coalesce(cards.removed_on, terminals.removed_on) end as removed_on,
    book_no,
    cards.meter_no is not null as in_billing,
    silent_after_h(step_min, upload_min, link) as silent_after_h,
    coalesce(newest.source, terminals.source, case when terminal is null then 'manual' else 'smart' end) as source,
    coalesce(newest.vendor, terminals.vendor) as vendor,
    elevation_m,
    latitude,
    longitude,
    datum,
    node,
    inlet_of,
    runs_always = 'yes' as runs_always
from points
left join registry.terminals using (meter)
left join newest on newest.meter = points.meter
left join registry.points as place on place.meter = points.meter
left join billing.meter_card as cards on cards.meter_no = points.meter
left join billing.customer as billed on billed.customer_no = coalesce(cards.customer_no, terminals.customer_no)
left join registry.customers as known on known.customer_no = coalesce(cards.customer_no, terminals.customer_no)

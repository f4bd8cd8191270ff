/*
zh: 水表
group: master_data
description: One row a meter of the registry with its customer; DN, customer and dates come from billing where it has a card for the meter.
grain: [meter]
deps: [registry, billing]
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
*/
select
    terminals.meter,
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
    coalesce(cards.removed_on, terminals.removed_on) as removed_on,
    book_no,
    cards.meter_no is not null as in_billing,
    silent_after_h(step_min, upload_min, link) as silent_after_h
from registry.terminals
left join billing.meter_card as cards on cards.meter_no = terminals.meter
left join billing.customer as billed on billed.customer_no = coalesce(cards.customer_no, terminals.customer_no)
left join registry.customers as known on known.customer_no = coalesce(cards.customer_no, terminals.customer_no)

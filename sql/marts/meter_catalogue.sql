/*
zh: 水表目录
group: master_data
description: >-
  Meters that can be had, with their flow rates by standard, technology, class and DN; rows of registry/catalogue.csv come before the shipped ones.
  The nameplate wins: registered meters have their own Q1 to Q4.
grain: [standard, technology, class, dn_mm]
deps: [registry]
partitions: whole
columns:
  standard: {zh: 标准, en: Standard, unit: "", description: Standard of the flow rates.}
  technology:
  class: {zh: 等级, en: Class, unit: "", description: "Class A, B or C of GB/T 778.1-1996, or the ratio R = Q3/Q1 of GB/T 778.1-2018."}
  dn_mm:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
  price_cny: {zh: 参考价, en: Price, unit: "", format: "#,##0", description: "Price of the meter with its fitting (¥); empty for one that is no candidate."}
  assumed: {zh: 假定, en: Assumed, unit: "", description: The row is a usual value and not one of a data sheet.}
*/
select
    standard,
    technology,
    class,
    dn_mm,
    q1_m3h,
    q2_m3h,
    q3_m3h,
    q4_m3h,
    price_cny,
    coalesce(assumed, 'no') = 'yes' as assumed
from registry.catalogue

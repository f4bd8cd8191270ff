/*
zh: 水表
en: Meters
description: >-
  One row a meter that is or was in service, with its place; the customer by number alone. A consumer joins the other tables with it.
grain: [meter]
deps: [meter]
cut: whole
files: [csv, parquet]
columns:
  meter: {type: text}
  customer_no: {type: text}
  book_no: {type: text}
  dn_mm: {type: integer}
  source: {type: text}
  installed_on: {type: day, zh: 安装日期, en: Installed, unit: "", description: Day of installation.}
  removed_on: {type: day, zh: 拆除日期, en: Removed, unit: "", description: Day of removal; empty while in service.}
  elevation_m: {type: number}
  latitude: {type: number}
  longitude: {type: number}
  datum: {type: text}
  node: {type: text}
  inlet_of: {type: text}
*/
select
    meter,
    customer_no,
    book_no,
    dn_mm,
    source,
    installed_on,
    removed_on,
    elevation_m,
    latitude,
    longitude,
    datum,
    node,
    inlet_of
from meter

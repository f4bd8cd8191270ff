/*
zh: 收费情况表
en: Collection
description: What was billed, owed and received in each month by class, with the rates and the age of what is owed; code all is the total.
grain: [month, kind, code]
deps: [collection_status]
period: month
columns:
  month: {width: 9}
  kind: {width: 11}
  code: {width: 12}
  name: {zh: 分类名称, en: Class name, unit: "", description: Name of the class., width: 22}
  opening_arrears: {width: 13}
  billed: {width: 13}
  received: {width: 13}
  received_current: {width: 13}
  received_arrears: {width: 13}
  collection_rate_pct: {width: 9}
  current_rate_pct: {width: 9}
  closing_arrears: {width: 13}
  age_0_months: {width: 12}
  age_1_to_3_months: {width: 12}
  age_4_to_6_months: {width: 12}
  age_7_to_12_months: {width: 12}
  age_over_12_months: {width: 12}
  payers: {width: 9}
layout: {kind: list, frozen: 4}
csv: [month, kind, code, name, opening_arrears, billed, received, received_current, received_arrears, collection_rate_pct, current_rate_pct, closing_arrears, age_0_months, age_1_to_3_months, age_4_to_6_months, age_7_to_12_months, age_over_12_months, payers]
*/
select
    month,
    kind,
    code,
    if($language = 'zh', name_zh, name_en) as name,
    opening_arrears,
    billed,
    received,
    received_current,
    received_arrears,
    collection_rate_pct,
    current_rate_pct,
    closing_arrears,
    age_0_months,
    age_1_to_3_months,
    age_4_to_6_months,
    age_7_to_12_months,
    age_over_12_months,
    payers
from collection_status
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by month, kind, code <> 'all', code

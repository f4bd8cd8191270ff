/*
zh: 分类水量
en: Volume by class
workbook: {zh: 水量分析, en: Volume analysis}
description: >-
  Customers and billed volume of each month by class and by source of the meters; the second sheet has the twelve months of the year beside those of the
  year before.
grain: [month, kind, code, source]
deps: [usage_by_class]
period: month
columns:
  month: {width: 9}
  kind: {width: 11}
  code: {width: 12}
  name: {zh: 分类名称, en: Class name, unit: "", description: Name of the class., width: 24}
  source: {width: 12}
  source_name: {zh: 来源名称, en: Source name, unit: "", description: Name of the source., width: 18}
  customers: {width: 10}
  meters: {width: 10}
  volume_m3: {width: 14}
layout: {kind: list, frozen: 4}
csv: [month, kind, code, name, source, source_name, customers, meters, volume_m3]
*/
select
    month,
    kind,
    code,
    if($language = 'zh', name_zh, name_en) as name,
    source,
    if($language = 'zh', source_zh, source_en) as source_name,
    customers,
    meters,
    volume_m3
from usage_by_class
where month >= date_trunc('month', $first_day::date) and month <= $last_day::date
order by month, kind, code <> 'all', code, source <> 'all', source

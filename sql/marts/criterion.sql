/*
zh: 分析标准
group: master_data
description: >-
  The utility's own criteria (企业标准): every threshold, window and price that figures go by, from when to when; those of registry/criteria.csv come
  before the shipped ones.
grain: [name, valid_from]
deps: [registry]
partitions: whole
columns:
  name: {zh: 标准, en: Criterion, unit: "", description: Name of the criterion.}
  valid_from: {format: yyyy-mm-dd, description: "First day on which it holds; 0001-01-01: since ever."}
  valid_to: {format: yyyy-mm-dd, description: "Day from which another value holds; empty: until further notice."}
  value: {zh: 数值, en: Value, unit: "", format: "General", description: Value in the unit of the criterion.}
  value_unit: {zh: 单位, en: Unit, unit: "", description: Unit of the value; empty for a number or share.}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: The criterion in Chinese.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: The criterion in English.}
*/
select
    name,
    coalesce(valid_from, date '0001-01-01') as valid_from,
    lead(valid_from) over (partition by name order by valid_from nulls first) as valid_to,
    value,
    unit as value_unit,
    zh as name_zh,
    en as name_en
from registry.criteria

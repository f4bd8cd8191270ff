/*
zh: 时段
group: master_data
description: >-
  The segments that a day is cut into, by kind: tariff (peak, flat, valley), shift, peak_hours, and whatever registry/segments.csv adds. A scope is a
  kind and a code of relation, for whose members it holds instead of the general one. A row of the file replaces the shipped rows of its kind.
grain: [kind, scope_kind, scope_code, valid_from, from_h]
deps: [registry]
partitions: whole
columns:
  kind: {description: "What the day is cut for: tariff, shift, peak_hours or a kind of the utility's own."}
  segment: {zh: 时段代码, en: Segment, unit: "", description: Code of the segment within its kind.}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: The segment in Chinese.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: The segment in English.}
  from_h: {zh: 起始时, en: From, unit: h, format: "0", description: "First clock hour, 0 to 23."}
  to_h: {zh: 结束时, en: To, unit: h, format: "0", description: "Clock hour at which it ends, 1 to 24."}
  scope_kind: {zh: 适用类别, en: Scope, unit: "", description: "Kind of relation for whose members it holds; all: everybody."}
  scope_code: {zh: 适用代码, en: Scope code, unit: "", description: "Code of that relation; all: everybody."}
  valid_from: {format: yyyy-mm-dd, description: "First day on which it holds; 0001-01-01: since ever."}
*/
select
    kind,
    code as segment,
    zh as name_zh,
    en as name_en,
    from_h,
    to_h,
    coalesce(scope_kind, 'all') as scope_kind,
    coalesce(scope_code, 'all') as scope_code,
    coalesce(valid_from, date '0001-01-01') as valid_from
from registry.segments

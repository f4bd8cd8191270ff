/*
zh: 关联
group: master_data
description: Which network, line, industry, region, group or book a meter belongs to, from when to when, with names in both languages.
grain: [meter, kind, code, valid_from]
deps: [registry]
partitions: whole
columns:
  meter:
  kind:
  code: {zh: 代码, en: Code, unit: "", description: "Code of the network, line, industry, region, group or book."}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the code; the code where the vocabulary has none.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the code; the code where the vocabulary has none.}
  valid_from: {format: yyyy-mm-dd}
  valid_to: {format: yyyy-mm-dd}
*/
select
    meter,
    relations.kind,
    relations.code,
    coalesce(zh, relations.code) as name_zh,
    coalesce(en, relations.code) as name_en,
    valid_from,
    valid_to
from registry.relations
left join registry.vocabulary on vocabulary.kind = relations.kind and vocabulary.code = relations.code

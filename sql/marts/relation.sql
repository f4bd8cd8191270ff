/*
zh: 关联
group: people
description: Which network, line, industry, region, group or book a meter belongs to, from when to when, with names in both languages.
grain: [meter, kind, code, valid_from]
deps: [registry]
partitions: whole
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

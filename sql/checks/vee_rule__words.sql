/*
zh: 规则有中英文说明
description: Every rule has its words in both languages.
severity: warn
because: a board shows one language at a time
*/
select rule
from vee_rule
where name_zh = '' or name_en = '' or condition_zh = '' or condition_en = ''

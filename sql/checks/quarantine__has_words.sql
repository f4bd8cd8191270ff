/*
zh: 原因有说明
description: Every reason has its words, and entries are counted.
severity: warn
because: a reason without words, or a row without entries, is one that this version does not know
*/
select reason, terminal, day, entries
from quarantine
where reason_zh is null or entries < 1 or last_at < first_at

/*
zh: 归属起止有序
description: What belongs to something does so for a day at least.
severity: warn
because: it would belong to nothing at any time, and nobody would see why
*/
select meter, kind, code, valid_from, valid_to
from relation
where valid_to <= valid_from

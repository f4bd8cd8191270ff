/*
zh: 候选水表覆盖峰值
description: A candidate that passes covers the highest flow, and one that does not has a reason.
severity: fail
because: a meter that its flow exceeds is damaged, and registers wrongly
*/
select meter, candidate, passes, reason, head_room
from meter_resize
where passes and head_room < 1 or passes = (reason is not null)

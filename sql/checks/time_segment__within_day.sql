/*
zh: 时段在一日之内
description: A segment begins before it ends, both within the 24 hours of a day.
severity: fail
because: hours would count twice or not at all
*/
select kind, segment, from_h, to_h
from time_segment
where not coalesce(from_h >= 0 and from_h < to_h and to_h <= 24, false)

/*
zh: 缺口的时间先后
description: A gap ends after it begins, is closed after it was seen, and misses readings where it has an end.
severity: fail
because: a deadline or a work list that follows from it would be wrong
*/
select meter, from_at, to_at, intervals, first_seen_at, closed_at, state
from gap
join touched_gap using (day)
where to_at <= from_at or closed_at < first_seen_at or intervals < 0 or (to_at is not null and intervals is null)
    or (state = 'closed') <> (closed_at is not null)

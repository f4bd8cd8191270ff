/*
zh: 区间在当日之内
description: An interval ends after it starts, its length is that between its ends, and it lies in its local day.
severity: fail
because: an interval outside its day is counted on the wrong day
*/
select meter, interval_start, interval_end, day, seconds
from interval_reading
join touched_day using (day)
where interval_start < starts_at
    or interval_end > ends_at
    or interval_end < interval_start
    or abs(seconds - (epoch(interval_end) - epoch(interval_start))) > 0.001

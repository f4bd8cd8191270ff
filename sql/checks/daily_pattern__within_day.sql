/*
zh: 形态在一日之内
description: A shape has 1 to 25 active hours, a centre within the day and shares from 0 to 1.
severity: fail
because: a day has no more hours
*/
select *
from daily_pattern
join touched_day using (day)
where not coalesce(
    hours_active between 1 and 25 and centre_h > 0 and centre_h < 24 and load_factor > 0 and load_factor <= 1 + 1e-9
    and night_share >= 0 and night_share <= 1 + 1e-9,
    false
)

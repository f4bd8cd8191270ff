/*
zh: 同一日只有一种状态
description: On a day a meter has one customer, one terminal and one size.
severity: fail
because: its volume would count for two
*/
select meter, first_day, last_day, next_first_day
from (
    select
        meter,
        first_day,
        last_day,
        lead(coalesce(first_day, date '0001-01-01')) over (partition by meter order by first_day nulls first) as next_first_day
    from meter_history
    where coalesce(first_day, date '0001-01-01') <= coalesce(last_day, date '9999-12-30')
)
where coalesce(last_day, date '9999-12-30') >= next_first_day

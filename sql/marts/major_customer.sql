/*
zh: 大客户
group: metrics
description: >-
  Who is a major customer, why and from when to when, by the criteria of that time: dn, a meter of at least major.dn_mm; volume, a calendar year of at least
  major.volume_m3_year, which counts for that year and the next; flag, billing counts the customer as one. A customer is a major one on a day that any
  row holds.
grain: [customer_no, reason, valid_from]
deps: [billing, meter_history, customer_usage, criterion]
partitions: whole
columns:
  customer_no:
  reason: {zh: 认定依据, en: Reason, unit: "", description: "Why: dn, volume or flag."}
  valid_from: {format: yyyy-mm-dd}
  valid_to: {format: yyyy-mm-dd}
  value: {zh: 数值, en: Value, unit: "", format: "#,##0", description: "Largest DN in mm, or volume of the year in m³; empty for a flag."}
  limit_value: {zh: 界限, en: Limit, unit: "", format: "#,##0", description: "The criterion, in the same unit."}
*/
with limits as (
    select valid_from, coalesce(valid_to, date '9999-12-31') as valid_to, criterion('major.dn_mm', valid_from) as dn_mm
    from criterion
    where name = 'major.dn_mm'
),

large as (
    select
        customer_no,
        greatest(coalesce(first_day, date '0001-01-01'), limits.valid_from) as starts,
        least(coalesce(last_day + 1, date '9999-12-31'), limits.valid_to) as ends,
        history.dn_mm,
        limits.dn_mm as limit_value
    from meter_history as history
    join limits on history.dn_mm >= limits.dn_mm
    where customer_no is not null
),

marked as (
    select
        *,
        starts > coalesce(
            max(ends) over (partition by customer_no, limit_value order by starts, ends rows between unbounded preceding and 1 preceding),
            date '0001-01-01'
        ) or row_number() over (partition by customer_no, limit_value order by starts, ends) = 1 as begins
    from large
    where starts < ends
),

numbered as (
    select *, count(*) filter (where begins) over (partition by customer_no, limit_value order by starts, ends) as number
    from marked
),

by_size as (
    select
        customer_no,
        min(starts) as starts,
        max(ends) as ends,
        max(dn_mm) as dn_mm,
        limit_value
    from numbered
    group by customer_no, limit_value, number
),

states as (
    select
        customer_no,
        first_day,
        lead(first_day) over (partition by customer_no order by first_day nulls first) as next_day,
        major as is_major
    from billing.customer_history
    qualify row_number() over (partition by customer_no, first_day order by known_at desc) = 1
)

select
    customer_no,
    'dn' as reason,
    case when starts > date '0001-01-01' then starts end as valid_from,
    case when ends < date '9999-12-31' then ends end as valid_to,
    cast(dn_mm as double) as value,
    limit_value
from by_size
union all
select
    customer_no,
    'volume',
    period,
    cast(period + interval 2 year as date),
    volume_m3,
    criterion('major.volume_m3_year', period)
from customer_usage
where grain = 'year' and volume_m3 >= criterion('major.volume_m3_year', period)
union all
select customer_no, 'flag', first_day, next_day, null, null
from states
where is_major

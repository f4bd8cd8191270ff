/*
zh: 计量点来源
group: master_data
description: >-
  How each metering point of registry and billing is read, from when to when: by a terminal of ours (smart), by another system (amr), or by hand
  (manual: billing has a card and no terminal measures). A point has one row for any day, so the points of all sources add up to all points.
grain: [meter, valid_from]
deps: [meter_history]
partitions: whole
columns:
  meter:
  source:
  vendor:
  valid_from:
  valid_to:
  first_day:
  last_day:
*/
with marked as (
    select
        *,
        valid_from is distinct from lag(valid_to) over points
        or source is distinct from lag(source) over points
        or vendor is distinct from lag(vendor) over points as begins
    from meter_history
    window points as (partition by meter order by valid_from nulls first)
),

numbered as (
    select *, count(*) filter (where begins) over (partition by meter order by valid_from nulls first) as number
    from marked
)

select
    meter,
    any_value(source) as source,
    any_value(vendor) as vendor,
    case when bool_and(valid_from is not null) then min(valid_from) end as valid_from,
    case when bool_and(valid_to is not null) then max(valid_to) end as valid_to,
    case when bool_and(valid_from is not null) then min(first_day) end as first_day,
    case when bool_and(valid_to is not null) then max(last_day) end as last_day
from numbered
group by meter, number
having bool_or(valid_from is null) or bool_or(valid_to is null) or min(first_day) <= max(last_day)

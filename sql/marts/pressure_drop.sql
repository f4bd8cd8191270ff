/*
zh: 快速用水压降
group: metrics
description: >-
  Customers whose fast steps of flow pull the pressure down: intervals of a day in which the flow rises by pressure.step_share of Q4 and the pressure
  falls by pressure.drop_mpa. listed: pressure.drop_steps of them or more.
grain: [meter, day]
deps: [interval_reading, meter]
partitions: day
columns:
  meter:
  day:
  steps: {zh: 压降次数, en: Drops, unit: "", format: "#,##0", description: Fast steps of flow that pulled the pressure down.}
  listed: {zh: 列入清单, en: Listed, unit: "", description: So many that somebody should look.}
  customer_no:
*/
with least as (
    select day, criterion('pressure.drop_steps', day) as least_steps
    from touched_day
)

select
    unit_day.meter,
    day,
    drop_count as steps,
    drop_count >= least_steps as listed,
    customer_no
from unit_day
join least using (day)
left join meter using (meter)
where drop_count > 0

/*
zh: 账单与计量不符
en: Bill and meter differ
severity: info
origins: [server]
unit: m³
beyond: above
description: >-
  Billed and measured volume of a bill differ for a reason that a person has to look into: wrong factor, swapped meters, or none found.
shortest_intervals: 1
shortest_min: 0
deps: [reconciliation_reason]
partitions: whole
*/
select
    meter,
    cast(period_end as timestamptz) as started_at,
    cast(period_end as timestamptz) as ended_at,
    arg_max(abs(difference_m3), is_main) as value,
    any_value(criterion('reconciliation.tolerance_m3', period_end)) as limit_value,
    bool_or(is_main and reason in ('factor', 'swapped', 'unexplained')) as holds
from reconciliation_reason
where meter is not null and period_end is not null and difference_m3 is not null
group by meter, bill_no, period_end

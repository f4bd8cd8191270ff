/*
zh: 计费核对表
en: Reconciliation
description: Billed against measured volume of each bill whose period begins in the days; a bill that is not comparable has its reason.
grain: [bill_no, meter]
deps: [reconciliation, customer]
period: month
columns:
  customer_no: {width: 11}
  name: {width: 24}
  bill_no: {width: 16}
  meter: {width: 12}
  period_start: {width: 11}
  period_end: {width: 11}
  billed_m3: {width: 12, total: sum}
  measured_m3: {width: 12, total: sum}
  difference_m3: {width: 12, total: sum}
  difference_pct: {width: 9}
  reason:
    width: 14
    values:
      no_meter: [未登记, not registered]
      by_hand: [人工抄表, by hand]
      no_period: [无账期, no period]
      no_volume: [无水量, no volume]
      credited: [冲销, credited]
      not_measured: [无计量, not measured]
      incomplete: [不完整, incomplete]
      unclean: [读数存疑, in doubt]
  comparable: {width: 0}
layout: {kind: list, complete: comparable, frozen: 3}
csv: [bill_no, meter, customer_no, name, period_start, period_end, billed_m3, measured_m3, difference_m3, difference_pct, comparable, reason]
*/
select
    reconciliation.customer_no,
    customer.name,
    bill_no,
    meter,
    period_start,
    period_end,
    billed_m3,
    measured_m3,
    difference_m3,
    difference_pct,
    reason,
    comparable
from reconciliation
left join customer using (customer_no)
where period_start >= $first_day::date and period_start <= $last_day::date
order by reconciliation.customer_no nulls last, bill_no, meter

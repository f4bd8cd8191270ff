/*
zh: 计费核对
group: money
description: >-
  Billed against measured volume per bill. Measured is the sum of the local days of the bill's period (its end excluded); comparable only when every
  day was measured and clean.
grain: [bill_no]
deps: [daily_usage, billing]
partitions: bill
*/
with bills as (
    select bill.* from billing.bill join touched_bill using (bill_no)
),

measured as (
    select
        bill_no,
        sum(volume_m3 order by day) as measured_m3,
        count(volume_m3) as days_measured,
        bool_and(clean) as clean
    from bills
    join daily_usage on daily_usage.meter = meter_no and day >= period_start and day < period_end
    group by bill_no
)

select
    bill_no,
    meter_no as meter,
    customer_no,
    period_start,
    period_end,
    billed_m3,
    measured_m3,
    billed_m3 - measured_m3 as difference_m3,
    100 * (billed_m3 - measured_m3) / nullif(abs(measured_m3), 0) as difference_pct,
    date_diff('day', period_start, period_end) as days,
    coalesce(days_measured, 0) as days_measured,
    coalesce(days_measured, 0) = date_diff('day', period_start, period_end) and clean as comparable,
    status
from bills
left join measured using (bill_no)

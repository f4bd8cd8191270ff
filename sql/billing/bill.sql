/*
description: >-
  Bills with their period (its end excluded), volume in m³ and charges in the currency of the site; one row a bill and meter. A status
  cancelled (作废 …) takes a bill out of the reconciliation. Rows without a time of change are always read. A line
  that ends with the comment `optional` is left out where billing lacks the column: day of issue, month of account (2026-01), day when due.
grain: [bill_no, meter_no]
*/
select
    cast(bill_no as varchar(255)) as bill_no,
    cast(customer_no as varchar(255)) as customer_no,
    cast(meter_no as varchar(255)) as meter_no,
    cast(period_start as varchar(255)) as period_start,
    cast(period_end as varchar(255)) as period_end,
    billed_m3,
    water_charge,
    drainage_charge,
    amount,
    cast(status as varchar(255)) as status,
    cast(issued_on as varchar(255)) as issued_on, -- optional
    cast(account_month as varchar(255)) as account_month, -- optional
    cast(due_on as varchar(255)) as due_on, -- optional
    cast(updated_at as varchar(255)) as updated_at
from bill
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

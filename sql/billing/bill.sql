/*
description: Bills with their period (its end excluded), volume in m³ and charges in the currency of the site.
grain: [bill_no]
*/
select
    cast(bill_no as varchar(64)) as bill_no,
    cast(customer_no as varchar(64)) as customer_no,
    cast(meter_no as varchar(64)) as meter_no,
    cast(period_start as varchar(10)) as period_start,
    cast(period_end as varchar(10)) as period_end,
    billed_m3,
    water_charge,
    drainage_charge,
    amount,
    cast(status as varchar(32)) as status,
    cast(updated_at as varchar(19)) as updated_at
from bill
where updated_at >= ?

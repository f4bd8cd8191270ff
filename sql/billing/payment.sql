/*
description: Payments of bills, in the currency of the site; one bill may have several.
grain: [payment_id]
*/
select
    cast(payment_id as varchar(64)) as payment_id,
    cast(bill_no as varchar(64)) as bill_no,
    cast(customer_no as varchar(64)) as customer_no,
    cast(paid_on as varchar(10)) as paid_on,
    amount,
    cast(updated_at as varchar(19)) as updated_at
from payment
where updated_at >= ?

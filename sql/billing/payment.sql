/*
description: >-
  Payments of bills, in the currency of the site; one bill may have several. Optional: charge_kind, the charge
  that it pays (water, drainage …); without it a payment is shared among the charges of its bill.
grain: [payment_id]
*/
select
    cast(payment_id as varchar(255)) as payment_id,
    cast(bill_no as varchar(255)) as bill_no,
    cast(customer_no as varchar(255)) as customer_no,
    cast(paid_on as varchar(255)) as paid_on,
    amount,
    cast(charge_kind as varchar(255)) as charge_kind, -- optional
    cast(updated_at as varchar(255)) as updated_at
from payment
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

/*
description: >-
  Charges of bills, a row a bill, meter and kind of charge: water, drainage, or any other (surcharge …). Optional: without this table the charges of a
  bill are its water_charge and drainage_charge.
grain: [bill_no, meter_no, charge_kind]
*/
select
    cast(bill_no as varchar(255)) as bill_no,
    cast(meter_no as varchar(255)) as meter_no,
    cast(charge_kind as varchar(255)) as charge_kind,
    amount,
    cast(updated_at as varchar(255)) as updated_at
from charge
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

/*
description: >-
  Meter cards, one a meter that billing knows, with its customer, size and book. Dates are text, YYYY-MM-DD.
  Optional: vendor of the meter, cycle_months (months from one read to the next; 2 where the book is read every other month).
grain: [meter_no]
*/
select
    cast(meter_no as varchar(255)) as meter_no,
    cast(customer_no as varchar(255)) as customer_no,
    dn_mm,
    cast(book_no as varchar(255)) as book_no,
    cast(installed_on as varchar(255)) as installed_on,
    cast(removed_on as varchar(255)) as removed_on,
    cast(vendor as varchar(255)) as vendor, -- optional
    cast(cycle_months as varchar(255)) as cycle_months, -- optional
    cast(updated_at as varchar(255)) as updated_at
from meter_card
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

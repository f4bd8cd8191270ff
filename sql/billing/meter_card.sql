/*
description: Meter cards, one a meter that billing knows, with its customer, size and book. Dates are text, YYYY-MM-DD.
grain: [meter_no]
*/
select
    cast(meter_no as varchar(255)) as meter_no,
    cast(customer_no as varchar(255)) as customer_no,
    dn_mm,
    cast(book_no as varchar(255)) as book_no,
    cast(installed_on as varchar(255)) as installed_on,
    cast(removed_on as varchar(255)) as removed_on,
    cast(updated_at as varchar(255)) as updated_at
from meter_card
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

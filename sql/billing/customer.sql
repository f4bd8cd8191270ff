/*
description: Customers of the billing system. A site whose tables have other names changes the select, never the columns' names and types.
grain: [customer_no]
*/
select
    cast(customer_no as varchar(255)) as customer_no,
    name,
    industry,
    region,
    address,
    cast(updated_at as varchar(255)) as updated_at
from customer
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

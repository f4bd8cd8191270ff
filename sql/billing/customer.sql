/*
description: >-
  Customers of the billing system. A site whose tables have other names changes the select, never the columns' names and types.
  Optional: group_no (集团号), major (yes where billing counts the customer as a major one).
grain: [customer_no]
*/
select
    cast(customer_no as varchar(255)) as customer_no,
    name,
    industry,
    region,
    address,
    cast(group_no as varchar(255)) as group_no, -- optional
    cast(major as varchar(255)) as major, -- optional
    cast(updated_at as varchar(255)) as updated_at
from customer
where updated_at >= ? or updated_at is null or updated_at < '1900-01-01'

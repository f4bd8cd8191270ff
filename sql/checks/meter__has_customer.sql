/*
zh: 水表有客户
description: A meter belongs to a customer, unless it measures what flows into a zone.
severity: warn
because: a meter without a customer is missing from every customer's figures
*/
select meter, terminal
from meter
where customer_no is null and inlet_of is null

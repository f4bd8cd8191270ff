/*
zh: 大客户达到界限
description: The value for which a customer is a major one reaches the criterion.
severity: fail
because: the list does not follow the criteria
*/
select customer_no, reason, value, limit_value
from major_customer
where value < limit_value

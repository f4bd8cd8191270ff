/*
zh: 每个客户可按编号检索
description: Every customer is found by its number.
severity: fail
because: a customer that cannot be found has no page
deps: [customer]
*/
select customer_no
from customer
where customer_no not in (select customer_no from customer_search where key_kind = 'number' and key = customer_no)

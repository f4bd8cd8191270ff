/*
zh: 人工表不多于全部表
description: The meters of a customer that are read by hand are among its meters.
severity: fail
because: a meter is counted where it is not
*/
select customer_no, meters, meters_manual
from customer
where meters_manual > meters or meters < 0

/*
zh: 客户检索
group: revenue
description: >-
  What a customer can be found by: name, number, meter (also one that it had before) and address, a row a key.
grain: [customer_no, key_kind, key]
deps: [customer, meter, billing]
partitions: whole
columns:
  customer_no:
  key_kind: {zh: 检索方式, en: Found by, unit: "", description: "name, number, meter or address."}
  key: {zh: 检索词, en: Key, unit: "", description: What the customer is found by.}
  customer_name:
  address: {zh: 地址, en: Address, unit: "", description: Address of supply.}
*/
with keys as (
    select customer_no, 'number' as key_kind, customer_no as key from customer
    union
    select customer_no, 'name', name from customer
    union
    select customer_no, 'address', address from customer
    union
    select customer_no, 'meter', meter from meter
    union
    select customer_no, 'meter', meter_no from billing.meter_card
    union
    select customer_no, 'meter', meter_no from billing.meter_card_history
)

select customer_no, key_kind, key, name as customer_name, address
from keys
join customer using (customer_no)
where key is not null

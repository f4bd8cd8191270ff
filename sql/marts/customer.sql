/*
zh: 客户
group: master_data
description: >-
  One row a customer, its industry and region as codes and as the vocabulary names them; billing is the truth where it knows the customer, the registry adds the others.
grain: [customer_no]
deps: [meter]
partitions: whole
columns:
  customer_no:
  name: {zh: 客户名称, en: Customer name, unit: "", description: Name of the customer.}
  industry: {zh: 行业代码, en: Industry code, unit: "", description: Industry as a code of the vocabulary.}
  region: {zh: 区域代码, en: Region code, unit: "", description: Region as a code of the vocabulary.}
  address: {zh: 地址, en: Address, unit: "", description: Address of supply.}
  meters: {description: Number of meters that the customer has now.}
  source: {zh: 资料来源, en: Source, unit: "", description: "Where the row comes from: billing or registry."}
  industry_name: {zh: 行业, en: Industry, unit: "", description: Industry as the vocabulary names it.}
  region_name: {zh: 区域, en: Region, unit: "", description: Region as the vocabulary names it.}
  meters_manual: {zh: 人工抄表数, en: Read by hand, unit: "", format: "#,##0", description: Number of its meters that are read by hand.}
*/
with known as (
    select customer_no, name, industry, region, address, 'billing' as source from billing.customer
    union all
    select customer_no, name, industry, region, address, 'registry' from registry.customers
    where customer_no not in (select customer_no from billing.customer)
    union all
    select distinct customer_no, customer_no, null, null, null, 'registry' from meter
    where customer_no is not null
        and customer_no not in (select customer_no from billing.customer)
        and customer_no not in (select customer_no from registry.customers)
),

owned as (
    select customer_no, count(*) as meters, count(*) filter (where source = 'manual') as meters_manual from meter group by customer_no
)

select
    known.customer_no,
    name,
    industry,
    region,
    address,
    coalesce(meters, 0) as meters,
    source,
    coalesce(industries.zh || ' ' || industries.en, industry) as industry_name,
    coalesce(regions.zh || ' ' || regions.en, region) as region_name,
    coalesce(meters_manual, 0) as meters_manual
from known
left join owned using (customer_no)
left join registry.vocabulary as industries on industries.kind = 'industry' and industries.code = industry
left join registry.vocabulary as regions on regions.kind = 'region' and regions.code = region

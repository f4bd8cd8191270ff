/*
zh: 档案缺漏
group: quality
description: >-
  What is missing or does not fit in registry and billing, of points in service: missing_attribute, a meter with a terminal lacks an attribute that its
  figures need; no_card, billing has no card for it; no_terminal, a card without a terminal, read by hand or written otherwise in terminals.csv; no_bill, a
  card that was never billed; bill_without_meter, bills of a meter that nobody knows; relation_overruled, a row of relations.csv that billing contradicts.
grain: [gap, meter, attribute]
deps: [registry, billing, meter, relation]
partitions: whole
columns:
  gap: {zh: 缺漏代码, en: Gap, unit: "", description: "Code of the gap: missing_attribute, no_card, no_terminal, no_bill, bill_without_meter or relation_overruled."}
  meter:
  attribute: {zh: 属性, en: Attribute, unit: "", description: "Column of terminals.csv, or kind of relation; empty for other gaps."}
  terminal:
  customer_no:
  name_zh: {zh: 缺漏, en: Gap (Chinese), unit: "", description: The gap in Chinese.}
  name_en: {zh: 缺漏（英文）, en: Gap (English), unit: "", description: The gap in English.}
*/
with points as (
    select * from meter where removed_on is null
),

gaps as (
    select
        'missing_attribute' as gap,
        meter,
        unnest([
            case when customer_no is null and inlet_of is null then 'customer_no' end,
            case when dn_mm is null then 'dn_mm' end,
            case when technology is null then 'technology' end,
            case when q1_m3h is null then 'q1_m3h' end,
            case when q2_m3h is null then 'q2_m3h' end,
            case when q3_m3h is null then 'q3_m3h' end,
            case when installed_on is null then 'installed_on' end
        ]) as attribute,
        terminal,
        customer_no
    from points
    where source <> 'manual'
    union all
    select 'no_card', meter, null, terminal, customer_no
    from points
    where not in_billing and inlet_of is null and exists (select 1 from billing.meter_card)
    union all
    select 'no_terminal', meter, null, terminal, customer_no
    from points
    where source = 'manual'
    union all
    select 'no_bill', meter, null, terminal, customer_no
    from points
    where in_billing and meter not in (select meter_no from billing.bill where meter_no is not null) and exists (select 1 from billing.bill)
    union all
    select 'bill_without_meter', meter_no, null, null, max(customer_no)
    from billing.bill
    where meter_no not in (select meter from meter)
    group by meter_no
    union all
    select distinct 'relation_overruled', written.meter, written.kind, terminal, customer_no
    from registry.relations as written
    join points using (meter)
    where (written.meter, written.kind, written.code) not in (select (relation.meter, relation.kind, relation.code) from relation)
),

words (gap, zh, en) as (
    values
    ('missing_attribute', '终端缺少必填属性', 'A mandatory attribute is missing'),
    ('no_card', '营收无表卡', 'Billing has no card'),
    ('no_terminal', '表卡无终端', 'A card without a terminal'),
    ('no_bill', '从未开账', 'Never billed'),
    ('bill_without_meter', '账单的水表未知', 'Bills of an unknown meter'),
    ('relation_overruled', '关联与营收不符', 'Billing contradicts the relation')
)

select
    gap,
    meter,
    attribute,
    terminal,
    customer_no,
    zh as name_zh,
    en as name_en
from gaps
join words using (gap)
where gap <> 'missing_attribute' or attribute is not null

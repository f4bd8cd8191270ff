/*
zh: 营收匹配率
group: quality
description: >-
  How well registry and billing fit: of meters with a terminal in service those that billing has a card for, of cards in service those with a terminal, of
  bills those whose meter is known, of customers with a meter those that billing knows. No row without billing. registry_gap lists the others.
grain: [side]
deps: [billing, meter]
partitions: whole
columns:
  side: {zh: 对象代码, en: Side, unit: "", description: "What is counted: meter, card, bill or customer."}
  name_zh: {zh: 对象, en: Side (Chinese), unit: "", description: What is counted in Chinese.}
  name_en: {zh: 对象（英文）, en: Side (English), unit: "", description: What is counted in English.}
  counted: {zh: 总数, en: Counted, unit: "", format: "#,##0", description: How many there are.}
  matched: {zh: 匹配数, en: Matched, unit: "", format: "#,##0", description: How many of them the other side knows.}
  match_share: {zh: 匹配率, en: Match rate, unit: "", format: "0.0%", description: "Matched over counted, 0 to 1; empty where there are none."}
*/
with points as (
    select * from meter where removed_on is null
),

counts as (
    select 'meter' as side, '有终端的水表' as name_zh, 'Meters with a terminal' as name_en, count(*) as counted, count(*) filter (where in_billing) as matched
    from points
    where source <> 'manual' and inlet_of is null
    union all
    select 'card', '表卡', 'Cards', count(*), count(*) filter (where source <> 'manual')
    from points
    where in_billing
    union all
    select 'bill', '账单', 'Bills', count(*), count(*) filter (where meter_no in (select meter from meter))
    from billing.bill
    union all
    select 'customer', '客户', 'Customers', count(distinct customer_no), count(distinct customer_no) filter (where customer_no in (select customer_no from billing.customer))
    from points
)

select
    side,
    name_zh,
    name_en,
    counted,
    matched,
    matched / nullif(counted, 0) as match_share
from counts
where exists (select 1 from billing.meter_card)

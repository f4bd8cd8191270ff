/*
zh: 关联
group: master_data
description: >-
  Where a meter belongs, from when to when (valid_to excluded), with names in both languages. Network, line, group and kinds of the utility's own are those
  of relations.csv; dn, vendor and source follow from terminals.csv and billing. Book, industry and region are those of billing, else of
  relations.csv, else of the customer in customers.csv.
grain: [meter, kind, code, valid_from]
deps: [registry, billing, meter_history]
partitions: whole
columns:
  meter:
  kind:
  code: {zh: 代码, en: Code, unit: "", description: "Code within its kind."}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the code; the code where the vocabulary has none.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the code; the code where the vocabulary has none.}
  valid_from: {format: yyyy-mm-dd}
  valid_to: {format: yyyy-mm-dd}
*/
with states as (
    select * from billing.customer_history
    qualify row_number() over (partition by customer_no, first_day order by known_at desc) = 1
),

customers as (
    select
        customer_no,
        industry,
        region,
        first_day,
        lead(first_day) over (partition by customer_no order by first_day nulls first) - 1 as last_day,
        true as is_billed
    from states
    union all
    select customer_no, industry, region, null, null, false from registry.customers
    where customer_no not in (select customer_no from states)
),

held as (
    select
        meter,
        -- greatest() and least() pass over a null: unbounded.
        greatest(history.first_day, customers.first_day) as first_day,
        least(history.last_day, customers.last_day) as last_day,
        cast(dn_mm as varchar) as dn,
        vendor,
        source,
        book_no as book,
        industry,
        region,
        coalesce(is_billed, true) as is_billed
    from meter_history as history
    left join customers
        on customers.customer_no = history.customer_no
        and (customers.last_day is null or history.first_day is null or customers.last_day >= history.first_day)
        and (customers.first_day is null or history.last_day is null or customers.first_day <= history.last_day)
),

codes as (
    select * from held
    unpivot (code for kind in (dn, vendor, source, book, industry, region))
    where first_day is null or last_day is null or first_day <= last_day
),

marked as (
    select
        *,
        row_number() over own = 1
        or code <> lag(code) over own
        or first_day is distinct from lag(last_day) over own + 1 as begins
    from codes
    window own as (partition by meter, kind order by first_day nulls first)
),

numbered as (
    select *, count(*) filter (where begins) over (partition by meter, kind order by first_day nulls first) as number
    from marked
),

derived as (
    select
        meter,
        kind,
        any_value(code) as code,
        case when bool_and(first_day is not null) then min(first_day) end as valid_from,
        case when bool_and(last_day is not null) then max(last_day) + 1 end as valid_to,
        bool_or(is_billed or kind not in ('industry', 'region')) as wins
    from numbered
    group by meter, kind, number
),

members as (
    select meter, kind, code, valid_from, valid_to
    from registry.relations
    where (meter, kind) not in (select (meter, kind) from derived where wins)
    union all
    select meter, kind, code, valid_from, valid_to
    from derived
    where wins or (meter, kind) not in (select (meter, kind) from registry.relations)
),

words (kind, code, zh, en) as (
    values
    ('source', 'smart', '智能水表', 'Smart meter'),
    ('source', 'amr', '其他采集水表', 'Other AMR'),
    ('source', 'manual', '人工抄表', 'Read by hand')
)

select
    meter,
    members.kind,
    members.code,
    coalesce(vocabulary.zh, words.zh, case when members.kind = 'dn' then 'DN' || members.code else members.code end) as name_zh,
    coalesce(vocabulary.en, words.en, case when members.kind = 'dn' then 'DN' || members.code else members.code end) as name_en,
    valid_from,
    valid_to
from members
left join registry.vocabulary on vocabulary.kind = members.kind and vocabulary.code = members.code
left join words on words.kind = members.kind and words.code = members.code

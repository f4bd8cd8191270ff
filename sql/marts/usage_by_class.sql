/*
zh: 水量分析
group: revenue
description: >-
  Customers and billed volume of each month by class and by source of the meters, a row a source: the vendor of smart and other AMR meters where it is known,
  else the way in which the meter is read. Source all is every source, code all the total, code none what is of no class. The customers of the sources add
  up to those of all.
grain: [month, kind, code, source]
deps: [month_end, registry]
partitions: account
columns:
  year: {zh: 年度, en: Year, unit: "", format: "yyyy", description: Year of the month by its first day.}
  month:
  kind: {description: "What the code stands for: industry, region, book, group, or another kind of relation."}
  code: {zh: 分类, en: Class, unit: "", description: "Code of the class; all: the total; none: of no class."}
  customers: {zh: 客户数, en: Customers, unit: "", format: "#,##0", description: Customers with an active meter at the end of the month.}
  volume_m3: {zh: 用水量, en: Billed volume, description: "Volume on the bills of the month's account; empty where there are none."}
  source: {zh: 数据来源, en: Source, unit: "", description: "Vendor, or smart, amr, manual; all: every source."}
  source_zh: {zh: 来源中文名称, en: Source (Chinese), unit: "", description: Chinese name of the source.}
  source_en: {zh: 来源英文名称, en: Source name, unit: "", description: English name of the source.}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the class.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the class.}
  meters: {description: Meters that are installed and active at the end of the month.}
*/
with classes as (
    select
        month,
        kind,
        code,
        if(vendor <> '' and source <> 'manual', vendor, source) as source,
        customers,
        meters,
        volume_m3
    from month_end_classes()
    join touched_account using (month)
),

summed as (
    select
        month,
        kind,
        code,
        coalesce(source, 'all') as source,
        sum(customers) as customers,
        sum(meters) as meters,
        sum(volume_m3 order by source) as volume_m3
    from classes
    group by grouping sets ((month, kind, code, source), (month, kind, code))
)

select
    cast(date_trunc('year', month) as date) as year,
    month,
    summed.kind,
    summed.code,
    cast(customers as bigint) as customers,
    volume_m3,
    source,
    case source
        when 'all' then '合计' when 'smart' then '智能表' when 'amr' then '其他采集' when 'manual' then '人工抄表' else coalesce(vendor.zh, source)
    end as source_zh,
    case source
        when 'all' then 'Total' when 'smart' then 'Smart' when 'amr' then 'Other AMR' when 'manual' then 'Manual' else coalesce(vendor.en, source)
    end as source_en,
    class_zh(summed.code, word.zh) as name_zh,
    class_en(summed.code, word.en) as name_en,
    cast(meters as bigint) as meters
from summed
left join registry.vocabulary as word on word.kind = summed.kind and word.code = summed.code
left join registry.vocabulary as vendor on vendor.kind = 'vendor' and vendor.code = summed.source

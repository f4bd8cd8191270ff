/*
zh: 年水量分析
group: revenue
description: >-
  Customers and billed volume of each year by class and source; customers are those at the end of the last month that there is of the year. The total
  (code all) is of every meter, whatever page of classes is shown.
grain: [year, kind, code, source]
deps: [usage_by_class]
partitions: account_year
columns:
  year: {zh: 年度, en: Year, unit: "", format: "yyyy", description: Year by its first day.}
  kind: {description: "What the code stands for: industry, region, book, group, or another kind of relation."}
  code: {zh: 分类, en: Class, unit: "", description: "Code of the class; all: the total; none: of no class."}
  customers: {zh: 客户数, en: Customers, unit: "", format: "#,##0", description: Customers with an active meter at the end of the last month of the year.}
  volume_m3: {zh: 年用水量, en: Year volume, description: "Volume on the bills of the year's account so far."}
  source: {zh: 数据来源, en: Source, unit: "", description: "Vendor, or smart, amr, manual; all: every source."}
  source_zh: {zh: 来源中文名称, en: Source (Chinese), unit: "", description: Chinese name of the source.}
  source_en: {zh: 来源英文名称, en: Source name, unit: "", description: English name of the source.}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the class.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the class.}
  last_month: {zh: 截至月份, en: Last month, unit: "", format: yyyy-mm, description: Last month that there is of the year.}
*/
with own as (
    select *, max(month) over (partition by year) as last_month
    from usage_by_class
    join touched_account_year using (year)
)

select
    year,
    kind,
    code,
    cast(coalesce(sum(customers) filter (where month = last_month), 0) as bigint) as customers,
    sum(volume_m3 order by month) as volume_m3,
    source,
    any_value(source_zh) as source_zh,
    any_value(source_en) as source_en,
    any_value(name_zh) as name_zh,
    any_value(name_en) as name_en,
    any_value(last_month) as last_month
from own
group by year, kind, code, source

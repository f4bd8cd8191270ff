/*
zh: 月水量对比
group: revenue
description: >-
  Billed volume of the twelve months of a year beside those of the year before, by class; month_no 13 is the total. A month without bills is empty.
  The year on year of the total compares the months that there are of both years.
grain: [year, kind, code, month_no]
deps: [usage_by_class]
partitions: account_year
columns:
  year: {zh: 年度, en: Year, unit: "", format: "yyyy", description: Year by its first day.}
  kind: {description: "What the code stands for: industry, region, book, group, or another kind of relation."}
  code: {zh: 分类, en: Class, unit: "", description: "Code of the class; all: the total; none: of no class."}
  month_no: {zh: 月份, en: Month, unit: "", format: "0", description: "1 to 12; 13: the total of the year."}
  volume_m3: {zh: 本年水量, en: This year, description: Billed volume of the month; of the total the sum of the months.}
  last_year_m3: {zh: 上年水量, en: Last year, unit: m³, description: "Billed volume of the same month of the year before; of the total the sum of its months."}
  yoy_pct: {zh: 同比, en: Year on year, unit: "%", description: "Growth on the year before; of the total over the months that there are of both years; empty where the base is missing or 0."}
  months_compared: {zh: 可比月数, en: Months compared, unit: "", format: "0", description: Months that there are of both years.}
*/
with volumes as (
    select year, kind, code, month(month) as month_no, volume_m3
    from usage_by_class
    where source = 'all'
        and (year in (select year from touched_account_year) or year + interval 1 year in (select year from touched_account_year))
),

years as (
    select distinct touched_account_year.year, kind, code
    from volumes
    join touched_account_year on touched_account_year.year = volumes.year or touched_account_year.year = volumes.year + interval 1 year
),

months as (
    select
        years.year,
        years.kind,
        years.code,
        cast(month_no as integer) as month_no,
        own.volume_m3,
        base.volume_m3 as last_year_m3,
        own.volume_m3 is not null and base.volume_m3 is not null as is_compared
    from years
    cross join (select unnest(range(1, 13)) as month_no) as numbers
    left join volumes as own using (year, kind, code, month_no)
    left join volumes as base
        on base.year = years.year - interval 1 year and base.kind = years.kind and base.code = years.code and base.month_no = numbers.month_no
),

lines as (
    select year, kind, code, month_no, volume_m3, last_year_m3, volume_m3 as compared_m3, last_year_m3 as base_m3, cast(is_compared as integer) as months_compared
    from months
    union all
    select
        year,
        kind,
        code,
        13,
        sum(volume_m3 order by month_no),
        sum(last_year_m3 order by month_no),
        sum(volume_m3 order by month_no) filter (where is_compared),
        sum(last_year_m3 order by month_no) filter (where is_compared),
        cast(count(*) filter (where is_compared) as integer)
    from months
    group by year, kind, code
)

select
    year,
    kind,
    code,
    cast(month_no as integer) as month_no,
    volume_m3,
    last_year_m3,
    100 * (compared_m3 - base_m3) / nullif(abs(base_m3), 0) as yoy_pct,
    months_compared
from lines

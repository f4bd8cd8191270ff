/*
zh: 抄表开账
group: revenue
description: >-
  Meters, reads, billed volume and amount of each month by class. Code all is the total of every meter, code none what is of no class. The rate is
  meters read over meters, estimates apart; auto_read_pct is the share of the reads that came from smart and other AMR meters.
grain: [month, kind, code]
deps: [month_end, registry]
partitions: account
columns:
  month:
  kind: {description: "What the code stands for: industry, region, book, group, or another kind of relation."}
  code: {zh: 分类, en: Class, unit: "", description: "Code of the class; all: the total; none: of no class."}
  meters: {description: Meters that are installed and active at the end of the month.}
  meters_read: {zh: 抄表数, en: Meters read, unit: "", format: "#,##0", description: Meters with an actual read in the month.}
  reading_rate_pct: {zh: 抄表率, en: Reading rate, unit: "%", format: "0.00", description: "Meters read over meters; empty without meters."}
  volume_m3: {zh: 用水量, en: Billed volume, description: "Volume on the bills of the month's account."}
  amount: {zh: 金额, en: Amount, unit: "¥", description: "Amount of the bills of the month's account."}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the class.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the class.}
  meters_estimated: {zh: 估抄数, en: Meters estimated, unit: "", format: "#,##0", description: Meters with an estimate and no actual read.}
  estimated_m3: {zh: 估抄水量, en: Estimated volume, unit: m³, description: Part of the volume that is an estimate.}
  meters_not_due: {zh: 未到周期数, en: Meters not due, unit: "", format: "#,##0", description: Meters without a read whose book is not read every month.}
  meters_unread: {zh: 未抄数, en: Meters unread, unit: "", format: "#,##0", description: Meters that were due and have neither read nor estimate.}
  auto_read_pct: {zh: 自动抄表占比, en: Read automatically, unit: "%", description: Share of the meters read that are smart or of another AMR system.}
  days_to_issue: {zh: 平均开账天数, en: Days to issue, unit: d, format: "0.0", description: Mean days from the end of the period to the issue of the bill; empty where billing has no days of issue.}
  as_of: {zh: 截至, en: As of, unit: "", format: yyyy-mm-dd, description: Day up to which the month is counted.}
*/
with summed as (
    select
        month,
        kind,
        code,
        sum(meters) as meters,
        sum(meters_read) as meters_read,
        sum(meters_read) filter (where source in ('smart', 'amr')) as auto_read,
        sum(meters_estimated) as meters_estimated,
        sum(meters_not_due) as meters_not_due,
        sum(volume_m3 order by source, vendor) as volume_m3,
        sum(estimated_m3 order by source, vendor) as estimated_m3,
        sum(billed) as amount,
        sum(days_to_issue) as days,
        sum(bills_issued) as bills_issued,
        max(as_of) as as_of
    from month_end_classes()
    join touched_account using (month)
    group by all
)

select
    month,
    summed.kind,
    summed.code,
    cast(meters as bigint) as meters,
    cast(meters_read as bigint) as meters_read,
    100 * meters_read / nullif(meters, 0) as reading_rate_pct,
    volume_m3,
    cast(amount as decimal(18, 4)) as amount,
    class_zh(summed.code, zh) as name_zh,
    class_en(summed.code, en) as name_en,
    cast(meters_estimated as bigint) as meters_estimated,
    estimated_m3,
    cast(meters_not_due as bigint) as meters_not_due,
    cast(meters - meters_read - meters_estimated - meters_not_due as bigint) as meters_unread,
    100 * coalesce(auto_read, 0) / nullif(meters_read, 0) as auto_read_pct,
    days / nullif(bills_issued, 0) as days_to_issue,
    as_of
from summed
left join registry.vocabulary as word on word.kind = summed.kind and word.code = summed.code

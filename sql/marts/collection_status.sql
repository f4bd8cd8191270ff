/*
zh: 收费情况
group: revenue
description: >-
  What was billed, owed and received in each month by class: opening + billed − received + adjustment = closing arrears. Code all is the total, code none
  what is of no class. The collection rate is received over billed and opening arrears, the current rate what was received of this month's bills over
  billed. restated is what opening arrears differ by from the closing ones of the month before: bills cancelled, corrected or moved between classes since.
grain: [month, kind, code]
deps: [month_end, registry]
partitions: account
columns:
  month:
  kind: {description: "What the code stands for: industry, region, book, group, or another kind of relation."}
  code: {zh: 分类, en: Class, unit: "", description: "Code of the class; all: the total; none: of no class."}
  billed: {zh: 开账金额, en: Billed, unit: "¥", description: "Amount of the bills of the month's account."}
  opening_arrears: {zh: 欠费金额, en: Opening arrears, unit: "¥", description: Unpaid of the bills of earlier months at the beginning of the month.}
  received_current: {zh: 收当月费, en: Received of this month, unit: "¥", description: "Payments of bills of this month's account."}
  received_arrears: {zh: 收往月费, en: Received of arrears, unit: "¥", description: Payments of bills of earlier months.}
  collection_rate_pct: {zh: 回收率, en: Collection rate, unit: "%", format: "0.00", description: Received over billed and opening arrears; empty where both are 0.}
  current_rate_pct: {zh: 当月回收率, en: Current collection rate, unit: "%", format: "0.00", description: "Received of this month's bills over billed; empty where nothing is billed."}
  name_zh: {zh: 中文名称, en: Chinese name, unit: "", description: Chinese name of the class.}
  name_en: {zh: 英文名称, en: English name, unit: "", description: English name of the class.}
  received: {zh: 收费金额, en: Received, unit: "¥", description: All payments of the month.}
  received_other: {zh: 其他收费, en: Received otherwise, unit: "¥", description: "Payments of bills of later months, of cancelled bills, or of none that billing has."}
  adjustment: {zh: 调整, en: Adjustment, unit: "¥", description: "Received otherwise, less what was paid before this month of its bills."}
  closing_arrears: {zh: 期末欠费, en: Closing arrears, unit: "¥", description: Unpaid of all bills at the end of the month.}
  restated: {zh: 期初更正, en: Restated, unit: "¥", description: Opening arrears less the closing ones of the month before; empty for the first month.}
  overdue: {zh: 逾期欠费, en: Overdue, unit: "¥", description: Closing arrears of bills past the day when they were due; empty where billing has no such days.}
  age_0_months: {zh: 当月账龄, en: Of this month, unit: "¥", description: "Closing arrears of this month's bills."}
  age_1_to_3_months: {zh: 账龄1–3月, en: 1–3 months, unit: "¥", description: Closing arrears of bills of the three months before.}
  age_4_to_6_months: {zh: 账龄4–6月, en: 4–6 months, unit: "¥", description: Closing arrears of bills of four to six months ago.}
  age_7_to_12_months: {zh: 账龄7–12月, en: 7–12 months, unit: "¥", description: Closing arrears of bills of seven to twelve months ago.}
  age_over_12_months: {zh: 账龄1年以上, en: Over 12 months, unit: "¥", description: Closing arrears of older bills.}
  customers: {zh: 客户数, en: Customers, unit: "", format: "#,##0", description: Customers with an active meter at the end of the month.}
  payers: {zh: 缴费客户数, en: Payers, unit: "", format: "#,##0", description: Customers who paid in the month.}
  as_of: {zh: 截至, en: As of, unit: "", format: yyyy-mm-dd, description: Day up to which the month is counted.}
*/
with wanted as (
    select month from touched_account union select cast(month - interval 1 month as date) from touched_account
),

summed as (
    select
        month,
        kind,
        code,
        max(as_of) as as_of,
        sum(customers) as customers,
        sum(payers) as payers,
        cast(sum(billed) as decimal(18, 4)) as billed,
        cast(sum(opening) as decimal(18, 4)) as opening,
        cast(sum(received) as decimal(18, 4)) as received,
        cast(sum(received_current) as decimal(18, 4)) as received_current,
        cast(sum(received_arrears) as decimal(18, 4)) as received_arrears,
        cast(sum(received_other) as decimal(18, 4)) as received_other,
        cast(sum(adjustment) as decimal(18, 4)) as adjustment,
        cast(sum(closing) as decimal(18, 4)) as closing,
        cast(sum(overdue) as decimal(18, 4)) as overdue,
        cast(sum(age_0_months) as decimal(18, 4)) as age_0_months,
        cast(sum(age_1_to_3_months) as decimal(18, 4)) as age_1_to_3_months,
        cast(sum(age_4_to_6_months) as decimal(18, 4)) as age_4_to_6_months,
        cast(sum(age_7_to_12_months) as decimal(18, 4)) as age_7_to_12_months,
        cast(sum(age_over_12_months) as decimal(18, 4)) as age_over_12_months
    from month_end_classes()
    join wanted using (month)
    group by all
)

select
    now.month,
    now.kind,
    now.code,
    now.billed,
    now.opening as opening_arrears,
    now.received_current,
    now.received_arrears,
    100 * cast(now.received as double) / nullif(cast(now.billed + now.opening as double), 0) as collection_rate_pct,
    100 * cast(now.received_current as double) / nullif(cast(now.billed as double), 0) as current_rate_pct,
    class_zh(now.code, zh) as name_zh,
    class_en(now.code, en) as name_en,
    now.received,
    now.received_other,
    now.adjustment,
    now.closing as closing_arrears,
    cast(now.opening - coalesce(before.closing, if(earlier.month is null, null, 0)) as decimal(18, 4)) as restated,
    now.overdue,
    now.age_0_months,
    now.age_1_to_3_months,
    now.age_4_to_6_months,
    now.age_7_to_12_months,
    now.age_over_12_months,
    cast(now.customers as bigint) as customers,
    cast(now.payers as bigint) as payers,
    now.as_of
from summed as now
join touched_account using (month)
left join summed as before on before.month = now.month - interval 1 month and before.kind = now.kind and before.code = now.code
left join (select distinct month from month_end) as earlier on earlier.month = now.month - interval 1 month
left join registry.vocabulary as word on word.kind = now.kind and word.code = now.code

/*
zh: 未抄表明细
group: revenue
description: >-
  Meters without an actual read in a month, with the reason: estimated, not_due, silent (a smart or other AMR meter from which nothing came in the last
  days of the month) or no_read (nobody read it, or billing did not get the read).
grain: [month, meter]
deps: [meter_month, billing, daily_usage]
partitions: account
columns:
  month:
  meter:
  customer_no:
  customer_name:
  address: {zh: 地址, en: Address, unit: "", description: Address of supply.}
  book_no:
  source: {zh: 数据来源, en: Source, unit: "", description: "How the meter is read: smart, amr or manual."}
  reason: {zh: 原因代码, en: Reason code, unit: "", description: "estimated, not_due, silent or no_read."}
  reason_zh: {zh: 原因, en: Reason (Chinese), unit: "", description: The reason in Chinese.}
  reason_en: {zh: 原因（英文）, en: Reason, unit: "", description: The reason in English.}
  last_read_on: {zh: 上次实抄, en: Last actual read, unit: "", format: yyyy-mm-dd, description: Day of the last actual read.}
*/
with heard as (
    select distinct month, meter
    from daily_usage
    join touched_account on day < next_month and day >= next_month - cast(criterion('reading.window_days', month) as integer)
    where coverage > 0
),

reasoned as (
    select
        meter_month.*,
        case
            when state in ('estimated', 'not_due') then state
            when source in ('smart', 'amr') and heard.meter is null then 'silent'
            else 'no_read'
        end as reason
    from meter_month
    join touched_account using (month)
    left join heard using (month, meter)
    where state <> 'read'
)

select
    month,
    meter,
    reasoned.customer_no,
    coalesce(customer.name, reasoned.customer_no) as customer_name,
    address,
    book_no,
    source,
    reason,
    case reason when 'estimated' then '估抄' when 'not_due' then '未到抄表周期' when 'silent' then '无远传数据' else '未抄见' end as reason_zh,
    case reason when 'estimated' then 'estimated' when 'not_due' then 'not due' when 'silent' then 'no data from the meter' else 'no read' end as reason_en,
    last_read_on
from reasoned
left join billing.customer on customer.customer_no = reasoned.customer_no

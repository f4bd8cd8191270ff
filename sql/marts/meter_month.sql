/*
zh: 抄表明细
group: revenue
description: >-
  Meters that were installed and active at the end of a month, with how they were read in it. A read belongs to the month of the bill whose period it
  ends, else to that of its own day (a read at midnight to the day before). state: read (an actual read), estimated, not_due (the book is not read every
  month, and it was read before) or unread.
grain: [month, meter]
deps: [billing, meter_history, bill]
partitions: account
columns:
  month:
  meter:
  customer_no:
  book_no:
  dn_mm:
  source: {zh: 数据来源, en: Source, unit: "", description: "How the meter is read: smart, amr or manual."}
  vendor: {zh: 厂商, en: Vendor, unit: "", description: Vendor of the meter; empty where nobody wrote one down.}
  state: {zh: 抄表状态, en: State, unit: "", description: "read, estimated, not_due or unread."}
  read_at: {zh: 抄表时间, en: Read at, unit: "", format: "yyyy-mm-dd hh:mm", description: When the last read of the month was taken.}
  register_m3:
  last_read_on: {zh: 上次实抄, en: Last actual read, unit: "", format: yyyy-mm-dd, description: Day of the last actual read up to the end of the month.}
*/
with known as (
    select meter_no, customer_no, dn_mm, book_no, vendor, cycle_months, first_day from billing.meter_card_history
    union all
    select meter_no, customer_no, dn_mm, book_no, vendor, cycle_months, null from billing.meter_card
    where meter_no not in (select meter_no from billing.meter_card_history)
),

cards as (
    select month, next_month, known.*
    from known
    join touched_account on first_day is null or first_day < next_month
    qualify row_number() over (partition by month, meter_no order by first_day desc nulls last) = 1
),

active as (
    select cards.*
    from cards
    join billing.meter_card as card using (meter_no)
    where coalesce(card.installed_on < next_month, true) and coalesce(card.removed_on >= next_month, true)
),

periods as (
    select meter, period_end, min(account_month) as account_month from bill where state <> 'cancelled' group by all
),

reads as (
    select
        meter_no,
        read_at,
        register_m3,
        is_estimate(kind) as estimated,
        coalesce(account_month, cast(date_trunc('month', read_at - interval 1 microsecond) as date)) as month
    from billing.meter_read
    left join periods on periods.meter = meter_no and period_end = cast(read_at as date)
),

taken as (
    select
        meter_no,
        month,
        bool_or(not estimated) as is_actual,
        max(read_at) filter (where not estimated) as actual_at,
        max(read_at) as read_at,
        arg_max(register_m3, read_at) as register_m3,
        arg_max(register_m3, read_at) filter (where not estimated) as actual_m3
    from reads
    group by all
),

before as (
    select active.month, active.meter_no, max(taken.month) as read_month, max(taken.actual_at) as actual_at
    from active
    join taken on taken.meter_no = active.meter_no and taken.month < active.month
    group by all
),

sources as (
    select month, meter, max(source) as source, max(vendor) as vendor
    from meter_history
    join touched_account on coalesce(first_day < next_month, true) and coalesce(last_day >= next_month - 1, true)
    group by all
)

select
    active.month,
    active.meter_no as meter,
    customer_no,
    book_no,
    dn_mm,
    coalesce(source, 'manual') as source,
    coalesce(active.vendor, sources.vendor) as vendor,
    case
        when is_actual then 'read'
        when taken.meter_no is not null then 'estimated'
        when cycle_months > 1 and read_month > active.month - to_months(cast(cycle_months as integer)) then 'not_due'
        else 'unread'
    end as state,
    timezone(current_setting('timezone'), if(is_actual, taken.actual_at, taken.read_at)) as read_at,
    if(is_actual, actual_m3, taken.register_m3) as register_m3,
    cast(coalesce(taken.actual_at, before.actual_at) as date) as last_read_on
from active
left join taken on taken.meter_no = active.meter_no and taken.month = active.month
left join before on before.meter_no = active.meter_no and before.month = active.month
left join sources on sources.meter = active.meter_no and sources.month = active.month

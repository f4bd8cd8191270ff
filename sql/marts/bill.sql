/*
zh: 账单
group: revenue
description: >-
  Bills of the billing system, a row a bill and meter, cancelled ones and credit notes included (state), with what was paid of them. A payment of a bill
  of several meters is shared among them in proportion.
grain: [bill_no, meter]
deps: [billing, bill_charge]
partitions: bill
columns:
  bill_no: {zh: 账单号, en: Bill no., unit: "", description: Number of the bill.}
  meter: {description: Name that the utility gives the meter; empty where the bill names none.}
  customer_no:
  account_month: {zh: 账务月份, en: Account month, unit: "", format: yyyy-mm, description: "Month to whose account the bill goes: as billing has it, else that of its issue, else that of the last day of its period."}
  period_start:
  period_end:
  issued_on: {zh: 开账日, en: Issued, unit: "", format: yyyy-mm-dd, description: Day of issue; empty where billing has none.}
  due_on: {zh: 到期日, en: Due, unit: "", format: yyyy-mm-dd, description: Day on which the bill has to be paid; empty where billing has none.}
  days_to_issue: {zh: 抄表至开账天数, en: Days to issue, unit: "", format: "0", description: Days from the end of the period to the issue.}
  billed_m3: {zh: 开账水量, en: Billed volume, unit: m³, description: Volume on the bill.}
  amount: {zh: 开账金额, en: Amount, unit: "¥", description: Amount of the bill; the sum of its charges where billing has no amount.}
  water_charge: {zh: 用水费, en: Water charge, unit: "¥", description: Charge for water.}
  drainage_charge: {zh: 排水费, en: Drainage charge, unit: "¥", description: Charge for drainage.}
  other_charge: {zh: 其他费用, en: Other charges, unit: "¥", description: "All other charges, and what the amount has beyond its charges; empty where there are none."}
  received: {zh: 已收, en: Received, unit: "¥", description: What was paid so far.}
  outstanding: {zh: 未收, en: Outstanding, unit: "¥", description: What is still to be paid; below 0 where too much was paid; 0 of a cancelled bill.}
  last_paid_on: {zh: 最近缴费日, en: Last payment, unit: "", format: yyyy-mm-dd, description: Day of the last payment of the bill.}
  state: {zh: 账单类型, en: Kind of bill, unit: "", description: "bill, credit (a credit note) or cancelled."}
  estimated: {zh: 估抄, en: Estimated, unit: "", description: The volume is an estimate.}
  status: {zh: 账单状态, en: Bill status, unit: "", description: Status of the bill as billing has it.}
*/
with paid as (
    select bill_no, charge_code(payment.charge_kind) as named, payment.amount, paid_on
    from billing.payment
    join touched_bill using (bill_no)
),

kinds as (
    select distinct bill_no, charge_kind from bill_charge join touched_bill using (bill_no)
),

paid_by_kind as (
    -- A charge that the bill does not have names nothing.
    select paid.bill_no, kinds.charge_kind, sum(amount) as amount
    from paid
    left join kinds on kinds.bill_no = paid.bill_no and kinds.charge_kind = paid.named
    group by all
),

last_payment as (
    select bill_no, max(paid_on) as last_paid_on from paid group by all
),

charges as (
    select
        line.bill_no,
        line.meter,
        cast(sum(line.amount) as decimal(18, 4)) as amount,
        cast(sum(line.amount) filter (where line.charge_kind = 'water') as decimal(18, 4)) as water_charge,
        cast(sum(line.amount) filter (where line.charge_kind = 'drainage') as decimal(18, 4)) as drainage_charge,
        cast(sum(line.amount) filter (where line.charge_kind not in ('water', 'drainage')) as decimal(18, 4)) as other_charge,
        cast(sum(paid_part(whole.amount, share_from, share_to) + paid_part(own.amount, own_from, own_to)) as decimal(18, 4)) as received
    from bill_charge as line
    join touched_bill using (bill_no)
    left join paid_by_kind as whole on whole.bill_no = line.bill_no and whole.charge_kind is null
    left join paid_by_kind as own on own.bill_no = line.bill_no and own.charge_kind = line.charge_kind
    group by all
)

select
    bill.bill_no,
    coalesce(meter_no, '') as meter,
    customer_no,
    account_month_of(account_month, issued_on, period_end) as account_month,
    period_start,
    period_end,
    issued_on,
    due_on,
    cast(issued_on - period_end as bigint) as days_to_issue,
    billed_m3,
    coalesce(charges.amount, bill.amount) as amount,
    coalesce(charges.water_charge, bill.water_charge) as water_charge,
    coalesce(charges.drainage_charge, bill.drainage_charge) as drainage_charge,
    other_charge,
    received,
    cast(if(is_cancelled(status), 0, charges.amount - received) as decimal(18, 4)) as outstanding,
    last_paid_on,
    case when is_cancelled(status) then 'cancelled' when is_credit(status, billed_m3, bill.amount) then 'credit' else 'bill' end as state,
    is_estimate(status) as estimated,
    status
from billing.bill
join touched_bill using (bill_no)
left join charges on charges.bill_no = bill.bill_no and charges.meter = coalesce(meter_no, '')
left join last_payment on last_payment.bill_no = bill.bill_no

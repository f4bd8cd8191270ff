/*
zh: 缴费
group: revenue
description: >-
  Payments by the month in which they were received. timing: current (of a bill of the same month of account), arrears (of an earlier one), advance (of
  a later one) or unassigned (of a bill that billing does not have, or a cancelled one).
grain: [month, payment_id]
deps: [billing, bill_charge]
partitions: account
columns:
  month: {description: "Local civil month of the payment, by its first day."}
  payment_id: {zh: 缴费号, en: Payment no., unit: "", description: Number of the payment.}
  bill_no: {zh: 账单号, en: Bill no., unit: "", description: Number of the bill that it pays.}
  customer_no:
  paid_on: {zh: 缴费日, en: Paid on, unit: "", format: yyyy-mm-dd, description: Day of the payment.}
  amount: {zh: 缴费金额, en: Amount, unit: "¥", description: Amount of the payment.}
  charge_kind: {zh: 费用类别, en: Charge, unit: "", description: "Charge that it pays; empty: all of the bill."}
  account_month: {zh: 账单月份, en: Account month, unit: "", format: yyyy-mm, description: Month to whose account the bill goes.}
  timing: {zh: 缴费类型, en: Timing, unit: "", description: "current, arrears, advance or unassigned."}
*/
with bills as (
    select bill_no, min(account_month) as account_month from bill_charge group by bill_no
)

select
    month,
    payment_id,
    payment.bill_no,
    customer_no,
    paid_on,
    amount,
    charge_code(charge_kind) as charge_kind,
    account_month,
    case
        when account_month is null then 'unassigned'
        when account_month = month then 'current'
        when account_month < month then 'arrears'
        else 'advance'
    end as timing
from billing.payment
join touched_account on paid_on >= month and paid_on < next_month
left join bills on bills.bill_no = payment.bill_no

/*
zh: 账单费用
group: revenue
description: >-
  Charges of each bill and meter by kind: those that billing lists, else the bill's water and drainage charge. What the amount of the bill has beyond
  its charges is the kind rest; a bill without any charge is one line of kind whole. Cancelled bills have no row. A payment that names no charge is
  shared among the charges of its bill in proportion: share_from to share_to is the part of a line.
grain: [bill_no, meter, charge_kind]
deps: [billing]
partitions: bill
columns:
  bill_no: {zh: 账单号, en: Bill no., unit: "", description: Number of the bill.}
  meter: {description: Name that the utility gives the meter; empty where the bill names none.}
  charge_kind: {zh: 费用类别, en: Charge, unit: "", description: "Kind of charge: water, drainage, rest, whole, or another one that billing has."}
  customer_no:
  account_month: {zh: 账务月份, en: Account month, unit: "", format: yyyy-mm, description: "Month to whose account the bill goes: as billing has it, else that of its issue, else that of the last day of its period."}
  due_on: {zh: 到期日, en: Due, unit: "", format: yyyy-mm-dd, description: Day on which the bill has to be paid.}
  amount: {zh: 金额, en: Amount, unit: "¥", description: Amount of the charge.}
  share_from: {zh: 分摊起, en: Share from, unit: "", format: "0.000000", description: "Share of a payment of the bill at which the part of this line begins, 0 to 1."}
  share_to: {zh: 分摊止, en: Share to, unit: "", format: "0.000000", description: "Share at which it ends, 0 to 1."}
  own_from: {zh: 本类分摊起, en: Own share from, unit: "", format: "0.000000", description: "The same among the lines of this charge, for payments that name it."}
  own_to: {zh: 本类分摊止, en: Own share to, unit: "", format: "0.000000", description: "Where it ends, 0 to 1."}
*/
with bills as (
    select
        bill_no,
        coalesce(meter_no, '') as meter,
        customer_no,
        account_month_of(account_month, issued_on, period_end) as account_month,
        due_on,
        amount,
        water_charge,
        drainage_charge
    from billing.bill
    join touched_bill using (bill_no)
    where not is_cancelled(status)
),

listed as (
    select bill_no, coalesce(meter_no, '') as meter, charge_code(charge_kind) as charge_kind, cast(sum(charge.amount) as decimal(18, 4)) as amount
    from billing.charge
    join touched_bill using (bill_no)
    where charge.amount is not null
    group by all
),

parts as (
    select bill_no, meter, charge_kind, amount from listed
    union all
    select bill_no, meter, 'water', water_charge from bills anti join listed using (bill_no, meter)
    where water_charge is not null
    union all
    select bill_no, meter, 'drainage', drainage_charge from bills anti join listed using (bill_no, meter)
    where drainage_charge is not null
),

known as (
    select bill_no, meter, sum(amount) as known from parts group by all
),

lines as (
    select bill_no, meter, charge_kind, customer_no, account_month, due_on, parts.amount
    from parts
    join bills using (bill_no, meter)
    union all
    select bill_no, meter, if(known is null, 'whole', 'rest'), customer_no, account_month, due_on, cast(amount - coalesce(known, 0) as decimal(18, 4))
    from bills
    left join known using (bill_no, meter)
    where amount is not null and amount is distinct from coalesce(known, 0) or (known is null and amount = 0)
),

placed as (
    select
        *,
        sum(amount) over bill as total,
        count(*) over bill as count,
        sum(amount) over (bill order by meter, charge_kind) as reached,
        row_number() over (bill order by meter, charge_kind) as place,
        sum(amount) over own as own_total,
        count(*) over own as own_count,
        sum(amount) over (own order by meter) as own_reached,
        row_number() over (own order by meter) as own_place
    from lines
    window bill as (partition by bill_no), own as (partition by bill_no, charge_kind)
)

select
    bill_no,
    meter,
    charge_kind,
    customer_no,
    account_month,
    due_on,
    amount,
    if(total <> 0, cast(reached - amount as double) / cast(total as double), cast(place - 1 as double) / count) as share_from,
    if(total <> 0, cast(reached as double) / cast(total as double), cast(place as double) / count) as share_to,
    if(own_total <> 0, cast(own_reached - amount as double) / cast(own_total as double), cast(own_place - 1 as double) / own_count) as own_from,
    if(own_total <> 0, cast(own_reached as double) / cast(own_total as double), cast(own_place as double) / own_count) as own_to
from placed

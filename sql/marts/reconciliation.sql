/*
zh: 计费核对
group: revenue
description: >-
  Billed against measured volume, a row a bill and meter. Measured is the difference of the register between the ends of the bill's period (its
  last day excluded), holes inside included; of a flow meter the sum of its days, all of them known. Withdrawn and cancelled bills have no row.
  Where a bill is not comparable, reason tells why: no_meter (not registered, nothing measured), by_hand (read by hand throughout the period), no_period, no_volume, credited (a credit note, or
  the bill that it takes back), not_measured (nothing known), incomplete (an end of the period, or a day of a flow meter, is not known), unclean (a day
  with readings in doubt).
grain: [bill_no, meter]
deps: [daily_usage, register_bill, meter, metering_point, billing]
partitions: bill
columns:
  bill_no: {zh: 账单号, en: Bill no., unit: "", description: Number of the bill.}
  meter:
  period_start:
  period_end:
  billed_m3: {zh: 开账水量, en: Billed volume, unit: m³, description: Volume on the bill.}
  measured_m3: {zh: 实测水量, en: Measured volume, description: Volume measured in the bill's period.}
  difference_m3: {zh: 核对差, en: Difference, unit: m³, description: Billed minus measured volume.}
  difference_pct: {zh: 核对差率, en: Difference, unit: "%", description: Difference in percent of the measured volume.}
  comparable: {zh: 可比, en: Comparable, unit: "", description: Both volumes are known and beyond doubt.}
  reason: {zh: 不可比原因, en: Reason, unit: "", description: "Why the bill is not comparable: no_meter, by_hand, no_period, no_volume, credited, not_measured, incomplete or unclean; empty where it is."}
  customer_no:
  days: {zh: 天数, en: Days, unit: "", format: "#,##0", description: Days of the bill's period.}
  days_measured: {zh: 有水量天数, en: Days measured, unit: "", format: "#,##0", description: Days of the period whose volume is known.}
  status: {zh: 账单状态, en: Bill status, unit: "", format: "", description: Status of the bill as billing has it.}
*/
with bills as (
    select
        bill.*,
        is_credit(status, billed_m3, amount) as is_credit
    from billing.bill
    join touched_bill using (bill_no)
    where not is_cancelled(status)
),

taken_back as (
    -- A bill of the same meter and period whose volume a credit note takes back as a whole.
    select distinct bills.bill_no, bills.meter_no
    from bills
    join billing.bill as credit on credit.meter_no = bills.meter_no
        and credit.period_start = bills.period_start and credit.period_end = bills.period_end
        and credit.billed_m3 = -bills.billed_m3 and credit.billed_m3 < 0
),

days as (
    select
        bill_no,
        meter_no,
        count(volume_m3) as days_measured,
        count(*) filter (where complete) as days_complete,
        count(*) filter (where coverage > 0 or volume_m3 is not null) as days_seen,
        sum(volume_m3 order by day) as sum_m3,
        bool_and(clean) as clean
    from bills
    join daily_usage on daily_usage.meter = meter_no and day >= period_start and day < period_end
    group by all
),

compared as (
    select
        bills.*,
        taken_back.bill_no is not null as is_taken_back,
        meter.meter is not null as is_registered,
        by_hand.meter is not null as is_by_hand,
        coalesce(days_measured, 0) as days_measured,
        coalesce(days_seen, 0) as days_seen,
        coalesce(clean, true) as clean,
        case when period_end > period_start then date_diff('day', period_start, period_end) end as days,
        case
            when meter.reads is distinct from 'flow' then register_bill.volume_m3
            when days_complete = date_diff('day', period_start, period_end) then sum_m3
        end as measured_m3
    from bills
    left join days on days.bill_no = bills.bill_no and days.meter_no = bills.meter_no
    left join taken_back on taken_back.bill_no = bills.bill_no and taken_back.meter_no = bills.meter_no
    left join register_bill on register_bill.bill_no = bills.bill_no and register_bill.meter = bills.meter_no
    left join meter on meter.meter = bills.meter_no
    left join metering_point as by_hand
        on by_hand.meter = bills.meter_no and by_hand.source = 'manual'
        and coalesce(by_hand.first_day <= period_start, true) and coalesce(by_hand.last_day >= period_end - 1, true)
),

reasoned as (
    select
        *,
        case
            when measured_m3 is null and not is_registered then 'no_meter'
            when measured_m3 is null and is_by_hand then 'by_hand'
            when days is null then 'no_period'
            when billed_m3 is null then 'no_volume'
            when is_credit or is_taken_back then 'credited'
            when measured_m3 is null and days_seen = 0 then 'not_measured'
            when measured_m3 is null then 'incomplete'
            when not clean then 'unclean'
        end as reason
    from compared
)

select
    bill_no,
    meter_no as meter,
    period_start,
    period_end,
    billed_m3,
    measured_m3,
    billed_m3 - measured_m3 as difference_m3,
    100 * (billed_m3 - measured_m3) / nullif(abs(measured_m3), 0) as difference_pct,
    reason is null as comparable,
    reason,
    customer_no,
    days,
    days_measured,
    status
from reasoned

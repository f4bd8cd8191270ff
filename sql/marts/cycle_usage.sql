/*
zh: 抄表周期用水量
group: revenue
description: >-
  Volume of each meter in its billing cycles. While a terminal measures the meter, the periods of its bills, each with the difference of the
  register (source register); else from read to read of billing, with the difference of the reads: actual, or estimated where one of the two is.
  A register read lower than before gives no volume: billing has no digits to know a roll-over by.
grain: [meter, period_start, period_end]
deps: [reconciliation, meter_history, billing]
partitions: whole
columns:
  meter:
  customer_no:
  period_start:
  period_end:
  volume_m3: {description: Volume of the cycle; empty where it is not known.}
  complete: {description: "The volume is known and no estimate."}
  source: {zh: 水量来源, en: Source, unit: "", description: "Where the volume comes from: register, actual (reads) or estimated (reads)."}
*/
with measured as (
    -- From its first to its last day a terminal measures the meter; next_day is the one after.
    select
        meter,
        min(coalesce(first_day, date '0001-01-01')) as first_day,
        max(coalesce(last_day + 1, date '9999-12-31')) as next_day
    from meter_history
    where source is distinct from 'manual'
    group by meter
),

billed as (
    select meter, min(customer_no) as customer_no, period_start, period_end, min(measured_m3) as volume_m3
    from reconciliation
    join measured using (meter)
    where period_end > period_start and period_start >= first_day and period_end <= next_day
    group by meter, period_start, period_end
),

reads as (
    -- The last one of a day.
    select meter_no as meter, cast(read_at as date) as day, register_m3, lower(kind) = 'estimated' as is_estimated
    from billing.meter_read
    where register_m3 is not null and read_at is not null and meter_no is not null
    qualify row_number() over (partition by meter_no, cast(read_at as date) order by read_at desc, read_id desc) = 1
),

differences as (
    select
        meter,
        lag(day) over own as period_start,
        day as period_end,
        register_m3 - lag(register_m3) over own as volume_m3,
        coalesce(is_estimated, false) or coalesce(lag(is_estimated) over own, false) as is_estimated
    from reads
    window own as (partition by meter order by day)
),

by_hand as (
    select differences.*
    from differences
    left join measured using (meter)
    where period_start is not null and not coalesce(period_start >= first_day and period_end <= next_day, false)
),

owners as (
    select meter_no as meter, customer_no, coalesce(first_day, date '0001-01-01') as first_day
    from billing.meter_card_history
    qualify row_number() over (partition by meter_no, first_day order by known_at desc) = 1
)

select meter, customer_no, period_start, period_end, volume_m3, volume_m3 is not null as complete, 'register' as source
from billed
union all
select
    by_hand.meter,
    owners.customer_no,
    period_start,
    period_end,
    case when volume_m3 >= 0 then volume_m3 end,
    volume_m3 >= 0 and not is_estimated,
    case when is_estimated then 'estimated' else 'actual' end
from by_hand
asof left join owners on owners.meter = by_hand.meter and owners.first_day <= period_start

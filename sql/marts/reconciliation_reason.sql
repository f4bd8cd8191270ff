/*
zh: 核对差原因
group: revenue
description: >-
  Why billed and measured volume of a bill differ: parts that add up to the difference, a row a reason. rounding (within criterion
  reconciliation.tolerance_m3), estimate (the bill or a read of it is an estimate), factor (10 or 100 times too much or too little), swapped (two
  meters of the same period have each other's volume), replacement (a meter was replaced in the period), cut_off (the read was taken on another day than
  the end of the period), missing_data (nothing known, or readings in doubt), credit, unexplained; bills that cannot be compared have the reason of the
  reconciliation (no_meter, by_hand, no_period, no_volume) and no difference. The amount is the part at the bill's own price.
grain: [bill_no, meter, reason]
deps: [reconciliation, bill, billing, registry, interval_reading, daily_usage]
partitions: dispute
columns:
  bill_no: {zh: 账单号, en: Bill no., unit: "", description: Number of the bill.}
  meter:
  reason: {zh: 原因代码, en: Reason code, unit: "", description: "rounding, estimate, factor, swapped, replacement, cut_off, missing_data, credit, unexplained, no_meter, by_hand, no_period or no_volume."}
  difference_m3: {zh: 差额部分, en: Part, unit: m³, description: "Part of the difference, billed less measured; empty where nothing was measured."}
  amount: {zh: 金额, en: Amount, unit: "¥", description: The part at the price of the bill.}
  reason_zh: {zh: 原因, en: Reason (Chinese), unit: "", description: The reason in Chinese.}
  reason_en: {zh: 原因（英文）, en: Reason, unit: "", description: The reason in English.}
  is_main: {zh: 主因, en: Main reason, unit: "", description: The reason that decides; the other part of the bill is what it leaves open.}
  partner: {zh: 互换水表, en: Swapped with, unit: "", description: Meter whose volume the bill has; empty for other reasons.}
  factor: {zh: 倍数, en: Factor, unit: "", format: "General", description: "Billed over measured volume, 10, 100, 0.1 or 0.01; empty for other reasons."}
  period_end:
  customer_no:
*/
with words (reason, zh, en) as (
    values
        ('rounding', '取整', 'rounding'),
        ('estimate', '估抄', 'estimate'),
        ('factor', '倍率错误', 'factor'),
        ('swapped', '水表互换', 'swapped meters'),
        ('replacement', '换表处理不同', 'replacement treated otherwise'),
        ('cut_off', '抄表日偏移', 'read on another day'),
        ('missing_data', '缺少数据', 'missing data'),
        ('credit', '红冲', 'credit note'),
        ('unexplained', '原因不明', 'unexplained'),
        ('no_meter', '水表未建档', 'meter not registered'),
        ('by_hand', '人工抄表', 'read by hand'),
        ('no_period', '账单无有效账期', 'no period'),
        ('no_volume', '账单无水量', 'no volume')
),

bills as (
    select
        r.bill_no,
        r.meter,
        r.customer_no,
        r.period_start,
        r.period_end,
        r.billed_m3,
        r.measured_m3,
        r.difference_m3,
        r.reason as hindrance,
        bill.estimated,
        coalesce(cast(bill.amount as double) / nullif(r.billed_m3, 0), criterion('price.water_cny_m3', r.period_end)) as price,
        criterion('reconciliation.tolerance_m3', r.period_end) as tolerance,
        criterion('reconciliation.relative', r.period_end) as relative,
        cast(criterion('reconciliation.shift_days', r.period_end) as integer) as shift_days
    from reconciliation as r
    join touched_dispute using (bill_no)
    left join bill on bill.bill_no = r.bill_no and bill.meter = coalesce(r.meter, '')
),

differing as (
    select *, tolerance / relative as base, greatest(tolerance, relative * abs(measured_m3)) as close
    from bills
    where abs(difference_m3) > tolerance and coalesce(hindrance, '') in ('', 'unclean')
),

-- Reads of either end of the period: the nearest within the days of the criterion.
reads as (
    select
        bill_no,
        meter,
        ending,
        arg_min(register_m3, (abs(days_off), days_off)) as register_m3,
        arg_min(is_estimate(kind), (abs(days_off), days_off)) as is_estimated,
        arg_min(days_off, (abs(days_off), days_off)) as days_off
    from (
        select bill_no, meter, ending, register_m3, kind, cast(read_at as date) - if(ending, period_end, period_start) as days_off, shift_days
        from differing
        cross join (values (true), (false)) as ends (ending)
        join billing.meter_read on meter_no = meter
            and cast(read_at as date) >= if(ending, period_end, period_start) - shift_days
            and cast(read_at as date) <= if(ending, period_end, period_start) + shift_days
    )
    group by all
),

-- What the register moved from either end of the period to days around it.
around as (
    select
        bill_no,
        differing.meter,
        ending,
        days_off,
        if(days_off > 0, 1, -1) * sum(volume_m3 order by day) as moved_m3
    from differing
    cross join (values (true), (false)) as ends (ending)
    cross join (select cast(unnest(range(-10, 11)) as integer) as days_off) as offsets
    join daily_usage on daily_usage.meter = differing.meter
        and day >= if(ending, period_end, period_start) + least(days_off, 0)
        and day < if(ending, period_end, period_start) + greatest(days_off, 0)
    where days_off <> 0 and abs(days_off) <= shift_days
    group by bill_no, differing.meter, ending, days_off
    having count(volume_m3) = abs(days_off)
),

-- The measured register at either end, and how far it went in the days around.
registers as (
    select
        bill_no,
        differing.meter,
        min(first_ul) filter (where day = period_start) / 1e9 as start_m3,
        max(last_ul) filter (where day = period_end - 1) / 1e9 as end_m3,
        min(first_ul) filter (where day >= period_start - shift_days and day < period_start + shift_days) / 1e9 as start_low_m3,
        max(last_ul) filter (where day >= period_start - shift_days and day < period_start + shift_days) / 1e9 as start_high_m3,
        min(first_ul) filter (where day >= period_end - shift_days and day < period_end + shift_days) / 1e9 as end_low_m3,
        max(last_ul) filter (where day >= period_end - shift_days and day < period_end + shift_days) / 1e9 as end_high_m3
    from differing
    join unit_day on unit_day.meter = differing.meter and (
        day >= period_start - shift_days and day < period_start + shift_days
        or day >= period_end - shift_days and day < period_end + shift_days
    )
    group by all
),

replaced as (
    select distinct bill_no, differing.meter
    from differing
    join unit_day on unit_day.meter = differing.meter and day >= period_start and day < period_end and replaced_count > 0
    union
    select bill_no, differing.meter
    from differing
    join registry.replacements as change on change.meter = differing.meter
        and coalesce(replaced_on, cast(replaced_at as date)) >= period_start and coalesce(replaced_on, cast(replaced_at as date)) < period_end
),

factors as (
    select bill_no, meter, arg_min(factor, abs(billed_m3 - factor * measured_m3)) as factor
    from differing
    cross join (values (10.0), (100.0), (0.1), (0.01)) as factors (factor)
    where measured_m3 > 0 and abs(billed_m3 - factor * measured_m3) <= greatest(tolerance * greatest(factor, 1), relative * factor * measured_m3)
    group by all
),

-- Of volumes that count as the same, the logarithms lie in the same or in neighbouring cells.
partners as (
    select own.bill_no, own.meter, arg_min(other.meter, (abs(own.billed_m3 - other.measured_m3), other.meter)) as partner,
        arg_min(other.measured_m3, (abs(own.billed_m3 - other.measured_m3), other.meter)) as partner_m3
    from (
        select *, unnest([-1, 0, 1]) + floor(ln(greatest(billed_m3, 0) + base) / (2 * relative)) as cell from differing
    ) as own
    join (select *, floor(ln(greatest(measured_m3, 0) + base) / (2 * relative)) as cell from differing) as other
        on other.period_start = own.period_start and other.period_end = own.period_end and other.cell = own.cell
        and other.meter <> own.meter
        and abs(own.billed_m3 - other.measured_m3) <= other.close and abs(other.billed_m3 - own.measured_m3) <= own.close
    group by all
),

-- One end of the period on another day, or both on days as far off.
shifts as (
    select bill_no, meter, arg_min(moved_m3, (abs(difference_m3 - moved_m3), moved_m3)) as moved_m3
    from (
        select bill_no, meter, if(ending, moved_m3, -moved_m3) as moved_m3 from around
        union all
        select finish.bill_no, finish.meter, finish.moved_m3 - start.moved_m3
        from around as finish
        join around as start using (bill_no, meter, days_off)
        where finish.ending and not start.ending
    )
    join differing using (bill_no, meter)
    where abs(difference_m3 - moved_m3) <= tolerance
    group by all
),

-- What the bill before guessed this one sets right; what one bill has too much by a late read the next has too little.
neighbours as (
    select
        own.bill_no,
        own.meter,
        bool_or(bill.estimated and r.period_end = own.period_start) as follows_estimate,
        bool_or(abs(own.difference_m3 + r.difference_m3) <= 2 * own.tolerance) as is_made_good
    from differing as own
    join reconciliation as r
        on r.meter = own.meter and r.bill_no <> own.bill_no
        and (r.period_end = own.period_start or r.period_start = own.period_end)
    left join bill on bill.bill_no = r.bill_no and bill.meter = r.meter
    group by all
),

evidence as (
    select
        differing.*,
        estimated or coalesce(follows_estimate, false) or coalesce(finish.is_estimated, false) or coalesce(start.is_estimated, false) as is_estimated,
        factor,
        partner,
        partner_m3,
        replaced.bill_no is not null as is_replaced,
        -- By the day of the read; a read is taken at some hour of its day.
        case
            when coalesce(finish.days_off, 0) <> 0 or coalesce(start.days_off, 0) <> 0
                then coalesce(finish_moved.moved_m3, 0) - coalesce(start_moved.moved_m3, 0)
        end as read_shift_m3,
        greatest(tolerance, 2 * measured_m3 / (period_end - period_start)) as day_m3,
        -- By the register that was read: it stood there on one of the days around.
        case
            when abs(billed_m3 - (finish.register_m3 - start.register_m3)) <= tolerance
                and finish.register_m3 between end_low_m3 - tolerance and end_high_m3 + tolerance
                and start.register_m3 between start_low_m3 - tolerance and start_high_m3 + tolerance
                then (finish.register_m3 - end_m3) - (start.register_m3 - start_m3)
        end as register_shift_m3,
        shifts.moved_m3 as day_shift_m3,
        if(is_made_good and abs(difference_m3) <= 2 * shift_days * measured_m3 / (period_end - period_start), difference_m3, null) as made_good_m3
    from differing
    left join reads as finish on finish.bill_no = differing.bill_no and finish.meter = differing.meter and finish.ending
    left join reads as start on start.bill_no = differing.bill_no and start.meter = differing.meter and not start.ending
    left join around as finish_moved
        on finish_moved.bill_no = differing.bill_no and finish_moved.meter = differing.meter and finish_moved.ending
        and finish_moved.days_off = finish.days_off
    left join around as start_moved
        on start_moved.bill_no = differing.bill_no and start_moved.meter = differing.meter and not start_moved.ending
        and start_moved.days_off = start.days_off
    left join neighbours on neighbours.bill_no = differing.bill_no and neighbours.meter = differing.meter
    left join registers on registers.bill_no = differing.bill_no and registers.meter = differing.meter
    left join factors on factors.bill_no = differing.bill_no and factors.meter = differing.meter
    left join partners on partners.bill_no = differing.bill_no and partners.meter = differing.meter
    left join replaced on replaced.bill_no = differing.bill_no and replaced.meter = differing.meter
    left join shifts on shifts.bill_no = differing.bill_no and shifts.meter = differing.meter
),

decided as (
    select
        *,
        case
            when is_estimated then 'estimate'
            when factor is not null then 'factor'
            when partner is not null then 'swapped'
            when is_replaced then 'replacement'
            when abs(difference_m3 - read_shift_m3) <= day_m3 or coalesce(register_shift_m3, day_shift_m3, made_good_m3) is not null then 'cut_off'
            when hindrance = 'unclean' then 'missing_data'
            else 'unexplained'
        end as reason
    from evidence
),

parted as (
    select
        *,
        case
            when reason = 'factor' then (factor - 1) * measured_m3
            when reason = 'swapped' then partner_m3 - measured_m3
            when reason = 'cut_off' and not coalesce(abs(difference_m3 - read_shift_m3) <= day_m3, false)
                then coalesce(register_shift_m3, day_shift_m3, made_good_m3)
            else difference_m3
        end as part_m3
    from decided
),

parts as (
    select bill_no, meter, reason, part_m3, true as is_main, if(reason = 'swapped', partner, null) as partner, if(reason = 'factor', factor, null) as factor
    from parted
    union all
    select bill_no, meter, if(abs(difference_m3 - part_m3) <= greatest(close, relative * abs(billed_m3)), 'rounding', 'unexplained'), difference_m3 - part_m3, false, null, null
    from parted
    where difference_m3 <> part_m3
    union all
    select
        bill_no,
        meter,
        case
            when hindrance in ('no_meter', 'by_hand', 'no_period', 'no_volume') then hindrance
            when hindrance = 'credited' then 'credit'
            when difference_m3 is null then 'missing_data'
            else 'rounding'
        end,
        difference_m3,
        true,
        null,
        null
    from bills
    where (bill_no, meter) not in (select (bill_no, meter) from differing)
        and (hindrance is not null or difference_m3 <> 0)
)

select
    parts.bill_no,
    parts.meter,
    parts.reason,
    part_m3 as difference_m3,
    cast(part_m3 * price as decimal(18, 2)) as amount,
    zh as reason_zh,
    en as reason_en,
    is_main,
    partner,
    cast(factor as double) as factor,
    period_end,
    customer_no
from parts
join bills on bills.bill_no = parts.bill_no and bills.meter is not distinct from parts.meter
join words on words.reason = parts.reason

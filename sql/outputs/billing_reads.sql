/*
zh: 营收抄表数据
en: Billing reads
description: >-
  Every due meter once at the cut-off of its book: midnight at the begin of the day on which the book's cycle ends; without a book the end of the month. A
  meter is due whose book is read then and that is installed and not removed. The register is actual where the curve is known at the cut-off or a reading lies within the tolerance (criterion
  billing.tolerance_min); else it is an estimate: between the readings before and after, the last one before, or empty where there is none, as of a meter
  that is read by hand.
grain: [cut_off, meter]
deps: [cycle, billing, registry, meter_history, interval_reading]
cut: cycle
files: [csv, txt]
columns:
  cut_off: {type: day, zh: 截止日, en: Cut-off, unit: "", description: "Day on which the cycle ends (excluded); the cut-off is its first instant."}
  meter: {type: text}
  customer_no: {type: text}
  book_no: {type: text}
  cycle_start: {type: day, zh: 周期起, en: Cycle start, unit: "", description: First day of the cycle.}
  read_at: {type: time, zh: 抄表时间, en: Read at, unit: "", description: Time of the register; of an estimate between readings the cut-off.}
  register_m3: {type: number}
  kind: {type: text, zh: 实抄估抄, en: Kind, unit: "", description: "actual or estimated."}
  method: {type: text, zh: 取数方法, en: Method, unit: "", description: "curve (known at the cut-off), near (a reading within the tolerance), between (two readings), last (the last before), none."}
layout:
  encoding: gb18030
  fields:
    - {name: METER_NO, column: meter, width: 20}
    - {name: CUST_NO, column: customer_no, width: 20}
    - {name: BOOK_NO, column: book_no, width: 12}
    - {name: CUT_OFF, column: cut_off, width: 10, format: "%Y-%m-%d"}
    - {name: READ_AT, column: read_at, width: 19, format: "%Y-%m-%d %H:%M:%S"}
    - {name: REGISTER, column: register_m3, width: 14, decimals: 3}
    - {name: FLAG, column: kind, width: 1, values: {actual: A, estimated: E}}
    - {name: METHOD, column: method, width: 8}
*/
with steps as (
    -- Months from one read of a book to the next, and the end of its last cycle that has bills.
    select book_no, coalesce(min(try_cast(cycle_months as integer)), 1) as months from billing.meter_card where book_no is not null group by book_no
),

newest as (
    select book_no, max(period_end) as period_end, arg_max(period_start, period_end) as period_start from cycle group by book_no
),

cut_offs as (
    select book_no, period_start as cycle_start, period_end as cut_off from cycle
    union
    -- The cycles after those that have bills: their reads come before their bills.
    select
        book_no,
        cast(period_end + to_months(cast(months * (number - 1) as integer)) as date),
        cast(period_end + to_months(cast(months * number as integer)) as date)
    from newest
    join steps using (book_no)
    cross join range(1, 1 + greatest(0, date_diff('month', period_end, $last_day::date) + 1)) as later (number)
    union
    -- A card without a book is read by calendar months.
    select null, cast(month - interval 1 month as date), cast(month as date)
    from generate_series(date_trunc('month', $first_day::date), $last_day::date, interval 1 month) as months (month)
),

cards as (
    select
        card.meter_no as meter,
        coalesce(history.customer_no, card.customer_no) as customer_no,
        cut_offs.*,
        cast(cut_off as timestamptz) as cut_off_at
    from cut_offs
    join billing.meter_card as card on coalesce(card.installed_on < cut_off, true) and coalesce(card.removed_on >= cut_off, true)
    left join meter_history as history
        on history.meter = card.meter_no
        and coalesce(history.first_day < cut_off, true)
        and coalesce(history.last_day >= cut_off - 1, true)
    where cut_off between $first_day::date and $last_day::date and cut_offs.book_no is not distinct from coalesce(history.book_no, card.book_no)
    qualify row_number() over (partition by card.meter_no, cut_off order by cycle_start desc, history.valid_from desc nulls last) = 1
),

days as (
    select meter, day, first_at, first_ul, last_at, last_ul
    from unit_day
    where first_ul is not null and last_ul is not null and day between $first_day::date - 62 and $last_day::date + 62
),

ends as (
    select
        cards.*,
        before.last_at,
        before.last_ul,
        after.first_at,
        after.first_ul,
        exists (
            select 1
            from registry.replacements as change
            where change.meter = cards.meter
                and coalesce(change.replaced_on, cast(change.replaced_at as date)) between cast(before.last_at as date) and cast(after.first_at as date)
        ) as is_replaced,
        coalesce(cut_off_at - before.last_at <= tolerance, false) as is_before_near,
        coalesce(after.first_at - cut_off_at <= tolerance, false) as is_after_near
    from cards
    cross join (select to_minutes(cast(criterion('billing.tolerance_min', $last_day::date) as bigint)) as tolerance)
    asof left join days as before on before.meter = cards.meter and before.day < cards.cut_off
    asof left join days as after on after.meter = cards.meter and after.day >= cards.cut_off
),

judged as (
    select
        *,
        case
            when last_at = cut_off_at then 'curve'
            when is_before_near or is_after_near then 'near'
            when last_ul <= first_ul and not is_replaced then 'between'
            when last_ul is not null then 'last'
            else 'none'
        end as method,
        is_before_near and (not is_after_near or cut_off_at - last_at <= first_at - cut_off_at) as takes_before
    from ends
)

select
    cut_off,
    meter,
    customer_no,
    book_no,
    cycle_start,
    case
        when method in ('curve', 'last') or method = 'near' and takes_before then last_at
        when method = 'near' then first_at
        when method = 'between' then cut_off_at
    end as read_at,
    case
        when method in ('curve', 'last') or method = 'near' and takes_before then last_ul
        when method = 'near' then first_ul
        when method = 'between'
            then last_ul + round((first_ul - last_ul) * (epoch(cut_off_at - last_at) / nullif(epoch(first_at - last_at), 0)))
    end / 1e9 as register_m3,
    case when method in ('curve', 'near') then 'actual' else 'estimated' end as kind,
    method
from judged

/*
zh: 水表沿革
group: master_data
description: >-
  Which terminal measured a meter for which customer and with which sizes, from when to when (valid_to excluded, empty: unbounded); first_day
  and last_day are the local days that begin within. Customer and DN are those of billing where it had a card then.
grain: [meter, valid_from]
deps: [registry, billing]
partitions: whole
columns:
  meter:
  terminal:
  customer_no:
  customer_name:
  valid_from:
  valid_to:
  first_day: {zh: 首日, en: First day, unit: "", format: yyyy-mm-dd, description: First local day that begins within.}
  last_day: {zh: 末日, en: Last day, unit: "", format: yyyy-mm-dd, description: Last local day that begins within.}
  dn_mm:
  technology:
  q1_m3h:
  q2_m3h:
  q3_m3h:
  q4_m3h:
  digits:
  resolution_m3:
  step_min:
  reads:
  pressure_low_mpa:
  pressure_high_mpa:
  source: {zh: 数据来源, en: Source, unit: "", description: "How the meter is read: smart, amr or manual."}
*/
with cards as (
    select
        *,
        lead(valid_from) over (partition by meter_no order by valid_from nulls first) as valid_to,
        lead(first_day) over (partition by meter_no order by valid_from nulls first) - 1 as last_day
    from billing.meter_card_history
),

held as (
    select
        timeline.meter,
        terminal,
        coalesce(cards.customer_no, timeline.customer_no) as customer_no,
        -- greatest() and least() pass over a null: unbounded.
        greatest(timeline.valid_from, cards.valid_from) as valid_from,
        least(timeline.valid_to, cards.valid_to) as valid_to,
        greatest(timeline.first_day, cards.first_day) as first_day,
        least(timeline.last_day, cards.last_day) as last_day,
        coalesce(cards.dn_mm, timeline.dn_mm) as dn_mm,
        technology,
        q1_m3h,
        q2_m3h,
        q3_m3h,
        q4_m3h,
        digits,
        resolution_m3,
        step_min,
        reads,
        pressure_low_mpa,
        pressure_high_mpa,
        source
    from registry.timeline
    left join cards
        on cards.meter_no = timeline.meter
        and (cards.valid_to is null or timeline.valid_from is null or cards.valid_to > timeline.valid_from)
        and (cards.valid_from is null or timeline.valid_to is null or cards.valid_from < timeline.valid_to)
)

select
    meter,
    terminal,
    held.customer_no,
    coalesce(billed.name, known.name, held.customer_no) as customer_name,
    valid_from,
    valid_to,
    first_day,
    last_day,
    held.* exclude (meter, terminal, customer_no, valid_from, valid_to, first_day, last_day)
from held
left join billing.customer as billed on billed.customer_no = held.customer_no
left join registry.customers as known on known.customer_no = held.customer_no

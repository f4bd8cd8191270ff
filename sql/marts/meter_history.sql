/*
zh: 水表沿革
group: master_data
description: >-
  Which terminal measured a meter for which customer and with which sizes, from when to when (valid_to excluded, empty: unbounded); first_day
  and last_day are the local days that begin within. Customer, DN and book are those of billing where it had a card then. While billing has a card
  and no terminal measures, the meter is read by hand: source is manual and there is no terminal.
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
  first_day:
  last_day:
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
  source:
  vendor:
  book_no:
*/
with states as (
    select * from billing.meter_card_history
    qualify row_number() over (partition by meter_no, valid_from order by known_at desc) = 1
),

cards as (
    select
        *,
        lead(valid_from) over (partition by meter_no order by valid_from nulls first) as valid_to,
        lead(first_day) over (partition by meter_no order by valid_from nulls first) - 1 as last_day
    from states
),

lives as (
    -- From when to when billing has a card: the dates of its last state; one that is gone in billing ends.
    select
        meter_no as meter,
        coalesce(installed_on, date '0001-01-01') as installed_on,
        least(removed_on, cast(max(withdrawn_at) over (partition by meter_no) at time zone 'UTC' as date), date '9999-01-01') as removed_on
    from states
    left join billing.withdrawn on table_name = 'meter_card' and row_key = meter_no
    qualify row_number() over (partition by meter_no order by valid_from desc nulls last) = 1
),

taken as (
    -- Where nobody reads a meter by hand: a terminal measures it, or billing has no card.
    select
        meter,
        coalesce(valid_from, timestamptz '0001-01-01 00:00:00+00') as taken_from,
        coalesce(valid_to, timestamptz '9999-12-31 00:00:00+00') as taken_to,
        coalesce(first_day, date '0001-01-01') as first_day,
        coalesce(last_day, date '9999-12-31') as last_day
    from registry.timeline
    where meter in (select meter from lives)
    union all
    select meter, timestamptz '0001-01-01 00:00:00+00', cast(installed_on as timestamptz), date '0001-01-01', installed_on - 1 from lives
    union all
    select meter, cast(removed_on + 1 as timestamptz), timestamptz '9999-12-31 00:00:00+00', removed_on + 1, date '9999-12-31' from lives
),

free as (
    select
        meter,
        max(taken_to) over before as valid_from,
        taken_from as valid_to,
        max(last_day) over before + 1 as first_day,
        first_day - 1 as last_day
    from taken
    window before as (partition by meter order by taken_from, taken_to rows between unbounded preceding and 1 preceding)
),

spans as (
    select * replace (coalesce(source, 'smart') as source) from registry.timeline
    union all by name
    select
        meter,
        case when first_day > date '0001-01-01' then valid_from end as valid_from,
        case when last_day < date '9999-01-01' then valid_to end as valid_to,
        case when first_day > date '0001-01-01' then first_day end as first_day,
        case when last_day < date '9999-01-01' then last_day end as last_day,
        'manual' as source
    from free
    where valid_from < valid_to and first_day <= last_day
),

held as (
    select
        spans.meter,
        terminal,
        coalesce(cards.customer_no, spans.customer_no) as customer_no,
        -- greatest() and least() pass over a null: unbounded.
        greatest(spans.valid_from, cards.valid_from) as valid_from,
        least(spans.valid_to, cards.valid_to) as valid_to,
        greatest(spans.first_day, cards.first_day) as first_day,
        least(spans.last_day, cards.last_day) as last_day,
        coalesce(cards.dn_mm, spans.dn_mm) as dn_mm,
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
        source,
        coalesce(cards.vendor, spans.vendor) as vendor,
        book_no
    from spans
    left join cards
        on cards.meter_no = spans.meter
        and (cards.valid_to is null or spans.valid_from is null or cards.valid_to > spans.valid_from)
        and (cards.valid_from is null or spans.valid_to is null or cards.valid_from < spans.valid_to)
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

/*
zh: 客户用水对比
group: metrics
description: >-
  Volumes of several customers on one axis: by day, month or year, each also as a share of the customer's own mean over the complete periods that are
  compared, so that large and small ones can be laid over each other. Each customer has a row for every period that one of them has.
grain: [customer_no, period]
deps: [customer_usage, customer]
parameters:
  customer_nos: Numbers of the customers.
  grain: day, month or year.
  first_day: First local day.
  last_day: Last local day, included; periods that begin between the two are given.
columns:
  customer_no:
  customer_name:
  period:
  volume_m3: {description: Volume of the period as far as it is known; empty where none of the customer's meters was measured.}
  of_mean: {zh: 与均值之比, en: Of the mean, unit: "", format: "0%", description: Volume of the period over the mean of the complete ones; empty where none is complete.}
  complete: {description: Every meter of the customer is complete in the period.}
*/
create or replace function mart.customers_compared(customer_nos text[], grain text, first_day date, last_day date)
returns table (
    customer_no text, customer_name text, period date, volume_m3 double precision, of_mean double precision, complete boolean
)
language sql stable parallel safe as $$
    with periods as (
        select distinct usage.period from mart.customer_usage as usage
        where usage.customer_no = any($1) and usage.grain = $2 and usage.period between $3 and $4
    )

    select
        chosen.number,
        coalesce(customer.name, chosen.number),
        periods.period,
        usage.volume_m3,
        usage.volume_m3 / nullif(avg(usage.volume_m3) filter (where usage.complete) over (partition by chosen.number), 0),
        coalesce(usage.complete, false)
    from unnest($1) as chosen (number)
    cross join periods
    left join mart.customer_usage as usage on usage.customer_no = chosen.number and usage.grain = $2 and usage.period = periods.period
    left join mart.customer on customer.customer_no = chosen.number
    order by 3, 1
$$

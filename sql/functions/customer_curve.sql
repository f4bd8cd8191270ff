/*
zh: 客户用水曲线
group: usage
description: >-
  The flow of a customer by the hour between two instants: the sum of the meters that were its on the day. An hour in which one of them is not known has
  no sum: it would look like less water.
grain: [ends_at]
deps: [hourly_usage, meter_history]
parameters:
  customer_no: Number of the customer.
  from_at: First instant.
  to_at: Last instant; hours that end between the two are given.
columns:
  ends_at: {zh: 时刻, en: Time, unit: "", format: "yyyy-mm-dd hh:mm", description: End of the hour.}
  flow_m3h: {description: Mean flow of the hour; empty where one of the meters is not known.}
  meters: {description: Meters that were measured and were the customer's on the day.}
*/
create or replace function mart.customer_curve(customer_no text, from_at timestamptz, to_at timestamptz)
returns table (ends_at timestamptz, flow_m3h double precision, meters bigint)
language sql stable parallel safe as $$
    select
        hours.hour_start + interval '1 hour',
        case when count(*) = count(hours.volume_m3) then sum(hours.volume_m3 order by hours.meter) end,
        count(*)
    from mart.meter_history as history
    join mart.hourly_usage as hours
        on hours.meter = history.meter
        and hours.day between coalesce(history.first_day, '-infinity') and coalesce(history.last_day, 'infinity')
    where
        history.customer_no = $1
        and hours.hour_start between $2 - interval '1 hour' and $3 - interval '1 hour'
    group by hours.hour_start
    order by 1
$$
